"""What is wrong with a policy, each with its place and the line it stands on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rune.errors import InvalidArgument, Violation
from rune.positions.spots import Malformed, Spot, window

MAX_PROBLEMS = 50
EXCERPT = 110


class Position(NamedTuple):
    """A place in a text; both count from 1, as editors do."""

    line: int
    column: int

    @classmethod
    def of(cls, spot: Spot) -> Position:
        """The place without its file: a policy is one text."""
        return cls(spot.line, spot.column)


class Problems:
    """Collects everything that is wrong with a text, then raises it as one InvalidArgument."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = lines
        self._found: list[tuple[Position, Violation]] = []

    @classmethod
    def of(cls, malformed: Malformed) -> Problems:
        """What the reader of the YAML found."""
        problems = cls(())
        for problem in malformed.problems:
            problems._note(problem.path, Position.of(problem.spot), problem.message, line=problem.excerpt)
        return problems

    def __len__(self) -> int:
        return len(self._found)

    def add(self, path: str, position: Position, message: str) -> None:
        """Note that the value at `path` is wrong; the message gets its place and the line with a caret."""
        is_there = position.line <= len(self._lines)
        self._note(path, position, message, line=self._lines[position.line - 1] if is_there else "")

    def _note(self, path: str, position: Position, message: str, *, line: str) -> None:
        where = f"line {position.line}, column {position.column}: {message}"
        shown, indent = window(line, position.column, size=EXCERPT)
        excerpt = f"\n    {shown}\n    {indent}^" if shown.strip() else ""
        self._found.append((position, Violation(path, where + excerpt)))

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
