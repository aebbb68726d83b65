// HTML of our own server's answers into the page: what is the same stays, with its focus, text and scroll.

const policy = window.trustedTypes?.createPolicy("rune", { createHTML: (text) => text });

const OURS = new Set(["data-in", "data-label"]); // what the page itself notes on elements

/** Parse an answer of our server. Nothing else may come in here: it is the page's only door for HTML. */
export function parse(text) {
  const page = new DOMParser().parseFromString(policy ? policy.createHTML(text) : text, "text/html");
  return page.body;
}

/** Parse rows of a table. */
export function parseRows(text) {
  return parse(`<table>${text}</table>`).querySelector("tbody");
}

/** Make the children of `old` those of `fresh`, keeping every element that stands in both. */
export function morph(old, fresh) {
  const known = new Map();
  for (const child of old.children) if (keyOf(child)) known.set(keyOf(child), child);
  let at = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const key = wanted.nodeType === 1 ? keyOf(wanted) : null;
    let match = key ? known.get(key) : alike(at, wanted) ? at : null;
    if (!match) {
      old.insertBefore(document.importNode(wanted, true), at);
      continue;
    }
    if (match === at) at = at.nextSibling;
    else old.insertBefore(match, at);
    same(match, wanted);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function keyOf(element) {
  return element.id || element.dataset?.key || null;
}

function alike(old, fresh) {
  if (!old || old.nodeType !== fresh.nodeType) return false;
  if (old.nodeType !== 1) return true;
  return old.tagName === fresh.tagName && keyOf(old) === keyOf(fresh);
}

function same(old, fresh) {
  if (old.nodeType !== 1) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  // What a reader works in (a terminal, an editor, picked rows) is left alone until it is another one.
  if (old.hasAttribute("data-keep") && old.dataset.keep === fresh.dataset.keep) return;
  if (old.hasAttribute("data-keep") && [...old.querySelectorAll("textarea")].some((area) => isOnesOwn(area, fresh))) {
    old.dispatchEvent(new CustomEvent("behind", { bubbles: true }));
    return;
  }
  const shown = old.tagName === "TIME" && old.dateTime === fresh.getAttribute("datetime");
  const open = old.tagName === "DETAILS" && old.open;
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !(open && name === "open") && !OURS.has(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  if (shown || old === document.activeElement) return;
  if (old.tagName === "TABLE" && old.dataset.long) return sameLong(old, fresh);
  if (old.tagName === "TEXTAREA") return sameText(old, fresh);
  morph(old, fresh);
}

/** Somebody is writing in it, and what the server says now is neither that nor what they began with. */
function isOnesOwn(area, fresh) {
  const now = area.id && fresh.querySelector(`#${area.id}`)?.defaultValue;
  return now !== undefined && area.value !== area.defaultValue && area.value !== now;
}

/** What somebody is writing stays; what nobody has touched, or everybody has by now, is the server's. */
function sameText(old, fresh) {
  const untouched = old.value === old.defaultValue || old.value === fresh.defaultValue;
  if (old.defaultValue === fresh.defaultValue) return;
  old.defaultValue = fresh.defaultValue;
  if (!untouched) return;
  old.value = fresh.defaultValue;
  old.dispatchEvent(new Event("input", { bubbles: true }));
}

/** A long table has further rows that the answer does not know of: only its head and first rows are compared. */
function sameLong(old, fresh) {
  morph(old.tHead, fresh.tHead);
  morph(old.tBodies[0], fresh.tBodies[0]);
  old.tBodies[0].dataset.next = fresh.tBodies[0].dataset.next;
  old.dispatchEvent(new CustomEvent("stale"));
}
