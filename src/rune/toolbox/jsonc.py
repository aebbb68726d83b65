"""JSON with comments and trailing commas, read with the place of every value, so that a change leaves the
rest of the file as it is.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from rune.errors import InvalidArgument

_SPACE = re.compile(r"(?:[ \t\r\n\ufeff]+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_WORD = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null")
MOST_DEPTH = 64
MOST_CHARACTERS = 32 << 20
Json = Any
"""A JSON value of any shape; whoever reads it checks the type."""


@dataclass(slots=True)
class Node:
    """A value and where it stands: `text[start:end]`."""

    start: int
    end: int = 0
    value: Json = None
    """The plain value; of an object and an array too."""
    members: dict[str, Node] = field(default_factory=dict[str, "Node"])
    items: list[Node] = field(default_factory=list["Node"])
    key: tuple[int, int] = (0, 0)
    """Where the name of a member starts and ends, with its quotes."""

    @property
    def is_object(self) -> bool:
        """It has members, or could have."""
        return isinstance(self.value, dict)


def parse(text: str, name: str) -> Node:
    """The value of a whole file; raises InvalidArgument with the line of what is wrong."""
    if len(text) > MOST_CHARACTERS:
        raise InvalidArgument(f"{name}: larger than {MOST_CHARACTERS >> 20} MiB")
    reader = _Reader(text, name)
    node = reader.value(0)
    if reader.at != len(text):
        reader.fail("something stands after the end")
    return node


class _Reader:
    """Goes through a text once."""

    def __init__(self, text: str, name: str) -> None:
        self.text, self.name, self.at = text, name, 0
        self._skip()

    def value(self, depth: int) -> Node:
        if depth > MOST_DEPTH:
            self.fail(f"it is nested deeper than {MOST_DEPTH} levels")
        node = Node(self.at)
        match self._next():
            case "{":
                self._object(node, depth)
            case "[":
                self._array(node, depth)
            case '"':
                node.value = self._string()
            case _:
                node.value = json.loads(self._take(_WORD, "a value is missing"))
        node.end = self.at
        self._skip()
        return node

    def _object(self, node: Node, depth: int) -> None:
        self._open()
        while self._next() != "}":
            begin, key = self.at, self._string()
            place = (begin, self.at)
            self._skip()
            self._expect(":")
            node.members[key] = member = self.value(depth + 1)
            member.key = place
            self._comma("}")
        self.at += 1
        node.value = {key: inner.value for key, inner in node.members.items()}

    def _array(self, node: Node, depth: int) -> None:
        self._open()
        while self._next() != "]":
            node.items.append(self.value(depth + 1))
            self._comma("]")
        self.at += 1
        node.value = [inner.value for inner in node.items]

    def _open(self) -> None:
        self.at += 1
        self._skip()

    def _comma(self, end: str) -> None:
        if self._next() != end:
            self._expect(",")

    def _expect(self, char: str) -> None:
        if self._next() != char:
            self.fail(f"{char!r} is missing")
        self.at += 1
        self._skip()

    def _next(self) -> str:
        return self.text[self.at : self.at + 1]

    def _string(self) -> str:
        literal = self._take(_STRING, "a text in double quotes is missing")
        try:
            return json.loads(literal)
        except ValueError:
            self.fail("the text has an unknown escape")
        return ""

    def _take(self, pattern: re.Pattern[str], missing: str) -> str:
        match = pattern.match(self.text, self.at)
        if match is None:
            self.fail(missing)
            return ""
        self.at = match.end()
        return match[0]

    def _skip(self) -> None:
        match = _SPACE.match(self.text, self.at)
        self.at = match.end() if match else self.at

    def fail(self, what: str) -> None:
        """Raise InvalidArgument for this place."""
        line = self.text.count("\n", 0, self.at) + 1
        raise InvalidArgument(f"{self.name}, line {line}: {what}")
