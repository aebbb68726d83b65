"""Reads one YAML document and remembers where each value stood, so that errors can point at it.

The reader works on YAML events with a stack of its own: no depth, alias or size of the input can exhaust
Python's stack or memory. Plain words follow YAML 1.2, so `no`, `on` and `010` stay the words they look like.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple, NoReturn, TypeAlias

import msgspec
import yaml

from rune.errors import InvalidArgument, Violation

Yaml: TypeAlias = Any
"""What YAML can say: mappings, lists, text, numbers, booleans, None. Whoever reads it checks the type."""

Untyped: TypeAlias = Any
"""Loaders and events of PyYAML's C extension."""

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_NODES = 50_000
MAX_ALIASES = 100
MAX_SCALAR = 64 * 1024
MAX_PROBLEMS = 50
EXCERPT = 110

_LOADER: Untyped = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]{1,18}|[0-9]{1,18}(?:\.[0-9]{0,18})?)(?:[eE][-+]?[0-9]{1,3})?")
_SURROGATE = re.compile("[\ud800-\udfff]")
_QUOTE = "a word that starts with * must be in quotes"
_YAML_1_1_BOOLEANS = frozenset({"y", "n", "yes", "no", "on", "off"})


class Position(NamedTuple):
    """A place in a text; both count from 1, as editors do."""

    line: int
    column: int


class Problems:
    """Collects everything that is wrong with a text, then raises it as one InvalidArgument."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()
        self._found: list[tuple[Position, Violation]] = []

    def __len__(self) -> int:
        return len(self._found)

    def add(self, path: str, position: Position, message: str) -> None:
        """Note that the value at `path` is wrong; the message gets its place and the line with a caret."""
        where = f"line {position.line}, column {position.column}: {message}"
        self._found.append((position, Violation(path, where + self._excerpt(position))))

    def raise_if_any(self) -> None:
        """Raise InvalidArgument with the violations in the order of the text, 50 at most."""
        if self._found:
            raise self.error()

    def error(self) -> InvalidArgument:
        """The error to raise."""
        self._found.sort(key=lambda found: found[0])
        violations = [violation for _, violation in self._found[:MAX_PROBLEMS]]
        more = len(self._found) - MAX_PROBLEMS
        if more > 0:
            violations.append(Violation("", f"and {more} more problems; mend these first"))
        return InvalidArgument("\n".join(map(str, violations)), details=violations)

    def _excerpt(self, position: Position) -> str:
        if position.line > len(self._lines):
            return ""
        start = max(0, position.column - 1 - EXCERPT // 2)
        shown = self._lines[position.line - 1][start : start + EXCERPT]
        # A tab or an escape sequence would move the caret away from its spot, or worse, the terminal.
        shown = "".join(c if c.isprintable() else " " for c in shown)
        caret = " " * (position.column - 1 - start) + "^"
        return f"\n    {shown}\n    {caret}" if shown.strip() else ""


class Located(msgspec.Struct, frozen=True):
    """Plain values, and the places of all of them by path (`rules[2].scanner`)."""

    value: Yaml
    text: str
    values: dict[str, Position]
    keys: dict[str, Position]

    def at(self, path: str) -> Position:
        """Where the value stands, or the nearest thing around it."""
        return self._nearest(self.values, path)

    def key_at(self, path: str) -> Position:
        """Where the key stands that names the value."""
        return self.keys.get(path) or self._nearest(self.values, path)

    def _nearest(self, places: dict[str, Position], path: str) -> Position:
        while path and path not in places:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return places.get(path, Position(1, 1))


def read(source: str | bytes, *, loader: Untyped = _LOADER) -> Located:
    """The one document in `source`; raises InvalidArgument with every problem's line and column.

    Refused, each with its reason: more than one document, tags, merge keys, keys that are not strings or
    come twice, anchors that hold themselves, and anything past the limits of this module.
    """
    text = _text(source)
    builder = _Builder(text)
    failure = _feed(builder, text, loader)
    if failure is not None:
        _refuse(text, *failure)
    builder.problems.raise_if_any()
    return Located(value=builder.root, text=text, values=builder.values, keys=builder.keys)


def _feed(builder: _Builder, text: str, loader: Untyped) -> tuple[Position, str] | None:
    """Build the value; returns where and why the text is not YAML, if it is not."""
    try:
        for event in yaml.parse(text, Loader=loader):
            builder.feed(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = " ".join(filter(None, (error.problem, error.context))) or "not YAML"
        hint = f"; {_QUOTE}" if "alias" in reason else ""
        return Position(mark.line + 1, mark.column + 1) if mark else Position(1, 1), reason + hint
    return None


def _text(source: str | bytes) -> str:
    """The text, proved to be of a bearable size and made of characters that YAML allows."""
    try:
        raw = source.encode() if isinstance(source, str) else source
        text = raw.decode() if len(raw) <= MAX_BYTES else ""
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise InvalidArgument.of([Violation("", f"line 1, column 1: not UTF-8: {error.reason}")]) from None
    if len(raw) > MAX_BYTES:
        _refuse("", Position(1, 1), f"{len(raw)} bytes are too many; the limit is {MAX_BYTES}")
    text = text.removeprefix("\ufeff")
    if found := yaml.reader.Reader.NON_PRINTABLE.search(text):
        before = text[: found.start()]
        line = before.count("\n") + 1
        column = found.start() - (before.rfind("\n") + 1) + 1
        _refuse(
            text, Position(line, column), f"the character U+{ord(found.group()):04X} is not allowed in YAML"
        )
    return text


def _refuse(text: str, position: Position, message: str) -> NoReturn:
    problems = Problems(text)
    problems.add("", position, message)
    raise problems.error()


def plain(word: str) -> Yaml:
    """What an unquoted word means: YAML 1.2's core words, and a string for all others."""
    if word in _NULL:
        return None
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    if _INTEGER.fullmatch(word) and (word.lstrip("+-") == "0" or not word.lstrip("+-").startswith("0")):
        return int(word)
    return float(word) if _FLOAT.fullmatch(word) and any(c in word for c in ".eE") else word


def is_old_boolean(value: object) -> bool:
    """True for the words that YAML 1.1 took for booleans: yes, no, on, off."""
    return isinstance(value, str) and value.lower() in _YAML_1_1_BOOLEANS


class _Anchor(NamedTuple):
    value: Yaml
    nodes: int


class _Frame:
    """A mapping or list under construction."""

    __slots__ = ("anchor", "before", "key", "path", "value")

    def __init__(
        self, value: dict[str, Yaml] | list[Yaml], path: str, *, anchor: str | None, before: int
    ) -> None:
        self.value = value
        self.path = path
        self.anchor = anchor
        self.before = before
        self.key: str | None = None


class _Builder:
    """Turns events into values; stops by raising on what could be a bomb, and notes what is only wrong."""

    def __init__(self, text: str) -> None:
        self.root: Yaml = None
        self.values: dict[str, Position] = {}
        self.keys: dict[str, Position] = {}
        self.problems = Problems(text)
        self._text = text
        self._frames: list[_Frame] = []
        self._anchors: dict[str, _Anchor] = {}
        self._documents = self._nodes = self._aliases = 0
        self._skipped = 0

    def feed(self, event: Untyped) -> None:
        mark = event.start_mark
        at = Position(mark.line + 1, mark.column + 1)
        match event:
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    self._stop(at, "a second document starts here; write one document per file")
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._open(event, at)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._close()
            case yaml.ScalarEvent():
                self._scalar(event, at)
            case yaml.AliasEvent():
                self._alias(event.anchor or "", at)
            case _:
                pass

    def _stop(self, at: Position, message: str) -> NoReturn:
        _refuse(self._text, at, message)

    def _count(self, nodes: int, at: Position) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            self._stop(at, f"more than {MAX_NODES} values, aliases counted each time")

    def _refuse_tag(self, event: Untyped, at: Position) -> None:
        if event.tag and event.tag != "!":
            self._stop(at, f"the tag {event.tag[:60]!r} is not read; write the value without a tag")

    def _open(self, event: Untyped, at: Position) -> None:
        self._refuse_tag(event, at)
        if len(self._frames) >= MAX_DEPTH:
            self._stop(at, f"nested more than {MAX_DEPTH} deep")
        before = self._nodes
        self._count(1, at)
        value: dict[str, Yaml] | list[Yaml] = {} if isinstance(event, yaml.MappingStartEvent) else []
        if self._expects_key():
            self._bad_key(at, "a key must be a word, not a mapping or a list")
            path = self._frames[-1].path
        else:
            path = self._place(value, at)
        self._frames.append(_Frame(value, path, anchor=event.anchor, before=before))

    def _close(self) -> None:
        frame = self._frames.pop()
        if frame.anchor:
            self._anchors[frame.anchor] = _Anchor(frame.value, self._nodes - frame.before)

    def _scalar(self, event: Untyped, at: Position) -> None:
        self._refuse_tag(event, at)
        self._count(1, at)
        if len(event.value) > MAX_SCALAR:
            self._stop(at, f"a text of {len(event.value)} characters; the limit is {MAX_SCALAR}")
        if not event.value.isascii() and _SURROGATE.search(event.value):
            self._stop(at, "an escape that is half of a surrogate pair; write the character itself")
        value = plain(event.value) if event.implicit[0] and event.style in {None, ""} else event.value
        if event.anchor:
            self._anchors[event.anchor] = _Anchor(value, 1)
        self._value(value, at)

    def _alias(self, anchor: str, at: Position) -> None:
        self._aliases += 1
        if self._aliases > MAX_ALIASES:
            self._stop(at, f"more than {MAX_ALIASES} aliases")
        if any(frame.anchor == anchor for frame in self._frames):
            self._stop(at, f"*{anchor[:60]} stands inside the value it names")
        known = self._anchors.get(anchor)
        if known is None:
            self._stop(at, f"no anchor &{anchor[:60]} before this place; {_QUOTE}")
        self._count(known.nodes, at)
        self._value(known.value, at)

    def _value(self, value: Yaml, at: Position) -> None:
        if self._expects_key():
            self._set_key(value, at)
        else:
            self._place(value, at)

    def _expects_key(self) -> bool:
        frame = self._frames[-1] if self._frames else None
        return frame is not None and isinstance(frame.value, dict) and frame.key is None

    def _set_key(self, key: Yaml, at: Position) -> None:
        frame = self._frames[-1]
        if not isinstance(key, str):
            word = "null" if key is None else str(key).lower() if isinstance(key, bool) else str(key)
            self._bad_key(at, f'the key {word[:60]} is not a string; write "{word[:60]}"')
            return
        if key == "<<":
            self._bad_key(at, "merge keys (<<) are not read; write the keys out")
            return
        path = f"{frame.path}.{key}" if frame.path else key
        if key in frame.value:
            first = self.keys[path]
            self._bad_key(at, f"the key {key[:60]!r} is already there, in line {first.line}", path=path)
            return
        self.keys.setdefault(path, at)  # `a.b` and `a: {b: …}` share a path; the first one has the place
        frame.key = key

    def _bad_key(self, at: Position, message: str, *, path: str = "") -> None:
        """Note it and read on under a name that cannot be written in YAML, so that more can be reported."""
        frame = self._frames[-1]
        self.problems.add(path or frame.path, at, message)
        self._skipped += 1
        frame.key = f"\x00{self._skipped}"

    def _place(self, value: Yaml, at: Position) -> str:
        """Put the value where it belongs; returns its path."""
        if not self._frames:
            self.root, path = value, ""
        else:
            frame = self._frames[-1]
            if isinstance(frame.value, dict):
                key = frame.key or ""
                path = f"{frame.path}.{key}" if frame.path else key
                frame.value[key], frame.key = value, None
            else:
                path = f"{frame.path}[{len(frame.value)}]"
                frame.value.append(value)
        self.values.setdefault(path, at)
        return path
