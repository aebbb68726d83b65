// What the keys do: where `g` and a letter lead, and the list of all keys for people.

export const WAYS = { o: "/", s: "/services", i: "/instances", a: "/agents", l: "/alerts", e: "/events", p: "/policies", n: "/nodes", v: "/approvals",
  d: "/deletions", r: "/registries", w: "/webhooks", u: "/settings/sessions", z: "/settings/organizations" };
const HELP = [
  ["/", "search"], ["j k", "next and previous row"], ["Enter", "open the row"], ["x", "pick the row"],
  ["g o", "overview"], ["g s", "services"], ["g i", "instances"], ["g a", "agents"], ["g l", "alerts"], ["g v", "approvals"],
  ["g e", "events"], ["g p", "policies"], ["g n", "nodes"], ["g w", "webhooks"], ["g d", "deletions"], ["g r", "registries"],
  ["g u", "sessions"], ["g z", "organizations"], ["t", "light or dark"], ["?", "this list"],
];

/** The keys and what they do, as a list. */
export function list() {
  const all = document.createElement("dl");
  all.className = "keys";
  for (const [keys, what] of HELP) {
    const [pair, name, text] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
    for (const key of keys.split(" ")) {
      const cap = document.createElement("kbd");
      cap.textContent = key;
      name.append(cap, " ");
    }
    text.textContent = what;
    pair.append(name, text);
    all.append(pair);
  }
  return all;
}
