"""YAML as a tree that knows where each part stands, within limits, and with every error in one go.

Scalars stay the text that was written: what a word means is decided by whoever knows the field, so that
`no`, `1.10` and `0777` are never taken for something else on the way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from rune.errors import InvalidArgument, Violation

MOST_BYTES = 4 << 20
MOST_NODES = 200_000
"""Counted with every use of an alias, which is what stops a file that doubles itself again and again."""
DEEPEST = 64
MOST_PROBLEMS = 100
_PLAIN_NULL = ("", "~", "null", "Null", "NULL")


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in a file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where."""

    spot: Spot
    message: str
    path: str = ""
    excerpt: str = ""
    """The line as it is written."""

    def __str__(self) -> str:
        head = f"{self.spot}: {self.message}"
        if not self.excerpt:
            return head
        number = str(self.spot.line)
        shown, column = _window(self.excerpt, self.spot.column)
        return f"{head}\n  {number} | {shown}\n  {' ' * len(number)} | {' ' * (column - 1)}^"


class Malformed(InvalidArgument):
    """A file is not what it should be; `problems` has everything that is wrong with it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)[:MOST_PROBLEMS]
        details = [Violation(f"{p.spot}{f' {p.path}' if p.path else ''}", p.message) for p in self.problems]
        super().__init__("\n".join(map(str, self.problems)), details=details)


@dataclass(slots=True)
class Node:
    """A part of a document: `kind` is scalar, list or mapping."""

    kind: str
    spot: Spot
    text: str = ""
    quoted: bool = False
    items: list[Node] = field(default_factory=list["Node"])
    entries: list[tuple[Node, Node]] = field(default_factory=list["tuple[Node, Node]"])
    size: int = 1
    """How many nodes it is, aliases written out."""
    depth: int = 1
    """How many nodes stand inside each other, aliases written out."""

    @property
    def is_null(self) -> bool:
        """Nothing stands there."""
        return self.kind == "scalar" and not self.quoted and self.text in _PLAIN_NULL

    def plain(self) -> Any:  # noqa: ANN401 - whatever the document holds
        """The same without places: text, lists and mappings; None where nothing stands."""
        if self.kind == "list":
            return [item.plain() for item in self.items]
        if self.kind == "mapping":
            return {key.text: value.plain() for key, value in self.entries}
        return None if self.is_null else self.text


@dataclass(frozen=True, slots=True)
class Source:
    """A file's documents, and its lines for excerpts."""

    name: str
    lines: Sequence[str]
    documents: Sequence[Node]

    def problem(self, spot: Spot, message: str, path: str = "") -> Problem:
        """A problem at the spot, with the line it stands on."""
        return Problem(spot, message, path, _line(self.lines, spot.line))


def read(text: str, *, name: str) -> Source:
    """The documents of the text; raises Malformed for what is no YAML, or more of it than is allowed."""
    if len(text.encode(errors="surrogatepass")) > MOST_BYTES:
        raise Malformed([Problem(Spot(name, 1, 1), f"the file is larger than {MOST_BYTES >> 20} MiB")])
    lines = text.split("\n")
    builder = _Builder(name, lines)
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        spot = Spot(name, mark.line + 1, mark.column + 1) if mark else Spot(name, 1, 1)
        builder.found(spot, f"this is not YAML: {_words(error)}")
    except (yaml.YAMLError, UnicodeError) as error:
        builder.found(Spot(name, 1, 1), f"this is not YAML: {str(error).splitlines()[0]}")
    if builder.problems:
        raise Malformed(
            sorted(builder.problems, key=lambda problem: (problem.spot.line, problem.spot.column))
        )
    return Source(name, lines, builder.documents)


class _Builder:
    """Turns events into nodes, one open collection inside the other."""

    def __init__(self, name: str, lines: Sequence[str]) -> None:
        self.documents: list[Node] = []
        self.problems: list[Problem] = []
        self._name, self._lines = name, lines
        self._open: list[Node] = []
        self._keys: list[Node | None] = []
        self._anchors: dict[str, Node] = {}
        self._nodes = 0

    def found(self, spot: Spot, message: str) -> None:
        """Note a problem."""
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(Problem(spot, message, "", _line(self._lines, spot.line)))

    def take(self, event: Any) -> None:  # noqa: ANN401 - events of the library, told apart by class
        """One event."""
        match event:
            case yaml.ScalarEvent() | yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                self._begin(event)
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                self._end()
            case yaml.AliasEvent():
                self._alias(event)
            case yaml.DocumentStartEvent():
                self._anchors = {}
            case _:
                pass

    def _begin(self, event: Any) -> None:  # noqa: ANN401 - as take
        spot = self._spot(event)
        if event.tag is not None and event.tag != "!":
            self.found(spot, f"tags are not taken: remove {event.tag.replace('tag:yaml.org,2002:', '!!')}")
        if isinstance(event, yaml.ScalarEvent):
            node = Node("scalar", spot, event.value, quoted=bool(event.style))
            self._bound(node)
            self._note(event.anchor, node)
            self._add(node)
            return
        node = Node("list" if isinstance(event, yaml.SequenceStartEvent) else "mapping", spot)
        self._open.append(node)
        self._keys.append(None)
        self._bound(node)
        self._note(event.anchor, node)

    def _end(self) -> None:
        node = self._open.pop()
        self._keys.pop()
        if node.kind == "mapping":
            self._merge(node)
            self._doubled(node)
        self._add(_braces(node) or node)

    def _alias(self, event: Any) -> None:  # noqa: ANN401 - as take
        spot = self._spot(event)
        node = self._anchors.get(event.anchor)
        if node is None:
            self.found(spot, f"there is no anchor &{event.anchor} before this")
            node = Node("scalar", spot)
        elif any(node is outer for outer in self._open):
            self.found(spot, f"*{event.anchor} stands inside what it names")
            node = Node("scalar", spot)
        self._bound(node)
        self._add(node)

    def _bound(self, node: Node) -> None:
        self._nodes += node.size
        if self._nodes > MOST_NODES:
            self._stop(node.spot, f"the file has more than {MOST_NODES} parts, aliases written out")
        if len(self._open) + node.depth - 1 > DEEPEST:
            self._stop(node.spot, f"this is nested more than {DEEPEST} levels deep")

    def _note(self, anchor: str | None, node: Node) -> None:
        if anchor is not None:
            self._anchors[anchor] = node

    def _add(self, node: Node) -> None:
        if not self._open:
            self.documents.append(node)
            return
        outer = self._open[-1]
        outer.size += node.size
        outer.depth = max(outer.depth, node.depth + 1)
        if outer.kind == "list":
            outer.items.append(node)
            return
        key, self._keys[-1] = self._keys[-1], None
        if key is None:
            self._keys[-1] = node
        else:
            outer.entries.append((key, node))

    def _merge(self, node: Node) -> None:
        """Write out `<<: *base`; what stands in the mapping itself goes before what is merged."""
        bases = [value for key, value in node.entries if _is_merge(key)]
        if not bases:
            return
        node.entries = [(key, value) for key, value in node.entries if not _is_merge(key)]
        have = {key.text for key, _ in node.entries}
        for base in bases:
            for mapping in base.items if base.kind == "list" else [base]:
                if mapping.kind != "mapping":
                    self.found(base.spot, "<< takes a mapping, or a list of mappings")
                fresh = [(key, value) for key, value in mapping.entries if key.text not in have]
                self._nodes += sum(value.size for _, value in fresh)
                node.entries += fresh
                have.update(key.text for key, _ in fresh)

    def _doubled(self, node: Node) -> None:
        seen: dict[str, Node] = {}
        for key, _ in node.entries:
            if key.kind != "scalar":
                continue
            first = seen.setdefault(key.text, key)
            if first is not key:
                self.found(key.spot, f"{key.text!r} stands here twice, first in line {first.spot.line}")

    def _spot(self, event: Any) -> Spot:  # noqa: ANN401 - as take
        return Spot(self._name, event.start_mark.line + 1, event.start_mark.column + 1)

    def _stop(self, spot: Spot, message: str) -> None:
        self.problems = []
        self.found(spot, message)
        raise _Stopped(self.problems)


class _Stopped(Malformed):
    """A limit is passed: nothing after this is read."""


def scalars(node: Node) -> Iterator[Node]:
    """Every scalar value of a tree, in the order of the file."""
    waiting = [node]
    while waiting:
        part = waiting.pop()
        if part.kind == "scalar":
            yield part
        waiting += reversed(part.items)
        waiting += [value for _, value in reversed(part.entries)]


def _is_merge(key: Node) -> bool:
    return key.kind == "scalar" and key.text == "<<" and not key.quoted


def _braces(node: Node) -> Node | None:
    """Text that stands in double braces without quotes, `{{secret:db}}`, which YAML reads as a mapping."""
    if node.kind != "mapping" or len(node.entries) != 1:
        return None
    (inner, nothing), *_ = node.entries
    if inner.kind != "mapping" or len(inner.entries) != 1 or not nothing.is_null:
        return None
    (text, value), *_ = inner.entries
    if text.kind != "scalar" or not value.is_null:
        return None
    return Node("scalar", node.spot, "{{" + text.text + "}}", quoted=True)


def _line(lines: Sequence[str], number: int) -> str:
    return lines[number - 1].rstrip("\r") if 0 < number <= len(lines) else ""


def _window(line: str, column: int) -> tuple[str, int]:
    """At most 100 characters of the line, the spot among them, nothing in them that moves the cursor."""
    start = max(0, column - 60)
    shown = "".join(char if char.isprintable() else " " for char in line[start : start + 100])
    return shown, column - start


def _words(error: yaml.MarkedYAMLError) -> str:
    words = " ".join(part for part in (error.context, error.problem) if part)
    if "cannot start any token" in words:
        return f"{words} (a tab, or a mark that needs quotes?)"
    return words
