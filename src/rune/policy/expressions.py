"""Turns a `when` expression into a function. It can read what it is given, and nothing else.

There is no attribute access, no call of Python, no unbounded loop: values are JSON, functions are the few
below, and every evaluation has a budget of steps that long texts and loops use up.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

from rune.policy.grammar import INT_LIMIT, BadExpression, Call, Literal, Loop, Member, Name, Node, parse
from rune.policy.regexes import BadRegex, searcher
from rune.policy.words import suggest

BUDGET = 20_000
"""Steps of one evaluation; a loop's turn is one, and so is each KiB of text that a function reads."""

MAX_TEXT = 1 << 16
_BUDGET_KEY = "\x00budget"
_SHOWN = 60
_JSON: frozenset[type] = frozenset({str, int, float, bool, type(None), list, dict})

Scope = dict[str, Any]
Value = Callable[[Scope], Any]

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


class Unjudgeable(Exception):  # noqa: N818 - it is not a fault of the program but a verdict on the values
    """The values do not allow an answer: a comparison of text with a number, a budget used up."""


class Exhausted(Unjudgeable):
    """The budget is used up; nothing may carry on after it."""


class Absent(Unjudgeable):
    """A field that the expression reads is not there."""


class Expression:
    """A compiled `when`. Calling `holds` is safe with any arguments, from any thread with its own scope."""

    def __init__(self, text: str) -> None:
        tree = parse(text)
        self._holds = _truth(_Compiler().value(tree))
        self.guards = tuple(_guards(tree))
        """Parts of a top-level `&&` that only look at the tool's name: one that is false decides the whole."""

    def holds(self, scope: Scope) -> bool:
        """True or false; raises Absent or Unjudgeable."""
        scope[_BUDGET_KEY] = BUDGET
        return self._holds(scope)


def _guards(tree: Node) -> Iterable[Value]:
    parts = tree.parts if isinstance(tree, Call) and tree.name == "&&" else (tree,)
    return (_truth(_Compiler().value(part)) for part in parts if _reads(part) == {"tool.name"})


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


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case dict():
            return "a mapping"
        case _:
            return f"a {type(value).__name__}"


def _truth(value: Value) -> Callable[[Scope], bool]:
    def truth(scope: Scope) -> bool:
        found = value(scope)
        if found is True or found is False:
            return found
        raise Unjudgeable(f"{_kind(found)} is neither true nor false")

    return truth


def _spend(scope: Scope, steps: int) -> None:
    scope[_BUDGET_KEY] -= steps
    if scope[_BUDGET_KEY] < 0:
        raise Exhausted("it would take too long")


def _text(scope: Scope, value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise Unjudgeable(f"{what} reads text, not {_kind(value)}")
    _spend(scope, 1 + len(value) // 1024)
    return value


def _is_number(value: object) -> bool:
    return type(value) in {int, float} and value == value  # noqa: PLR0124 - not a number is not a number


def _bounded(value: int | float | str) -> int | float | str:
    if isinstance(value, str):
        if len(value) > MAX_TEXT:
            raise Unjudgeable("the text is too long")
    elif isinstance(value, int) and not -INT_LIMIT <= value < INT_LIMIT:
        raise Unjudgeable("the number is too large")
    return value


def _equal(scope: Scope, left: Any, right: Any) -> bool:
    """Equality of JSON values, where true is not 1; every value looked at is a step."""
    pairs = [(left, right)]
    while pairs:
        one, two = pairs.pop()
        _spend(scope, 1)
        if isinstance(one, dict) and isinstance(two, dict):
            mapping, other = cast("dict[str, Any]", one), cast("dict[str, Any]", two)
            _spend(scope, len(mapping))
            if mapping.keys() != other.keys():
                return False
            pairs.extend((mapping[key], other[key]) for key in mapping)
        elif isinstance(one, list) and isinstance(two, list):
            items, others = cast("list[Any]", one), cast("list[Any]", two)
            _spend(scope, len(items))
            if len(items) != len(others):
                return False
            pairs.extend(zip(items, others, strict=True))
        elif not _same_scalar(one, two):
            return False
    return True


def _same_scalar(one: Any, two: Any) -> bool:
    if not _JSON.issuperset((type(one), type(two))):
        raise Unjudgeable(f"== between {_kind(one)} and {_kind(two)}")
    return (one is True or one is False) is (two is True or two is False) and one == two


def _compare(name: str, left: Value, right: Value) -> Value:
    apply = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}[name]

    def compare(scope: Scope) -> bool:
        one, two = left(scope), right(scope)
        if (_is_number(one) and _is_number(two)) or (isinstance(one, str) and isinstance(two, str)):
            return apply(one, two)
        raise Unjudgeable(f"{name} between {_kind(one)} and {_kind(two)}")

    return compare


def _arithmetic(name: str, left: Value, right: Value) -> Value:
    apply = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": _divide, "%": _remainder}[name]

    def arithmetic(scope: Scope) -> Any:
        one, two = left(scope), right(scope)
        joined = name == "+" and isinstance(one, str) and isinstance(two, str)
        if not joined and not (_is_number(one) and _is_number(two)):
            raise Unjudgeable(f"{name} between {_kind(one)} and {_kind(two)}")
        try:
            return _bounded(apply(one, two))
        except (ZeroDivisionError, OverflowError):
            raise Unjudgeable(f"{name} has no result here") from None

    return arithmetic


def _divide(one: Any, two: Any) -> Any:
    if isinstance(one, float) or isinstance(two, float):
        return one / two
    quotient = abs(one) // abs(two)  # CEL rounds towards zero
    return quotient if (one < 0) == (two < 0) else -quotient


def _remainder(one: Any, two: Any) -> Any:
    if isinstance(one, float) or isinstance(two, float):
        raise Unjudgeable("% between numbers with a fraction")
    return one - two * _divide(one, two)


def _contains(left: Value, right: Value) -> Value:
    def contains(scope: Scope) -> bool:
        item, container = left(scope), right(scope)
        if isinstance(container, dict):
            return isinstance(item, str) and item in container
        if isinstance(container, list):
            return any(_equal(scope, item, other) for other in cast("list[Any]", container))
        raise Unjudgeable(f"in looks into a list or a mapping, not {_kind(container)}")

    return contains


def _index(left: Value, right: Value) -> Value:
    def index(scope: Scope) -> Any:
        container, place = left(scope), right(scope)
        if isinstance(container, dict) and isinstance(place, str):
            return _field(cast("dict[str, Any]", container), place)
        if isinstance(container, list) and type(place) is int:
            items = cast("list[Any]", container)
            if 0 <= place < len(items):
                return items[place]
            raise Absent(f"no item {place}")
        raise Unjudgeable(f"{_kind(place)} in brackets after {_kind(container)}")

    return index


def _field(container: Any, field: str) -> Any:
    if not isinstance(container, dict):
        raise Unjudgeable(f"no field {field[:_SHOWN]!r} in {_kind(container)}")
    try:
        return cast("dict[str, Any]", container)[field]
    except KeyError:
        raise Absent(f"no field {field[:_SHOWN]!r}") from None


def _logic(parts: list[Value], *, decisive: bool) -> Value:
    truths = [_truth(part) for part in parts]
    return lambda scope: _decide(scope, truths, decisive=decisive)


def _decide(scope: Scope, truths: Iterable[Callable[[Scope], bool]], *, decisive: bool) -> bool:
    """`&&`, `||` and loops as CEL has them: a part that decides wins over parts that cannot be judged."""
    doubt: Unjudgeable | None = None
    for truth in truths:
        try:
            if truth(scope) is decisive:
                return decisive
        except Exhausted:
            raise
        except Absent as error:
            doubt = doubt or error
        except Unjudgeable as error:
            doubt = error if doubt is None or isinstance(doubt, Absent) else doubt
    if doubt is not None:
        raise doubt
    return not decisive


def _size(scope: Scope, value: Any) -> int:
    if isinstance(value, (str, list, dict)):
        return len(cast("str", value))
    raise Unjudgeable(f"size of {_kind(value)}")


def _to_int(scope: Scope, value: Any) -> Any:
    return _bounded(_number(int, value))


def _to_double(scope: Scope, value: Any) -> Any:
    number = _number(float, value)
    if not _is_number(number):
        raise Unjudgeable("that text is not a number")
    return number


def _number(make: Callable[[Any], Any], value: Any) -> Any:
    if not (isinstance(value, str) and len(value) <= 32) and not _is_number(value):  # noqa: PLR2004
        raise Unjudgeable(f"{_kind(value)} is not a number")
    try:
        return make(value)
    except (ValueError, OverflowError):
        raise Unjudgeable("that text is not a number") from None


def _to_string(scope: Scope, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, float)) or (isinstance(value, int) and -INT_LIMIT <= value < INT_LIMIT):
        return str(value)
    raise Unjudgeable(f"string of {_kind(value)}")


_UNARY: dict[str, Callable[[Scope, Any], Any]] = {
    "size": _size,
    "int": _to_int,
    "double": _to_double,
    "string": _to_string,
    "lowerAscii": lambda scope, value: _ascii(scope, value, str.lower),
    "upperAscii": lambda scope, value: _ascii(scope, value, str.upper),
}
_TEXTS: dict[str, Callable[[str, str], bool]] = {
    "startsWith": str.startswith,
    "endsWith": str.endswith,
    "contains": str.__contains__,
}


def _ascii(scope: Scope, value: Any, change: Callable[[str], str]) -> str:
    return "".join(change(c) if c.isascii() else c for c in _text(scope, value, "lowerAscii and upperAscii"))


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
        return lambda scope: _field(target(scope), field)

    def _call(self, node: Call, name: str, parts: tuple[Node, ...]) -> Value:
        if name == "matches":
            return self._matches(node)
        if name == "has":
            return self._has(parts[0])
        values = [self.value(part) for part in parts]
        if len(values) == 2 and name in _BINARY:  # noqa: PLR2004
            return _BINARY[name](values[0], values[1])
        match name:
            case "&&" | "||":
                return _logic(values, decisive=name == "||")
            case "?:":
                test = _truth(values[0])
                return lambda scope: values[1](scope) if test(scope) else values[2](scope)
            case "list":
                return lambda scope: [value(scope) for value in values]
            case "!":
                truth = _truth(values[0])
                return lambda scope: not truth(scope)
            case "negate":
                return _arithmetic("-", lambda _: 0, values[0])
            case _:
                apply, value = _UNARY[name], values[0]
                return lambda scope: apply(scope, value(scope))

    def _matches(self, node: Call) -> Value:
        value, pattern = self.value(node.parts[0]), node.parts[1]
        if not isinstance(pattern, Literal) or not isinstance(pattern.value, str):
            raise BadExpression("matches takes its pattern as a literal text", node.offset)
        try:
            search = searcher(pattern.value)
        except BadRegex as error:
            raise BadExpression(f"not a regular expression: {error}", pattern.offset) from None
        return lambda scope: search(_text(scope, value(scope), "matches"))

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
        body = _truth(self.value(node.body))
        self._variables.pop()
        decisive = node.kind == "exists"

        def turns(scope: Scope, found: Iterable[Any]) -> Iterator[Callable[[Scope], bool]]:
            for item in found:
                _spend(scope, 1)
                scope[variable] = item
                yield body

        def loop(scope: Scope) -> bool:
            found = items(scope)
            if not isinstance(found, (list, dict)):
                raise Unjudgeable(f"{node.kind} over {_kind(found)}")
            return _decide(scope, turns(scope, cast("Iterable[Any]", found)), decisive=decisive)

        return loop


def _equality(left: Value, right: Value, *, wanted: bool) -> Value:
    return lambda scope: _equal(scope, left(scope), right(scope)) is wanted


def _on_texts(name: str) -> Callable[[Value, Value], Value]:
    apply = _TEXTS[name]

    def make(left: Value, right: Value) -> Value:
        return lambda scope: apply(_text(scope, left(scope), name), _text(scope, right(scope), name))

    return make


def _named(make: Callable[[str, Value, Value], Value], name: str) -> Callable[[Value, Value], Value]:
    return lambda left, right: make(name, left, right)


_BINARY: dict[str, Callable[[Value, Value], Value]] = {
    **{name: _named(_compare, name) for name in ("<", "<=", ">", ">=")},
    **{name: _named(_arithmetic, name) for name in ("+", "-", "*", "/", "%")},
    **{name: _on_texts(name) for name in _TEXTS},
    "==": lambda left, right: _equality(left, right, wanted=True),
    "!=": lambda left, right: _equality(left, right, wanted=False),
    "in": _contains,
    "[]": _index,
}
