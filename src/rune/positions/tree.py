"""YAML events become a tree, within limits, and with everything that is wrong in one go.

Scalars stay the text that was written: what a word means is decided by whoever knows the field, so that
`no`, `1.10` and `0777` are never taken for something else on the way. The stack is our own: no depth, alias
or size of the text can exhaust Python's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import yaml

from rune.positions.nodes import BREAK, Limits, Mark, Node, Origin, Source, Written
from rune.positions.spots import MOST_PROBLEMS, Malformed, Problem, Spot, in_order, problem_at

FILES = Limits()
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # of the C extension, which has no types
_NEXT_DOCUMENT = re.compile(r"---(?=\s|$)")
_SURROGATE = re.compile("[\ud800-\udfff]")
_STAR = "a word that starts with * must be in quotes"


def read(text: str | bytes, *, name: str, limits: Limits = FILES) -> Source:
    """The documents of the text; raises Malformed for what is no YAML, or more of it than is allowed."""
    source, problems = parse(text, name=name, limits=limits)
    if problems:
        raise Malformed(problems)
    return source


def parse(
    text: str | bytes,
    *,
    name: str,
    limits: Limits = FILES,
    origin: Origin | None = None,
    loader: Any = LOADER,  # noqa: ANN401 - as LOADER
) -> tuple[Source, list[Problem]]:
    """The documents that could be read, and what is wrong, in the order of the file."""
    decoded, refused = _text(text, name, limits)
    written = origin or Written(name, decoded)
    if refused:
        return Source(name, written.lines, []), [problem_at(*refused, lines=written.lines)]
    builder = _Builder(written, limits)
    first: int | None = 0
    starts = [0, *(found.end() for found in BREAK.finditer(decoded))]
    lines = BREAK.split(decoded)
    try:
        while first is not None:
            first = _documents(
                builder, lines, first, events=yaml.parse(decoded[starts[first] :], Loader=loader)
            )
    except _Stopped:
        builder.documents = []
    return Source(name, written.lines, builder.documents), in_order(builder.problems)


def _text(text: str | bytes, name: str, limits: Limits) -> tuple[str, tuple[Spot, str] | None]:
    """The text in characters that YAML allows, or where and why it is not."""
    start = Spot(name, 1, 1)
    try:
        raw = text.encode() if isinstance(text, str) else text
        if len(raw) > limits.size:
            many = f"{limits.size >> 20} MiB" if limits.size >= 1 << 20 else f"{limits.size} bytes"
            return "", (start, f"the file has {len(raw)} bytes, and {many} are the most")
        decoded = raw.decode("utf-8-sig")
    except UnicodeError as error:
        return "", (start, f"this is not UTF-8: {getattr(error, 'reason', error)}")
    found = yaml.reader.Reader.NON_PRINTABLE.search(decoded)
    if found:
        before = decoded[: found.start()]
        spot = Spot(name, before.count("\n") + 1, found.start() - before.rfind("\n"))
        return decoded, (spot, f"the character U+{ord(found.group()):04X} is not allowed in YAML")
    return decoded, None


def _documents(builder: _Builder, lines: list[str], first: int, *, events: Iterator[Any]) -> int | None:
    """Read on from a line. Where the text is no YAML, say so and give the line of the next document."""
    builder.begin(first)
    try:
        for event in events:
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + first, mark.column) if mark else (first, 0)
        builder.refuse(*_explained(lines, (line, column), error))
        rest = range(max(line, first + 1), len(lines))
        return next((number for number in rest if _NEXT_DOCUMENT.match(lines[number])), None)
    return None


def _explained(lines: list[str], at: Mark, error: yaml.MarkedYAMLError) -> tuple[Mark, str]:
    """Where the text stops being YAML (`at` counts from 0), and why, in words that name the remedy."""
    line, column = at
    for near in (line, line - 1):
        written = lines[near] if 0 <= near < len(lines) else ""
        blank = written[: len(written) - len(written.lstrip())]
        if "\t" in blank and written.strip():
            return (near + 1, blank.index("\t") + 1), "a tab stands before this: indent with spaces"
    words = " ".join(filter(None, (error.context, error.problem)))
    hint = f"; {_STAR}" if "alias" in words else ""
    if "cannot start any token" in words:
        hint = "; put the word in quotes"
    elif "mapping values are not allowed" in words:
        hint = "; is a quote missing, or the indentation of the line above wrong?"
    return (line + 1, column + 1), f"this is not YAML: {words}{hint}"


class _Stopped(Exception):
    """A limit is passed: nothing after this is read."""


class _Builder:
    """Turns events into nodes, one open collection inside the other."""

    def __init__(self, origin: Origin, limits: Limits) -> None:
        self.documents: list[Node] = []
        self.problems: list[Problem] = []
        self._origin, self._limits = origin, limits
        self._nodes = self._aliases = self._first = 0
        self.begin(0)

    def begin(self, first: int) -> None:
        """Start anew; lines are counted from this one on."""
        self._first = first
        self._open: list[Node] = []
        self._keys: list[Node | None] = []
        self._anchors: dict[str, Node] = {}

    def refuse(self, mark: Mark, message: str) -> None:
        """Note a problem at a place of the text; whatever stands in its line may be quoted by it."""
        line, _ = mark
        is_sealed = self._origin.spot((line, 1), (line + 1, 1)).is_sealed
        self._found(msgspec.structs.replace(self._origin.spot(mark, mark), is_sealed=is_sealed), message)

    def _found(self, spot: Spot, message: str) -> None:
        if len(self.problems) <= MOST_PROBLEMS:
            self.problems.append(problem_at(spot, message, lines=self._origin.lines))

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
                if len(self.documents) >= self._limits.documents:
                    self._stop(self._spot(event), _too_many_documents(self._limits.documents))
            case _:
                pass

    def _begin(self, event: Any) -> None:  # noqa: ANN401 - as take
        spot = self._spot(event)
        if event.tag is not None and event.tag != "!":
            shown = event.tag.replace("tag:yaml.org,2002:", "!!")[:60]
            self._found(spot, f"tags are not taken: remove {shown}")
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event, spot)
            return
        node = Node("list" if isinstance(event, yaml.SequenceStartEvent) else "mapping", spot)
        self._open.append(node)
        self._keys.append(None)
        self._bound(node)
        self._note(event.anchor, node)

    def _scalar(self, event: Any, spot: Spot) -> None:  # noqa: ANN401 - as take
        if len(event.value) > self._limits.scalar:
            many = f"a text of {len(event.value)} characters; the limit is {self._limits.scalar}"
            self._stop(spot, many)
        if not event.value.isascii() and _SURROGATE.search(event.value):
            self._stop(spot, "an escape that is half of a surrogate pair; write the character itself")
        node = Node("scalar", spot, event.value, quoted=bool(event.style) or not event.implicit[0])
        self._bound(node)
        self._note(event.anchor, node)
        self._add(node)

    def _end(self) -> None:
        node = self._open.pop()
        self._keys.pop()
        if node.kind == "mapping":
            if self._limits.merges:
                self._merge(node)
            self._doubled(node)
        self._add(_braces(node) or node)

    def _alias(self, event: Any) -> None:  # noqa: ANN401 - as take
        spot = self._spot(event)
        self._aliases += 1
        if self._aliases > self._limits.aliases:
            self._stop(spot, f"more than {self._limits.aliases} aliases")
        node = self._anchors.get(event.anchor)
        if node is None:
            self._found(spot, f"there is no anchor &{event.anchor[:60]} before this; {_STAR}")
            node = Node("scalar", spot)
        elif any(node is outer for outer in self._open):
            self._found(spot, f"*{event.anchor[:60]} stands inside what it names")
            node = Node("scalar", spot)
        self._bound(node)
        self._add(node)

    def _bound(self, node: Node) -> None:
        self._nodes += node.size
        if self._nodes > self._limits.nodes:
            self._stop(node.spot, f"the file has more than {self._limits.nodes} parts, aliases written out")
        if len(self._open) + node.depth - 1 > self._limits.depth:
            self._stop(node.spot, f"this is nested more than {self._limits.depth} levels deep")

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
                    self._found(base.spot, "<< takes a mapping, or a list of mappings")
                fresh = [(key, value) for key, value in mapping.entries if key.text not in have]
                self._nodes += sum(value.size for _, value in fresh)
                node.entries += fresh
                have.update(key.text for key, _ in fresh)

    def _doubled(self, node: Node) -> None:
        seen: dict[str, Node] = {}
        for key, _ in node.entries:
            if key.kind != "scalar":
                continue
            if key.spot.is_sealed:
                self._found(key.spot, "a key is never secret")
            first = seen.setdefault(key.text, key)
            if first is not key:
                self._found(key.spot, f"{key.text[:60]!r} stands here twice, first in line {first.spot.line}")

    def _spot(self, event: Any) -> Spot:  # noqa: ANN401 - as take
        start, end = event.start_mark, event.end_mark
        return self._origin.spot(
            (start.line + self._first + 1, start.column + 1), (end.line + self._first + 1, end.column + 1)
        )

    def _stop(self, spot: Spot, message: str) -> None:
        self.problems = []
        self._found(spot, message)
        raise _Stopped


def scalars(node: Node) -> Iterator[Node]:
    """Every scalar value of a tree, in the order of the file."""
    waiting = [node]
    while waiting:
        part = waiting.pop()
        if part.kind == "scalar":
            yield part
        waiting += reversed(part.items)
        waiting += [value for _, value in reversed(part.entries)]


def _too_many_documents(most: int) -> str:
    if most == 1:
        return "a second document starts here; write one document per file"
    return f"more than {most} documents"


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
