"""What a template is made of. Offsets are characters from the start of its text."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from rune.positions.nodes import BREAK
from rune.positions.spots import Problem, Spot, problem_at


@dataclass(frozen=True, slots=True)
class Literal:
    """A value that stands in the template."""

    offset: int
    value: Any


@dataclass(frozen=True, slots=True)
class Variable:
    """`$name`; `.` is the variable with the name `.`, and `$` the whole context."""

    offset: int
    name: str


@dataclass(frozen=True, slots=True)
class Path:
    """`.a.b` of something."""

    offset: int
    base: Expression
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A function and what it is given; what came through a pipe stands last."""

    offset: int
    name: str
    arguments: tuple[Expression, ...]


Expression: TypeAlias = Literal | Variable | Path | Call


@dataclass(frozen=True, slots=True)
class Text:
    """Text as it is."""

    offset: int
    text: str


@dataclass(frozen=True, slots=True)
class Print:
    """`{{ value }}`."""

    offset: int
    value: Expression


@dataclass(frozen=True, slots=True)
class Assign:
    """`{{ $name := value }}`, or `=` for a variable that there is."""

    offset: int
    name: str
    value: Expression
    is_new: bool


@dataclass(slots=True)
class Block:
    """`if`, `with`, `range` or `define`, with what stands inside and after `else`."""

    offset: int
    word: str
    value: Expression | None = None
    names: tuple[str, ...] = ()
    """Of `range $key, $value :=` and `with $name :=`; of `define` its own."""
    body: list[Statement] = field(default_factory=list["Statement"])
    otherwise: list[Statement] = field(default_factory=list["Statement"])


Statement: TypeAlias = Text | Print | Assign | Block


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed text, which knows its lines."""

    name: str
    text: str
    body: list[Statement]
    defines: dict[str, Block]
    lines: tuple[str, ...]
    starts: tuple[int, ...]
    """Where each line begins."""

    @classmethod
    def of(cls, name: str, text: str) -> Template:
        """One without content yet."""
        starts = (0, *(found.end() for found in BREAK.finditer(text)))
        return cls(name, text, [], {}, tuple(BREAK.split(text)), starts)

    def spot(self, offset: int, *, is_sealed: bool = False) -> Spot:
        """The place of a character."""
        line = bisect_right(self.starts, offset) - 1
        return Spot(self.name, line + 1, offset - self.starts[line] + 1, is_sealed)

    def problem(self, offset: int, message: str) -> Problem:
        """Something wrong at a place."""
        return problem_at(self.spot(offset), message, lines=self.lines)


def expressions(body: list[Statement]) -> list[Expression]:
    """Every expression in the statements, those inside others included."""
    found: list[Expression] = []
    waiting: list[Statement | Expression | None] = [*body]
    while waiting:
        match part := waiting.pop():
            case Block():
                waiting += [part.value, *part.body, *part.otherwise]
            case Print() | Assign():
                waiting.append(part.value)
            case Call():
                found.append(part)
                waiting += part.arguments
            case Path():
                found.append(part)
                waiting.append(part.base)
            case Literal() | Variable():
                found.append(part)
            case _:
                pass
    return found
