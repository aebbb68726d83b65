"""One strict document as plain values, with the place of each by its path (`rules[2].scanner`).

Plain words follow YAML 1.2, so `no`, `on` and `010` stay the words they look like. No merge keys, no tags, no
second document: what a reviewer sees is what there is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, TypeAlias

from rune.positions.nodes import Limits, Node
from rune.positions.spots import Malformed, Spot, in_order
from rune.positions.tree import LOADER, parse

Yaml: TypeAlias = Any
"""What YAML can say: mappings, lists, text, numbers, booleans, None. Whoever reads it checks the type."""

STRICT = Limits(size=1 << 20, nodes=50_000, depth=32, scalar=64 << 10, aliases=100, documents=1, merges=False)
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]{1,18}|[0-9]{1,18}(?:\.[0-9]{0,18})?)(?:[eE][-+]?[0-9]{1,3})?")
_YAML_1_1_BOOLEANS = frozenset({"y", "n", "yes", "no", "on", "off"})


@dataclass(frozen=True, slots=True)
class Located:
    """Plain values, and the places of all of them by path."""

    value: Yaml
    lines: tuple[str, ...]
    values: dict[str, Spot]
    keys: dict[str, Spot]
    whole: Spot

    def at(self, path: str) -> Spot:
        """Where the value stands, or the nearest thing around it."""
        while path and path not in self.values:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.values.get(path, self.whole)

    def key_at(self, path: str) -> Spot:
        """Where the key stands that names the value."""
        return self.keys.get(path) or self.at(path)


def read(source: str | bytes, *, name: str = "", limits: Limits = STRICT, loader: Yaml = LOADER) -> Located:
    """The one document in `source`; raises Malformed with everything that is wrong, and its place."""
    parsed, problems = parse(source, name=name, limits=limits, loader=loader)
    reader = _Reader()
    value = reader.value(parsed.documents[0], "") if parsed.documents else None
    problems += [parsed.problem(spot, message, path) for spot, message, path in reader.wrong]
    if problems:
        raise Malformed(in_order(problems))
    whole = parsed.documents[0].spot if parsed.documents else Spot(name, 1, 1)
    return Located(value, tuple(parsed.lines), reader.values, reader.keys, whole)


def plain(word: str) -> Yaml:
    """What an unquoted word means: YAML 1.2's core words, and a string for all others."""
    if word in {"", "~", "null", "Null", "NULL"}:
        return None
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    if _INTEGER.fullmatch(word) and (word.lstrip("+-") == "0" or not word.lstrip("+-").startswith("0")):
        return int(word)
    return float(word) if _FLOAT.fullmatch(word) and any(c in word for c in ".eE") else word


def is_old_boolean(value: object) -> bool:
    """True for the words that YAML 1.1 took for booleans: yes, no, on, off."""
    return isinstance(value, str) and value.lower() in _YAML_1_1_BOOLEANS


class _Reader:
    """Walks a tree, whose depth and size are bounded, and notes where everything stands."""

    def __init__(self) -> None:
        self.values: dict[str, Spot] = {}
        self.keys: dict[str, Spot] = {}
        self.wrong: list[tuple[Spot, str, str]] = []

    def value(self, node: Node, path: str) -> Yaml:
        self.values.setdefault(path, node.spot)
        if node.kind == "list":
            return [self.value(item, f"{path}[{number}]") for number, item in enumerate(node.items)]
        if node.kind == "mapping":
            return self._mapping(node, path)
        return node.text if node.quoted else plain(node.text)

    def _mapping(self, node: Node, path: str) -> dict[str, Yaml]:
        found: dict[str, Yaml] = {}
        for key, value in node.entries:
            complaint = _complaint(key)
            if complaint:
                self.wrong.append((key.spot, complaint, path))
                continue
            where = f"{path}.{key.text}" if path else key.text
            self.keys.setdefault(
                where, key.spot
            )  # `a.b` and `a: {b: …}` share a path; the first has the place
            found[key.text] = self.value(value, where)
        return found


def _complaint(key: Node) -> str:
    """What is wrong with a key, if anything."""
    if key.kind != "scalar":
        return "a key must be a word, not a mapping or a list"
    word = key.text[:60]
    if not key.quoted and not isinstance(plain(key.text), str):
        return f'the key {word or "null"} is not a string; write "{word}"'
    return "merge keys (<<) are not read; write the keys out" if key.text == "<<" and not key.quoted else ""
