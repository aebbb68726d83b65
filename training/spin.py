"""Texts from templates: `{a|b}` chooses, `<list>` draws from a named list, both may nest."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence

Lists = Mapping[str, Sequence[str]]
_NAME = re.compile(r"<([a-z][a-z_0-9]*)>")
DEEPEST = 12


def spin(template: str, lists: Lists, rng: random.Random, *, depth: int = 0) -> str:
    """One text of a template; raises RecursionError where lists draw from each other for ever."""
    if depth > DEEPEST:
        raise RecursionError(template[:80])
    text = _choose(template, rng)
    return _NAME.sub(
        lambda found: (
            spin(rng.choice(lists[found[1]]), lists, rng, depth=depth + 1) if found[1] in lists else found[0]
        ),
        text,
    )


def _choose(template: str, rng: random.Random) -> str:
    parts: list[list[list[str]]] = [[[]]]
    for piece in re.split(r"(\\.|[{}|])", template):
        if piece == "{":
            parts.append([[]])
        elif piece == "}" and len(parts) > 1:
            chosen = "".join(rng.choice(parts.pop()))
            parts[-1][-1].append(chosen)
        elif piece == "|" and len(parts) > 1:
            parts[-1].append([])
        else:
            parts[-1][-1].append({"\\n": "\n", "\\{": "{", "\\}": "}", "\\|": "|"}.get(piece, piece))
    return "".join("".join(choice) for group in parts for choice in group)


def read(text: str) -> dict[str, dict[str, list[str]]]:
    """A corpus file: after `== KIND NAME` stand the templates of a section; `#` begins a remark."""
    found: dict[str, dict[str, list[str]]] = {}
    section: list[str] = []
    for line in text.splitlines():
        if line.startswith("== "):
            _, kind, name = line.split()
            section = found.setdefault(kind, {}).setdefault(name, [])
        elif line.strip() and not line.startswith("# "):
            section.append(line)
    return found
