// A terminal on the page: keys and pasted text go to the command, its screen is drawn as text.

import { Screen } from "./screen.js";

const KEYS = { Enter: "\r", Backspace: "\x7f", Tab: "\t", Escape: "\x1b", Delete: "\x1b[3~", Insert: "\x1b[2~", PageUp: "\x1b[5~", PageDown: "\x1b[6~" };
const MOVES = { ArrowUp: "A", ArrowDown: "B", ArrowRight: "C", ArrowLeft: "D", Home: "H", End: "F" };
const MOST_SENT = 64 << 10;
const begun = new WeakSet();

/** Make every terminal on the page one that works. */
export function terminals(root) {
  for (const box of root.querySelectorAll("[data-terminal]")) {
    if (begun.has(box)) continue;
    begun.add(box);
    new Terminal(box);
  }
}

class Terminal {
  constructor(box) {
    this.box = box;
    this.view = box.querySelector("[data-screen]");
    this.state = box.querySelector("[data-state]");
    this.screen = new Screen(...this.size());
    this.view.addEventListener("keydown", (event) => this.pressed(event));
    this.view.addEventListener("paste", (event) => this.pasted(event));
    this.view.addEventListener("click", () => this.view.focus());
    box.querySelector("[data-connect]").addEventListener("click", () => this.connect());
    box.addEventListener("leave", () => this.socket?.close());
    new ResizeObserver(() => this.resized()).observe(this.view);
    this.draw();
  }

  /** How many columns and rows fit. */
  size() {
    const probe = document.createElement("span");
    probe.textContent = "M".repeat(10);
    this.view.append(probe);
    const { width, height } = probe.getBoundingClientRect();
    probe.remove();
    const style = getComputedStyle(this.view);
    const room = this.view.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    this.lineHeight = parseFloat(style.lineHeight) || height || 18;
    const tall = this.view.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom);
    return [Math.max(20, Math.floor(room / (width / 10 || 8))), Math.max(5, Math.floor(tall / this.lineHeight))];
  }

  tell(words, live = false) {
    this.state.textContent = words;
    this.state.toggleAttribute("data-on", live);
  }

  connect() {
    this.socket?.close();
    this.screen = new Screen(...this.size());
    const at = new URL(this.box.dataset.terminal, location.href);
    at.protocol = at.protocol.replace("http", "ws");
    at.searchParams.set("cols", this.screen.cols);
    at.searchParams.set("rows", this.screen.rows);
    at.searchParams.set("command", this.box.querySelector("[name=command]").value);
    const socket = (this.socket = new WebSocket(at));
    const decoder = new TextDecoder("utf-8");
    let ended = "the connection was lost";
    socket.binaryType = "arraybuffer";
    this.tell("connecting …");
    socket.onopen = () => {
      this.tell("connected", true);
      this.view.focus();
    };
    socket.onmessage = ({ data }) => {
      if (typeof data === "string") {
        ended = JSON.parse(data).end;
        return;
      }
      this.screen.write(decoder.decode(data, { stream: true }));
      for (const answer of this.screen.answers.splice(0)) this.send(answer);
      this.draw();
    };
    socket.onclose = () => {
      if (socket === this.socket) this.tell(ended);
    };
    this.draw();
  }

  send(text) {
    if (this.socket?.readyState !== WebSocket.OPEN) return;
    const bytes = new TextEncoder().encode(text);
    for (let at = 0; at < bytes.length; at += MOST_SENT) this.socket.send(bytes.slice(at, at + MOST_SENT));
  }

  pressed(event) {
    if (event.ctrlKey && event.shiftKey) {
      if (event.key === "Escape") this.box.querySelector("[data-connect]").focus();
      return; // the browser's own: copy, paste, new window
    }
    const text = this.words(event);
    if (text === null || this.socket?.readyState !== WebSocket.OPEN) return;
    event.preventDefault();
    event.stopPropagation();
    this.send(text);
    this.view.scrollTop = this.view.scrollHeight;
  }

  words({ key, ctrlKey, altKey, metaKey }) {
    if (metaKey) return null;
    if (MOVES[key]) return `\x1b${this.screen.appKeys ? "O" : "["}${MOVES[key]}`;
    if (KEYS[key]) return KEYS[key];
    if ([...key].length !== 1) return null;
    if (ctrlKey) {
      const code = key.toUpperCase().charCodeAt(0);
      if (key === " ") return "\0";
      return code >= 64 && code <= 95 ? String.fromCharCode(code - 64) : null;
    }
    return altKey ? `\x1b${key}` : key;
  }

  pasted(event) {
    event.preventDefault();
    const text = event.clipboardData.getData("text").replace(/\r?\n/g, "\r");
    this.send(this.screen.bracketed ? `\x1b[200~${text.replace(/\x1b/g, "")}\x1b[201~` : text);
  }

  resized() {
    if (!this.view.isConnected) return; // the page has gone elsewhere
    const [cols, rows] = this.size();
    if (cols === this.screen.cols && rows === this.screen.rows) return;
    this.screen.resize(cols, rows);
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ cols, rows }));
    this.draw();
  }

  /** Once a frame, however much was written. */
  draw() {
    if (this.drawing) return;
    this.drawing = requestAnimationFrame(() => {
      this.drawing = null;
      const { screen, view } = this;
      const low = view.scrollHeight - view.scrollTop - view.clientHeight < 2 * this.lineHeight;
      const above = screen.other ? [] : screen.above;
      const shown = [...above, ...screen.lines].map((line, y) => drawLine(line, y === above.length + screen.y && !screen.hidden ? screen.x : -1));
      view.replaceChildren(...shown);
      if (low) view.scrollTop = view.scrollHeight;
    });
  }
}

/** Neighbours that look alike are one span. */
function drawLine(line, cursor) {
  const row = document.createElement("div");
  let from = 0;
  while (from < line.length) {
    let to = from + 1;
    while (to < line.length && line[to].pen === line[from].pen && to !== cursor && from !== cursor) to++;
    const text = line.slice(from, to).map((cell) => cell.text).join("");
    row.append(drawn(text, line[from].pen, from === cursor));
    from = to;
  }
  return row;
}

function drawn(text, pen, cursor) {
  const span = document.createElement("span");
  span.textContent = text;
  const [fore, back] = pen.reverse ? [pen.back ?? "#12161c", pen.fore ?? "#e4e8ee"] : [pen.fore, pen.back];
  if (fore) span.style.color = fore;
  if (back) span.style.backgroundColor = back;
  if (pen.bold) span.style.fontWeight = "bold";
  if (pen.italic) span.style.fontStyle = "italic";
  if (pen.under) span.style.textDecoration = "underline";
  if (cursor) span.className = "cursor";
  return span;
}
