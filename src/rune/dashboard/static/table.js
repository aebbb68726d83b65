// Long tables: rows are fetched as they come near, and those far away give up their elements for an empty space.

import { morph, parseRows } from "./html.js";

const NEAR = 1500; // pixels above and below the view in which rows are kept
const QUIET = 1000; // milliseconds between two refreshes of rows that are scrolled to
const watched = new WeakMap();

/** Take care of every long table on the page. */
export function tables(root) {
  for (const table of root.querySelectorAll("table[data-long]")) if (!watched.has(table)) watched.set(table, new Long(table));
}

class Long {
  constructor(table) {
    this.table = table;
    this.loading = null;
    this.refreshed = 0;
    this.seen = new IntersectionObserver((entries) => this.moved(entries), { rootMargin: `${NEAR}px 0px` });
    this.seen.observe(table.tBodies[0]);
    this.end = document.createElement("tfoot");
    this.end.append(document.createElement("tr"));
    table.append(this.end);
    this.tail = new IntersectionObserver((entries) => entries.at(-1).isIntersecting && this.more(), { rootMargin: `${NEAR}px 0px` });
    this.tail.observe(this.end);
    table.addEventListener("stale", () => this.refresh());
  }

  address(cursor) {
    const [path, query] = this.table.dataset.long.split("?");
    const asked = new URLSearchParams(query);
    if (cursor) asked.set("cursor", cursor);
    return `${path}?${asked}`;
  }

  async rows(cursor) {
    const answer = await fetch(this.address(cursor), { headers: { "x-rune-part": "rows" } });
    if (!answer.ok) throw new Error(`rows: ${answer.status}`);
    return parseRows(await answer.text());
  }

  /** Rows after the last ones; several until the end of the table is out of sight. */
  async more() {
    if (this.loading || !this.table.isConnected) return;
    const last = this.table.tBodies[this.table.tBodies.length - 1];
    const cursor = last.dataset.next;
    if (!cursor) return;
    this.loading = this.rows(cursor);
    try {
      const body = document.importNode(await this.loading, true);
      body.dataset.at = cursor;
      this.table.insertBefore(body, this.end);
      this.seen.observe(body);
      this.table.dispatchEvent(new CustomEvent("grown", { bubbles: true }));
    } catch {
      await new Promise((done) => setTimeout(done, QUIET)); // the connection's own state says so
    } finally {
      this.loading = null;
    }
    // An observer tells changes alone: look again whether the end is still near.
    this.tail.unobserve(this.end);
    this.tail.observe(this.end);
  }

  moved(entries) {
    for (const { target, isIntersecting, boundingClientRect } of entries) {
      if (!target.dataset.at) continue; // the first rows stay: they are kept up to date with the page
      if (isIntersecting && target.dataset.empty) this.fill(target);
      else if (!isIntersecting && !target.dataset.empty && boundingClientRect.height) this.empty(target, boundingClientRect.height);
    }
  }

  empty(body, height) {
    if (body.contains(document.activeElement) || body.querySelector("input:checked")) return;
    const space = document.createElement("tr");
    const cell = document.createElement("td");
    cell.colSpan = 99;
    cell.style.height = `${height}px`;
    cell.style.padding = "0";
    space.append(cell);
    body.replaceChildren(space);
    body.dataset.empty = "yes";
  }

  async fill(body) {
    if (body.dataset.filling) return;
    body.dataset.filling = "yes";
    try {
      const fresh = await this.rows(body.dataset.at);
      delete body.dataset.empty;
      body.replaceChildren(...document.importNode(fresh, true).childNodes);
      body.dispatchEvent(new CustomEvent("grown", { bubbles: true }));
    } catch {
      return; // as in more()
    } finally {
      delete body.dataset.filling;
    }
  }

  /** Something changed: rows that were scrolled to and are in view are asked for again, now and then. */
  refresh() {
    if (this.timer) return;
    const wait = Math.max(0, this.refreshed + QUIET - Date.now());
    this.timer = setTimeout(async () => {
      this.timer = null;
      this.refreshed = Date.now();
      for (const body of [...this.table.tBodies].slice(1)) {
        if (body.dataset.empty || !body.dataset.at || !this.table.isConnected) continue;
        try {
          const fresh = await this.rows(body.dataset.at);
          if (body.dataset.empty) continue;
          morph(body, fresh);
          body.dataset.next = fresh.dataset.next;
          body.dispatchEvent(new CustomEvent("grown", { bubbles: true }));
        } catch {
          return; // as in more()
        }
      }
    }, wait);
  }
}
