"""Places in a text, what is wrong there, and how both are shown."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import msgspec

from rune.errors import InvalidArgument, Violation

MOST_PROBLEMS = 100
EXCERPT = 100
SEALED = "what stands here does not fit; it comes from a sensitive value, so it is not shown"


class Spot(msgspec.Struct, frozen=True):
    """A place in a file; line and column count from 1."""

    file: str
    line: int
    column: int
    is_sealed: bool = False
    """What stands here is sensitive: no message may repeat it."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Problem(msgspec.Struct, frozen=True):
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
        shown, indent = window(self.excerpt, self.spot.column)
        return f"{head}\n  {number} | {shown}\n  {' ' * len(number)} | {indent}^"


class Malformed(InvalidArgument):
    """A file is not what it should be; `problems` has everything that is wrong with it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)[:MOST_PROBLEMS]
        details = [Violation(f"{p.spot}{f' {p.path}' if p.path else ''}", p.message) for p in self.problems]
        lines = [str(problem) for problem in self.problems]
        if len(problems) > MOST_PROBLEMS:
            lines.append(f"and {len(problems) - MOST_PROBLEMS} more; mend these first")
        super().__init__("\n".join(lines), details=details)


def problem_at(spot: Spot, message: str, path: str = "", *, lines: Sequence[str]) -> Problem:
    """A problem with the line it stands on; where the spot is sealed, the message says no more than that."""
    if spot.is_sealed:
        message = f"{path}: {SEALED}" if path else SEALED
    excerpt = lines[spot.line - 1] if 0 < spot.line <= len(lines) else ""
    return Problem(spot, message, path, excerpt)


def in_order(problems: Sequence[Problem]) -> list[Problem]:
    """By file and place."""
    return sorted(problems, key=lambda problem: (problem.spot.file, problem.spot.line, problem.spot.column))


def window(line: str, column: int, *, size: int = EXCERPT) -> tuple[str, str]:
    """At most `size` characters of the line around the column, and the blanks up to it.

    Tabs and what else moves a cursor are shown as a blank, so that the caret stands under its spot and no
    escape sequence reaches the terminal.
    """
    start = max(0, column - 1 - size * 3 // 5)
    shown = "".join(char if char.isprintable() else " " for char in line[start : start + size])
    indent = sum(map(_columns, shown[: column - 1 - start])) + max(0, column - 1 - start - len(shown))
    return shown, " " * indent


def _columns(char: str) -> int:
    if char.isascii():
        return 1
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
