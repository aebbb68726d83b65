// The page in the browser: links and forms without a reload, one connection that keeps the page true, and keys.

import { morph, parse } from "./html.js";
import { WAYS, list } from "./keys.js";
import { logs } from "./logs.js";
import { tables } from "./table.js";
import { terminals } from "./terminal.js";

const main = document.getElementById("main");
const said = document.getElementById("said");
const lost = document.getElementById("lost");
const place = () => location.pathname + location.search;

// ---- what a page needs once it is shown

function ready() {
  tables(main);
  logs(main);
  terminals(main);
  times();
  labels();
  editors();
  here();
}

/** Times as "5 minutes ago", with the time itself on hover. */
function times() {
  const now = Date.now();
  for (const time of main.querySelectorAll("time")) {
    const seconds = Math.round((now - Date.parse(time.dateTime)) / 1000);
    const text = ago(seconds);
    if (time.textContent !== text) time.textContent = text;
  }
}

/** On a phone a row is a card: its cells say which column they are. */
function labels() {
  for (const table of main.querySelectorAll(".table > table")) {
    const names = [...table.querySelectorAll("thead th")].map((cell) => (cell.querySelector(".hidden") ? "" : cell.textContent));
    for (const row of table.querySelectorAll("tr[data-key]")) {
      names.forEach((name, at) => name && row.cells[at] && (row.cells[at].dataset.label = name));
    }
  }
}

function ago(seconds) {
  const [size, unit] = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]].find(([size]) => Math.abs(seconds) >= size) ?? [1, "s"];
  const count = Math.floor(Math.abs(seconds) / size);
  if (Math.abs(seconds) < 5) return "now";
  return seconds > 0 ? `${count} ${unit} ago` : `in ${count} ${unit}`;
}

/** Say in the menu where we are. */
function here() {
  const path = location.pathname;
  for (const link of document.querySelectorAll("#menu a")) {
    const to = link.getAttribute("href");
    const on = to === "/" ? path === "/" : path === to || path.startsWith(`${to}/`);
    if (on) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function say(words, bad = false) {
  if (!said || !words) return;
  said.textContent = words;
  said.className = bad ? "bad" : "good";
  clearTimeout(say.timer);
  say.timer = setTimeout(() => (said.className = ""), bad ? 12000 : 5000);
}

/** The session has ended: to the log-in and back here, unless something is being written, which then stays. */
function logIn() {
  const own = "textarea, input:not([type=hidden], [type=checkbox], [type=search])";
  if (![...main.querySelectorAll(own)].some((field) => field.value !== field.defaultValue)) {
    location.assign(`/login?to=${encodeURIComponent(place())}`);
    return true;
  }
  const way = document.createElement("a");
  Object.assign(way, { href: "/login?to=%2Fsettings%2Faccount", target: "_blank", textContent: "log in in another tab" });
  lost.replaceChildren("Your session has ended. What you wrote is still here: ", way, ", then go on.");
  lost.hidden = false;
  return false;
}

// ---- from page to page

let going = 0;

async function go(to, { back = false } = {}) {
  const mine = ++going;
  let answer;
  try {
    answer = await fetch(to, { headers: { "x-rune-part": "page" } });
  } catch {
    return say("The server cannot be reached.", true);
  }
  if (mine !== going) return undefined;
  if (answer.status === 401) return logIn();
  if (!answer.headers.get("content-type")?.includes("json")) return location.assign(to);
  const told = await answer.json();
  if (mine !== going) return undefined;
  if (!back) history.pushState(null, "", to);
  leave();
  document.body.classList.remove("open");
  main.replaceChildren();
  show(told);
  window.scrollTo(0, 0);
  main.querySelector("h1")?.focus({ preventScroll: true });
  tell();
  return undefined;
}

function show({ title, main: content, tag }) {
  document.title = `${title} · Rune`;
  morph(main, parse(content));
  main.dataset.tag = tag;
  ready();
}

/** What the page has open ends. */
function leave() {
  for (const box of main.querySelectorAll("[data-logs], [data-terminal]")) box.dispatchEvent(new CustomEvent("leave"));
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href]");
  if (link && !event.defaultPrevented && !event.metaKey && !event.ctrlKey && !event.shiftKey && event.button === 0) {
    const to = new URL(link.href);
    if (to.origin !== location.origin || to.hash || link.target || !main?.dataset.tag) return;
    event.preventDefault();
    go(to.pathname + to.search);
    return;
  }
  const row = event.target.closest("tr[data-to]");
  const busy = event.target.closest("a, button, input, select, label, summary, form");
  if (row && !busy && !window.getSelection()?.toString()) go(row.dataset.to);
});

window.addEventListener("popstate", () => main?.dataset.tag && go(place(), { back: true }));

// ---- forms

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if ("plain" in form.dataset || !main?.dataset.tag || form.method === "dialog") return;
  event.preventDefault();
  const fields = new URLSearchParams(new FormData(form));
  if (form.method === "get") {
    for (const [name, value] of [...fields]) if (!value) fields.delete(name);
    const query = fields.toString();
    go(form.getAttribute("action") + (query ? `?${query}` : ""));
    return;
  }
  if (form.classList.contains("with-yaml")) fields.set("yaml", main.querySelector("textarea[name=yaml]")?.value ?? "");
  if (form.dataset.confirm && !(await confirm(form.dataset.confirm))) return;
  await send(form, fields, event.submitter?.getAttribute("formaction") ?? form.getAttribute("action"));
});

async function send(form, fields, to) {
  const press = [...form.querySelectorAll("button[type=submit]")];
  press.forEach((button) => (button.disabled = true));
  try {
    const told = await post(to, fields);
    if (!told) return;
    say(told.said);
    if (told.shown) reveal(told.said, told.shown);
    if (told.to) await go(told.to);
    else if (form.closest("details")?.open && !form.classList.contains("with-yaml")) form.reset();
    if (form.id === "bulk") unpick();
    if (form.classList.contains("saves")) form.closest("[data-keep]").dataset.keep = "saved";
  } finally {
    press.forEach((button) => (button.disabled = false));
  }
}

async function post(to, fields) {
  let answer;
  try {
    answer = await fetch(to, { method: "POST", body: fields, headers: { "x-rune-part": "act" } });
  } catch {
    say("The server cannot be reached.", true);
    return null;
  }
  if (answer.status === 401) {
    logIn();
    return null;
  }
  const told = await answer.json();
  if (answer.ok) return told;
  say(told.error, true);
  return null;
}

function dialog(title, ...children) {
  const box = document.createElement("dialog");
  const heading = document.createElement("h2");
  heading.textContent = title;
  heading.id = "asked";
  box.setAttribute("aria-labelledby", "asked");
  box.append(heading, ...children);
  document.body.append(box);
  box.addEventListener("close", () => box.remove());
  box.showModal();
  return box;
}

function pressed(label, kind, value) {
  const button = document.createElement("button");
  button.textContent = label;
  button.className = kind;
  button.value = value;
  return button;
}

function confirm(question) {
  const form = document.createElement("form");
  form.method = "dialog";
  form.className = "sends";
  form.append(pressed("Cancel", "", ""), pressed("Go on", "primary", "yes"));
  const box = dialog(question, form);
  return new Promise((resolve) => box.addEventListener("close", () => resolve(box.returnValue === "yes")));
}

function reveal(title, content) {
  const form = document.createElement("form");
  form.method = "dialog";
  form.className = "sends";
  form.append(pressed("Close", "primary", ""));
  const body = document.createElement("div");
  body.append(...parse(content).childNodes);
  dialog(title || "Result", body, form);
}

// ---- picked rows

document.addEventListener("click", (event) => {
  const name = event.target.dataset?.pick;
  if (!name) return;
  const boxes = [...main.querySelectorAll(`input[type=checkbox][name=${name}]`)];
  const all = boxes.every((box) => box.checked);
  boxes.forEach((box) => (box.checked = !all));
});

function unpick() {
  for (const box of main.querySelectorAll("input[form=bulk]")) box.checked = false;
}

document.addEventListener("change", (event) => {
  const form = event.target.closest("form.filters[method=get]");
  if (form && event.target.tagName === "SELECT") form.requestSubmit();
});

document.addEventListener("grown", () => (times(), labels()));

// ---- the editor

function editors() {
  for (const area of main.querySelectorAll("textarea[data-check]")) {
    if (area.dataset.in) continue;
    area.dataset.in = "yes";
    const numbers = area.parentElement.querySelector(".lines-at");
    const verdict = main.querySelector("#verdict");
    let timer = 0;
    let asked = 0;
    const count = (wrong = 0) => {
      const lines = area.value.split("\n").length;
      numbers.replaceChildren(...Array.from({ length: lines }, (_, at) => {
        const line = document.createElement("div");
        line.textContent = at + 1;
        if (at + 1 === wrong) line.className = "bad";
        return line;
      }));
      numbers.scrollTop = area.scrollTop;
    };
    const check = async () => {
      const mine = ++asked;
      const told = await post(area.dataset.check, new URLSearchParams({ yaml: area.value }));
      if (!told || mine !== asked) return;
      const good = told.said === "valid";
      verdict.textContent = good ? "This is a good policy." : told.said;
      verdict.className = `verdict ${good ? "good" : "bad"}`;
      area.setAttribute("aria-invalid", String(!good));
      count(good ? 0 : Number(/line (\d+)/.exec(told.said)?.[1] ?? 0));
    };
    area.addEventListener("input", () => {
      count();
      clearTimeout(timer);
      timer = setTimeout(check, 250);
    });
    area.addEventListener("scroll", () => (numbers.scrollTop = area.scrollTop));
    count();
    check();
  }
}

/** Somebody else saved what is being edited here: nothing is lost, and nobody is written over unasked. */
document.addEventListener("behind", ({ target }) => {
  if (target.querySelector(".behind")) return;
  const words = document.createElement("p");
  words.className = "behind trouble";
  words.setAttribute("role", "alert");
  words.textContent = "Somebody else has saved another version meanwhile. What you wrote stays here, and cannot be "
    + "saved over theirs: copy it, load the page again, and put both together.";
  target.prepend(words);
});

// ---- the connection that keeps the page true

let socket = null;
let waiting = 500;

function tell() {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ path: place(), tag: main.dataset.tag }));
}

function connect() {
  const at = new URL("/ui/live", location.href);
  at.protocol = at.protocol.replace("http", "ws");
  socket = new WebSocket(at);
  socket.onopen = () => {
    waiting = 500;
    const opened = socket; // a session that has ended lets us in for a moment, to say so
    setTimeout(() => opened.readyState === WebSocket.OPEN && (lost.hidden = true), 300);
    document.body.dataset.live = "yes";
    tell();
  };
  socket.onmessage = ({ data }) => {
    const told = JSON.parse(data);
    if (told.path === place()) show(told);
  };
  socket.onclose = ({ code }) => {
    delete document.body.dataset.live;
    if (code === 4401 && logIn()) return undefined;
    if (code === 4401) waiting = 2000;
    else lost.textContent = "The connection to the server is lost. What you see may be old; trying again …";
    lost.hidden = waiting < 1000 && code !== 4401; // a short break is not worth a word
    setTimeout(connect, waiting * (0.75 + Math.random() / 2));
    waiting = Math.min(waiting * 2, 10000);
    return undefined;
  };
}

// ---- light, dark, phone and keys

function theme() {
  const dark = document.documentElement.dataset.theme
    ? document.documentElement.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  const next = dark ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  document.querySelector("meta[name=color-scheme]").content = next;
  document.cookie = `rune_theme=${next}; path=/; max-age=31536000; samesite=strict`;
}

function menu() {
  const open = document.body.classList.toggle("open");
  document.getElementById("toggle").setAttribute("aria-expanded", String(open));
}

function help() {
  const form = document.createElement("form");
  form.method = "dialog";
  form.className = "sends";
  form.append(pressed("Close", "primary", ""));
  dialog("Keys", list(), form);
}

function step(by) {
  const rows = [...main.querySelectorAll("tr[data-key]")];
  const at = rows.indexOf(document.activeElement?.closest?.("tr[data-key]"));
  const row = rows[Math.max(0, Math.min(rows.length - 1, at + by))];
  (row?.querySelector("a") ?? row?.querySelector("button, input"))?.focus();
}

let chord = 0;

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.target.closest("input:not([type=checkbox]), textarea, select, dialog, [role=textbox]")) return;
  const { key } = event;
  if (chord && Date.now() - chord < 1500 && WAYS[key]) {
    chord = 0;
    go(WAYS[key]);
  } else if (key === "g") chord = Date.now();
  else if (key === "/") document.querySelector("#menu input[type=search]")?.focus();
  else if (key === "j") step(1);
  else if (key === "k") step(-1);
  else if (key === "x") document.activeElement?.closest?.("tr")?.querySelector("input[type=checkbox]")?.click();
  else if (key === "t") theme();
  else if (key === "?") help();
  else return;
  event.preventDefault();
});

// ---- begin

if (main?.dataset.tag) {
  document.getElementById("theme").addEventListener("click", theme);
  document.getElementById("keys").addEventListener("click", help);
  document.getElementById("toggle").addEventListener("click", menu);
  ready();
  connect();
  setInterval(times, 5000);
} else if (location.pathname === "/login" && location.search) {
  // Whoever follows a link on another site comes without the cookie, logged in or not: we ask once more ourselves.
  const to = document.querySelector("input[name=to]").value;
  fetch(to).then((answer) => answer.ok && !answer.redirected && location.replace(to), () => {});
} else if (location.pathname === "/enter" && location.hash) {
  // The code stands in the fragment, which browsers send nowhere; it leaves the address before anything else.
  const code = document.getElementById("code");
  code.value = location.hash.slice(1);
  history.replaceState(null, "", "/enter");
  code.form.requestSubmit();
}
