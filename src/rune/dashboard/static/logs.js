// Live logs: lines as text, never as HTML; the oldest go when there are too many.

const MOST = 5000;
const begun = new WeakSet();

/** Follow every log on the page. */
export function logs(root) {
  for (const box of root.querySelectorAll("[data-logs]")) {
    if (begun.has(box)) continue;
    begun.add(box);
    follow(box);
  }
}

function follow(box) {
  const lines = box.querySelector("[data-lines]");
  const state = box.querySelector("[data-state]");
  const filter = box.querySelector("[data-filter]");
  const following = box.querySelector("[data-follow]");
  let socket = null;
  let typing = 0;

  function tell(words, live = false) {
    state.textContent = words;
    state.toggleAttribute("data-on", live);
  }

  function connect() {
    socket?.close();
    lines.replaceChildren();
    tell("connecting …");
    const at = new URL(box.dataset.logs, location.href);
    at.protocol = at.protocol.replace("http", "ws");
    at.searchParams.set("filter", filter.value);
    const mine = (socket = new WebSocket(at));
    let ended = "";
    mine.onopen = () => tell("live", true);
    mine.onmessage = ({ data }) => {
      const told = JSON.parse(data);
      if (told.lines) add(told.lines);
      if (told.end) ended = told.end;
    };
    mine.onclose = () => {
      if (mine !== socket) return;
      tell(ended || "the connection was lost; coming back …");
      if (!ended) setTimeout(() => mine === socket && box.isConnected && connect(), 2000);
    };
  }

  function add(batch) {
    const fresh = document.createDocumentFragment();
    for (const [time, instance, stream, text] of batch) {
      const line = document.createElement("div");
      line.className = stream;
      line.append(span("at", time), span("of", instance), document.createTextNode(text));
      fresh.append(line);
    }
    lines.append(fresh);
    for (let over = lines.childElementCount - MOST; over > 0; over--) lines.firstChild.remove();
    if (following.checked) lines.scrollTop = lines.scrollHeight;
  }

  box.addEventListener("leave", () => {
    const last = socket;
    socket = null;
    last?.close();
  });
  box.querySelector("[data-clear]").addEventListener("click", () => lines.replaceChildren());
  filter.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(connect, 300);
  });
  lines.addEventListener("scroll", () => {
    if (lines.scrollHeight - lines.scrollTop - lines.clientHeight > 40) following.checked = false;
  });
  connect();
}

function span(name, text) {
  const element = document.createElement("span");
  element.className = name;
  element.textContent = `${text} `;
  return element;
}
