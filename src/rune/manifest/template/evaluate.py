"""From a template and what it is handed to its output, within limits, with every mistake at its place."""

from __future__ import annotations

import difflib
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import cast

from rune.manifest.template.functions import FUNCTIONS
from rune.manifest.template.kinds import Missing, Plain, Unfit, is_true, printed
from rune.manifest.template.nodes import (
    Assign,
    Block,
    Call,
    Expression,
    Literal,
    Path,
    Print,
    Statement,
    Template,
    Text,
    Variable,
)
from rune.manifest.template.output import Piece, Rendered
from rune.manifest.template.parse import Wrong
from rune.manifest.template.sealed import Sealed, is_sealed, opened, sealed
from rune.positions.spots import MOST_PROBLEMS, Problem

MOST_STEPS = 500_000
"""Of work: a statement, or a value that is handed to a function, with everything in it."""
MOST_TEXT = 4 << 20
DEEPEST = 24


class _Enough(Exception):
    """A limit is passed: nothing after this is evaluated."""


def render(
    template: Template, context: Mapping[str, Plain], *, library: Sequence[Template] = ()
) -> tuple[Rendered, list[Problem]]:
    """The output, and what went wrong; `library` are templates whose definitions may be included."""
    evaluation = _Evaluation(template, context, library)
    pieces = evaluation.run()
    return Rendered(template, pieces), evaluation.problems


class _Evaluation:
    """One way through one template."""

    def __init__(self, template: Template, context: Mapping[str, Plain], library: Sequence[Template]) -> None:
        self.problems: list[Problem] = []
        self._template = template
        self._scopes: list[dict[str, Plain]] = [{"$": context, ".": context}]
        self._defines = {
            name: (owner, block) for owner in (*library, template) for name, block in owner.defines.items()
        }
        self._pieces: list[Piece] = []
        self._steps = self._size = self._deep = 0

    def run(self) -> list[Piece]:
        """Everything; what went wrong stands in `problems`."""
        with suppress(_Enough):
            self._all(self._template.body)
        return self._pieces

    def _all(self, body: Sequence[Statement]) -> None:
        for statement in body:
            try:
                self._step(statement.offset)
                self._one(statement)
            except Wrong as wrong:
                self.problems.append(self._template.problem(wrong.offset, wrong.message))
                if len(self.problems) >= MOST_PROBLEMS:
                    raise _Enough from wrong

    def _step(self, offset: int, weight: int = 1) -> None:
        self._steps += weight
        if self._steps > MOST_STEPS:
            self._stop(offset, f"the template takes more than {MOST_STEPS} steps")

    def _stop(self, offset: int, message: str) -> None:
        self.problems.append(self._template.problem(offset, message))
        raise _Enough

    def _one(self, statement: Statement) -> None:
        match statement:
            case Text():
                self._put(Piece(statement.text, statement.offset, is_verbatim=True))
            case Print():
                value = self._needed(statement.value)
                text = self._printed(value, statement.offset)
                self._put(Piece(text, statement.offset, is_sealed=is_sealed(value)))
            case Assign():
                self._assign(statement)
            case Block(word="if"):
                self._choose(statement, is_true(self._value(statement.value)))
            case Block(word="with"):
                self._with(statement)
            case Block(word="range"):
                self._range(statement)
            case Block():
                pass

    def _put(self, piece: Piece) -> None:
        self._size += len(piece.text)
        if self._size > MOST_TEXT:
            self._stop(piece.offset, f"the output becomes larger than {MOST_TEXT >> 20} MiB")
        self._pieces.append(piece)

    def _printed(self, value: Plain, offset: int) -> str:
        try:
            return printed(opened(value))
        except Unfit as error:
            raise Wrong(offset, str(error)) from error

    def _assign(self, statement: Assign) -> None:
        value = self._needed(statement.value)
        if statement.is_new:
            self._scopes[-1][statement.name] = value
            return
        scope = next((scope for scope in reversed(self._scopes) if statement.name in scope), None)
        if scope is None:
            raise Wrong(statement.offset, f"there is no variable {statement.name} yet; := makes one")
        scope[statement.name] = value

    def _choose(self, block: Block, is_chosen: bool) -> None:  # noqa: FBT001 - a condition, not a switch
        with self._scope({}):
            self._all(block.body if is_chosen else block.otherwise)

    def _with(self, block: Block) -> None:
        value = self._value(block.value)
        if is_true(value):
            with self._scope({".": value, **dict.fromkeys(block.names, value)}):
                self._all(block.body)
        else:
            self._choose(block, is_chosen=False)

    def _range(self, block: Block) -> None:
        value = self._value(block.value)
        if not is_true(value):
            self._choose(block, is_chosen=False)
            return
        for key, item in _pairs(value, block.offset):
            names = dict(zip(block.names, (key, item) if len(block.names) > 1 else (item,), strict=False))
            with self._scope({".": item, **names}):
                self._step(block.offset)
                self._all(block.body)

    @contextmanager
    def _scope(self, names: dict[str, Plain]) -> Generator[None]:
        self._scopes.append(names)
        try:
            yield
        finally:
            self._scopes.pop()

    def _needed(self, expression: Expression) -> Plain:
        """The value; there must be one."""
        value = self._value(expression)
        if isinstance(value, Missing):
            raise Wrong(expression.offset, value.why)
        return value

    def _value(self, expression: Expression | None) -> Plain:
        match expression:
            case Literal():
                return expression.value
            case Variable():
                return self._variable(expression)
            case Path():
                return self._path(expression)
            case Call():
                return self._call(expression)
            case None:
                return None

    def _variable(self, variable: Variable) -> Plain:
        for scope in reversed(self._scopes):
            if variable.name in scope:
                return scope[variable.name]
        raise Wrong(variable.offset, f"there is no variable {variable.name} here")

    def _path(self, path: Path) -> Plain:
        value = self._value(path.base)
        way = path.base.name.removeprefix(".") if isinstance(path.base, Variable) else "(…)"
        for name in path.names:
            if isinstance(value, Missing):
                return value
            if not isinstance(value, dict):
                what = "nothing" if value is None else "a list" if isinstance(value, list) else "no mapping"
                return Missing(f"{way or 'this'} is {what}, so there is no {name!r} in it")
            known = cast("dict[str, Plain]", value)
            if name not in known:
                return Missing(f"there is no {way}.{name}{_near(name, known)}")
            value, way = known[name], f"{way}.{name}"
        return value

    def _call(self, call: Call) -> Plain:
        if call.name in ("and", "or"):
            return self._logic(call)
        if call.name == "include":
            return self._include(call)
        function = FUNCTIONS[call.name]
        take = self._value if function.is_lenient else self._needed
        given = [take(argument) for argument in call.arguments]
        self._step(call.offset, 1 + sum(self._weight(value, call.offset) for value in given))
        hides = any(isinstance(value, Sealed) if function.hands_on else is_sealed(value) for value in given)
        try:
            found = function.call(*(map(opened, given) if hides else given))
        except Unfit as error:
            raise Wrong(
                call.offset, f"{call.name}: {error}" if call.name != "required" else str(error)
            ) from error
        return sealed(found) if hides and not isinstance(found, Missing) else found

    def _weight(self, value: Plain, offset: int) -> int:
        """How many values it is, those inside it included; a value that holds itself many times ends here."""
        count, waiting = 0, [value]
        while waiting:
            part = waiting.pop()
            count += 1
            if count > MOST_STEPS:
                self._step(offset, count)
            if isinstance(part, dict):
                waiting += cast("dict[str, Plain]", part).values()
            elif isinstance(part, list):
                waiting += cast("list[Plain]", part)
            elif isinstance(part, str):
                count += len(part) >> 8
        return count

    def _logic(self, call: Call) -> Plain:
        """The first value that decides, or the last; those behind it are not looked at."""
        found: Plain = None
        for argument in call.arguments:
            found = self._value(argument)
            if is_true(found) == (call.name == "or"):
                break
        return found

    def _include(self, call: Call) -> Plain:
        name = self._needed(call.arguments[0])
        owner, block = self._defines.get(str(opened(name)), (None, None))
        if owner is None or block is None:
            raise Wrong(
                call.offset, f"there is no definition {str(name)[:60]!r}{_near(str(name), self._defines)}"
            )
        if self._deep >= DEEPEST:
            raise Wrong(call.offset, f"definitions include each other more than {DEEPEST} deep")
        value = self._value(call.arguments[1]) if len(call.arguments) > 1 else None
        pieces = self._inside(owner, block, {"$": value, ".": value})
        self._size -= sum(len(piece.text) for piece in pieces)
        text = "".join(piece.text for piece in pieces)
        return Sealed(text) if any(piece.is_sealed for piece in pieces) else text

    def _inside(self, owner: Template, block: Block, scope: dict[str, Plain]) -> list[Piece]:
        """What the definition gives: it sees its own value alone."""
        before = self._template, self._scopes, self._pieces
        self._template, self._scopes, self._pieces = owner, [scope], []
        self._deep += 1
        try:
            self._all(block.body)
            return self._pieces
        finally:
            self._deep -= 1
            self._template, self._scopes, self._pieces = before


def _pairs(value: Plain, offset: int) -> Iterator[tuple[Plain, Plain]]:
    """What range goes through: numbers and items of a list, keys in their order and values of a mapping."""
    if isinstance(value, list):
        yield from enumerate(cast("list[Plain]", value))
    elif isinstance(value, dict):
        yield from sorted(cast("dict[str, Plain]", value).items())
    else:
        raise Wrong(offset, "range goes through a list or a mapping")


def _near(word: str, known: Mapping[str, Plain]) -> str:
    near = difflib.get_close_matches(word[:64], list(known)[:1000], n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
