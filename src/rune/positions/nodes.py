"""A document as a tree that knows where each part stands, and the limits that such a tree keeps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from rune.positions.spots import Problem, Spot, problem_at

BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""What ends a line for YAML, which counts by it."""
_PLAIN_NULL = ("", "~", "null", "Null", "NULL")
Mark = tuple[int, int]
"""Line and column in the text that is parsed, from 1."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much one text may hold. Nodes count with every use of an alias, which is what stops a bomb."""

    size: int = 4 << 20
    nodes: int = 200_000
    depth: int = 64
    scalar: int = 4 << 20
    aliases: int = 10_000
    documents: int = 10_000
    merges: bool = True
    """Whether `<<` is read as a merge; a key like any other if not."""


class Node(msgspec.Struct):
    """A part of a document: `kind` is scalar, list or mapping."""

    kind: str
    spot: Spot
    text: str = ""
    quoted: bool = False
    items: list[Node] = []
    entries: list[tuple[Node, Node]] = []
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

    def get(self, key: str) -> Node | None:
        """What stands under the key."""
        return next((value for name, value in self.entries if name.text == key), None)


class Source(msgspec.Struct, frozen=True):
    """A file's documents, and its lines for excerpts."""

    name: str
    lines: Sequence[str]
    documents: Sequence[Node]

    def problem(self, spot: Spot, message: str, path: str = "") -> Problem:
        """A problem at the spot, with the line it stands on."""
        return problem_at(spot, message, path, lines=self.lines)


class Origin(Protocol):
    """Where the text that is parsed comes from: a file as it is, or a template that became this text."""

    @property
    def lines(self) -> Sequence[str]:
        """What people wrote."""
        ...

    def spot(self, start: Mark, end: Mark) -> Spot:
        """Where that part of the text stands in what people wrote."""
        ...


class Written:
    """A file as it is."""

    def __init__(self, name: str, text: str) -> None:
        self.lines = BREAK.split(text)
        self._name = name

    def spot(self, start: Mark, end: Mark) -> Spot:
        """The same place."""
        return Spot(self._name, *start)
