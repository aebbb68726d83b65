"""Turns a `when` expression into a function. It can read what it is given, and nothing else.

There is no attribute access, no call of Python, no unbounded loop: values are JSON, functions are the few
below, and every evaluation has a budget of steps that long texts and loops use up.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from typing import assert_never, cast

from rune.policy.grammar import BadExpression, Call, Literal, Loop, Member, Name, Node, parse
from rune.policy.model import Json
from rune.policy.operators import (
    BINARY,
    BUDGET,
    BUDGET_KEY,
    UNARY,
    Absent,
    Scope,
    Unjudgeable,
    Value,
    arithmetic,
    decide,
    field_of,
    kind,
    logic,
    spend,
    text_of,
    truth,
)
from rune.policy.regexes import BadRegex, searcher
from rune.policy.words import suggest

__all__ = ["Absent", "Expression", "Scope", "Unjudgeable"]

FIELDS: dict[str, frozenset[str] | None] = {
    "tool": frozenset({"name", "server"}),
    "args": None,
    "agent": frozenset({"id", "tags"}),
    "session": frozenset({"id"}),
    "tags": frozenset(),
    "direction": frozenset(),
    "source": frozenset(),
    "findings": frozenset(),
}
"""The variables of an expression; None for one whose fields only the caller knows."""


class Expression:
    """A compiled `when`. Calling `holds` is safe with any arguments, from any thread with its own scope."""

    def __init__(self, text: str) -> None:
        tree = parse(text)
        self._holds = truth(_Compiler().value(tree))
        # Parts of a top-level `&&` that only look at the tool's name: one that is false decides the whole.
        self._guards = tuple(_guards(tree))

    def holds(self, scope: Scope) -> bool:
        """True or false; raises Absent or Unjudgeable."""
        scope[BUDGET_KEY] = BUDGET
        return self._holds(scope)

    def why(self, scope: Scope) -> str | None:
        """Why a rule with this condition matches: it holds, or its values are there and cannot be judged."""
        try:
            return "the condition holds" if self.holds(scope) else None
        except Absent:
            return None
        except Unjudgeable as error:
            return f"the condition cannot be judged: {error}"

    def may_hold(self, tool: dict[str, str]) -> bool:
        """False when the tool's name alone makes the expression false, whatever the rest."""
        scope: Scope = {"tool": tool, BUDGET_KEY: BUDGET}
        try:
            return all(guard(scope) for guard in self._guards)
        except Unjudgeable:
            return True


def _guards(tree: Node) -> Iterable[Callable[[Scope], bool]]:
    parts = tree.parts if isinstance(tree, Call) and tree.name == "&&" else (tree,)
    return (truth(_Compiler().value(part)) for part in parts if _reads(part) == {"tool.name"})


def _reads(node: Node) -> set[str]:
    match node:
        case Literal():
            return set()
        case Name(name):
            return {name}
        case Member(Name(name), field):
            return {f"{name}.{field}"}
        case Member(target):
            return _reads(target)
        case Call(parts=parts):
            return set[str]().union(*map(_reads, parts))
        case Loop():
            return {"?"}
        case _:
            assert_never(node)


class _Compiler:
    """Walks the tree once; `_variables` are those of the loops around the place."""

    def __init__(self) -> None:
        self._variables: list[str] = []

    def value(self, node: Node) -> Value:
        match node:
            case Literal(constant):
                return lambda _: constant
            case Name(name):
                return self._name(node, name)
            case Member():
                return self._member(node)
            case Loop():
                return self._loop(node)
            case Call(name, parts):
                return self._call(node, name, parts)
            case _:
                assert_never(node)

    def _name(self, node: Name, name: str) -> Value:
        if name not in FIELDS and name not in self._variables:
            raise BadExpression(f"unknown name {name!r}{suggest(name, FIELDS)}", node.offset)
        return operator.itemgetter(name)

    def _member(self, node: Member) -> Value:
        field = node.field
        if isinstance(node.target, Name) and node.target.name not in self._variables:
            known = FIELDS.get(node.target.name)
            if known is not None and field not in known:
                tail = suggest(field, known) if known else "; it has no fields"
                raise BadExpression(f"{node.target.name} has no field {field!r}{tail}", node.offset)
        target = self.value(node.target)
        return lambda scope: field_of(target(scope), field)

    def _call(self, node: Call, name: str, parts: tuple[Node, ...]) -> Value:
        if name == "matches":
            return self._matches(node)
        if name == "has":
            return self._has(parts[0])
        values = [self.value(part) for part in parts]
        if name in BINARY and len(values) > 1:
            return BINARY[name](values[0], values[1])
        if name in UNARY:
            apply, value = UNARY[name], values[0]
            return lambda scope: apply(scope, value(scope))
        return _special(name, values)

    def _matches(self, node: Call) -> Value:
        value, pattern = self.value(node.parts[0]), node.parts[1]
        if not isinstance(pattern, Literal) or not isinstance(pattern.value, str):
            raise BadExpression("matches takes its pattern as a literal text", node.offset)
        try:
            search = searcher(pattern.value)
        except BadRegex as error:
            raise BadExpression(f"not a regular expression: {error}", pattern.offset) from None

        def matches(scope: Scope) -> bool:
            text = text_of(scope, value(scope), "matches")
            spend(scope, len(text) // 64)  # RE2 reads some 20 MB a second when it has to follow many threads
            return search(text)

        return matches

    def _has(self, node: Node) -> Value:
        value = self.value(node)

        def has(scope: Scope) -> bool:
            try:
                value(scope)
            except Absent:
                return False
            return True

        return has

    def _loop(self, node: Loop) -> Value:
        variable = node.variable
        if variable in FIELDS or variable in self._variables:
            raise BadExpression(f"{variable!r} is taken; choose another name", node.offset)
        items = self.value(node.items)
        self._variables.append(variable)
        body = truth(self.value(node.body))
        self._variables.pop()
        decisive = node.kind == "exists"

        def turns(scope: Scope, found: Iterable[Json]) -> Iterator[Callable[[Scope], bool]]:
            for item in found:
                spend(scope, 1)
                scope[variable] = item
                yield body

        def loop(scope: Scope) -> bool:
            found = items(scope)
            if not isinstance(found, (list, dict)):
                raise Unjudgeable(f"{node.kind} over {kind(found)}")
            return decide(scope, turns(scope, cast("Iterable[Json]", found)), decisive=decisive)

        return loop


def _special(name: str, values: list[Value]) -> Value:
    """The operators that do not evaluate all of their parts, and those that are not a table's entry."""
    match name:
        case "&&" | "||":
            return logic(values, decisive=name == "||")
        case "?:":
            test = truth(values[0])
            return lambda scope: values[1](scope) if test(scope) else values[2](scope)
        case "list":
            return lambda scope: [value(scope) for value in values]
        case "!":
            denied = truth(values[0])
            return lambda scope: not denied(scope)
        case _:
            return arithmetic("-", lambda _: 0, values[0])
