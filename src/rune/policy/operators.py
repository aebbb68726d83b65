"""What the operators and functions of expressions do. They fail by Unjudgeable alone, and never take long."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import cast

from rune.policy.grammar import INT_LIMIT
from rune.policy.model import Json

BUDGET = 20_000
"""Steps of one evaluation; a loop's turn is one, and so is each KiB of text that a function reads."""

MAX_TEXT = 1 << 16
MAX_NUMERAL = 32
BUDGET_KEY = "\x00budget"
_SHOWN = 60
_JSON: frozenset[type] = frozenset({str, int, float, bool, type(None), list, dict})

Scope = dict[str, Json]
Value = Callable[[Scope], Json]


class Unjudgeable(Exception):
    """The values do not allow an answer: a comparison of text with a number, a budget used up."""


class Exhausted(Unjudgeable):
    """The budget is used up; nothing may carry on after it."""


class Absent(Unjudgeable):
    """A field that the expression reads is not there."""


def kind(value: object) -> str:
    """What a value is, in a word for people."""
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


def truth(value: Value) -> Callable[[Scope], bool]:
    """A function that insists on true or false."""

    def truth(scope: Scope) -> bool:
        found = value(scope)
        if found is True or found is False:
            return found
        raise Unjudgeable(f"{kind(found)} is neither true nor false")

    return truth


def spend(scope: Scope, steps: int) -> None:
    """Take steps from the budget of this evaluation."""
    scope[BUDGET_KEY] -= steps
    if scope[BUDGET_KEY] < 0:
        raise Exhausted("it would take too long")


def text_of(scope: Scope, value: object, what: str) -> str:
    """The value, if it is text; reading it costs a step per KiB."""
    if not isinstance(value, str):
        raise Unjudgeable(f"{what} reads text, not {kind(value)}")
    spend(scope, 1 + len(value) // 1024)
    return value


def _is_number(value: object) -> bool:
    return type(value) in {int, float} and value == value  # noqa: PLR0124 - not a number is not a number


def _bounded(value: float | str) -> int | float | str:
    if isinstance(value, str):
        if len(value) > MAX_TEXT:
            raise Unjudgeable("the text is too long")
    elif isinstance(value, int) and not -INT_LIMIT <= value < INT_LIMIT:
        raise Unjudgeable("the number is too large")
    return value


def _equal(scope: Scope, left: object, right: object) -> bool:
    """Equality of JSON values, where true is not 1; every value looked at is a step."""
    pairs: list[tuple[Json, Json]] = [(left, right)]
    while pairs:
        pair = pairs.pop()
        one, two = pair
        spend(scope, 1)
        if isinstance(one, dict) and isinstance(two, dict):
            mapping, other = cast("dict[str, Json]", one), cast("dict[str, Json]", two)
            spend(scope, len(mapping))
            if mapping.keys() != other.keys():
                return False
            pairs += [(mapping[key], other[key]) for key in mapping]
        elif isinstance(one, list) and isinstance(two, list):
            items, others = cast("list[Json]", one), cast("list[Json]", two)
            spend(scope, len(items))
            if len(items) != len(others):
                return False
            pairs += zip(items, others, strict=True)
        elif not _same_scalar(pair):
            return False
    return True


def _same_scalar(pair: tuple[Json, Json]) -> bool:
    one, two = pair
    if not _JSON.issuperset(map(type, pair)):
        raise Unjudgeable(f"== between {kind(one)} and {kind(two)}")
    return (one is True or one is False) is (two is True or two is False) and one == two


def _compare(name: str, left: Value, right: Value) -> Value:
    apply = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}[name]

    def compare(scope: Scope) -> bool:
        one, two = left(scope), right(scope)
        if (_is_number(one) and _is_number(two)) or (isinstance(one, str) and isinstance(two, str)):
            return apply(one, two)
        raise Unjudgeable(f"{name} between {kind(one)} and {kind(two)}")

    return compare


def arithmetic(name: str, left: Value, right: Value) -> Value:
    """`+ - * / %` on numbers, and `+` on texts; division rounds towards zero."""
    apply: Callable[[Json, Json], Json] = {
        "+": operator.add,
        "-": operator.sub,
        "*": operator.mul,
        "/": _divide,
        "%": _remainder,
    }[name]

    def arithmetic(scope: Scope) -> Json:
        one, two = left(scope), right(scope)
        joined = name == "+" and isinstance(one, str) and isinstance(two, str)
        if not joined and not (_is_number(one) and _is_number(two)):
            raise Unjudgeable(f"{name} between {kind(one)} and {kind(two)}")
        try:
            return _bounded(apply(one, two))
        except (ZeroDivisionError, OverflowError):
            raise Unjudgeable(f"{name} has no result here") from None

    return arithmetic


def _divide(one: Json, two: Json) -> Json:
    if isinstance(one, float) or isinstance(two, float):
        return one / two
    quotient = abs(one) // abs(two)  # CEL rounds towards zero
    return quotient if (one < 0) == (two < 0) else -quotient


def _remainder(one: Json, two: Json) -> Json:
    if isinstance(one, float) or isinstance(two, float):
        raise Unjudgeable("% between numbers with a fraction")
    return one - two * _divide(one, two)


def _contains(left: Value, right: Value) -> Value:
    def contains(scope: Scope) -> bool:
        item, container = left(scope), right(scope)
        if isinstance(container, dict):
            return isinstance(item, str) and item in container
        if isinstance(container, list):
            return any(_equal(scope, item, other) for other in cast("list[Json]", container))
        raise Unjudgeable(f"in looks into a list or a mapping, not {kind(container)}")

    return contains


def _index(left: Value, right: Value) -> Value:
    def index(scope: Scope) -> Json:
        pair = left(scope), right(scope)
        container, place = pair
        if isinstance(container, dict) and isinstance(place, str):
            return field_of(cast("dict[str, Json]", container), place)
        if isinstance(container, list) and type(place) is int:
            items = cast("list[Json]", container)
            if 0 <= place < len(items):
                return items[place]
            raise Absent(f"no item {place}")
        raise Unjudgeable(f"{kind(place)} in brackets after {kind(pair[0])}")

    return index


def field_of(container: object, field: str) -> Json:
    """A field of a mapping; raises Absent when it is not there."""
    if not isinstance(container, dict):
        raise Unjudgeable(f"no field {field[:_SHOWN]!r} in {kind(container)}")
    try:
        return cast("dict[str, Json]", container)[field]
    except KeyError:
        raise Absent(f"no field {field[:_SHOWN]!r}") from None


def logic(parts: list[Value], *, decisive: bool) -> Value:
    """`&&` (false decides) or `||` (true decides) over all parts."""
    truths = [truth(part) for part in parts]
    return lambda scope: decide(scope, truths, decisive=decisive)


def decide(scope: Scope, truths: Iterable[Callable[[Scope], bool]], *, decisive: bool) -> bool:
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


def _size(_: Scope, value: object) -> int:
    if isinstance(value, (str, list, dict)):
        return len(cast("str", value))
    raise Unjudgeable(f"size of {kind(value)}")


def _to_int(_: Scope, value: object) -> Json:
    return _bounded(_number(int, value))


def _to_double(_: Scope, value: object) -> Json:
    number = _number(float, value)
    if not _is_number(number):
        raise Unjudgeable("that text is not a number")
    return number


def _number(make: Callable[[Json], Json], value: object) -> Json:
    if not (isinstance(value, str) and len(value) <= MAX_NUMERAL) and not _is_number(value):
        raise Unjudgeable(f"{kind(value)} is not a number")
    try:
        return make(value)
    except (ValueError, OverflowError):
        raise Unjudgeable("that text is not a number") from None


def _to_string(_: Scope, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, float)) or (isinstance(value, int) and -INT_LIMIT <= value < INT_LIMIT):
        return str(value)
    raise Unjudgeable(f"string of {kind(value)}")


UNARY: dict[str, Callable[[Scope, Json], Json]] = {
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


def _ascii(scope: Scope, value: object, change: Callable[[str], str]) -> str:
    return "".join(
        change(c) if c.isascii() else c for c in text_of(scope, value, "lowerAscii and upperAscii")
    )


def _equality(left: Value, right: Value, *, wanted: bool) -> Value:
    return lambda scope: _equal(scope, left(scope), right(scope)) is wanted


def _on_texts(name: str) -> Callable[[Value, Value], Value]:
    apply = _TEXTS[name]

    def make(left: Value, right: Value) -> Value:
        return lambda scope: apply(text_of(scope, left(scope), name), text_of(scope, right(scope), name))

    return make


def _named(make: Callable[[str, Value, Value], Value], name: str) -> Callable[[Value, Value], Value]:
    return lambda left, right: make(name, left, right)


BINARY: dict[str, Callable[[Value, Value], Value]] = {
    **{name: _named(_compare, name) for name in ("<", "<=", ">", ">=")},
    **{name: _named(arithmetic, name) for name in ("+", "-", "*", "/", "%")},
    **{name: _on_texts(name) for name in _TEXTS},
    "==": lambda left, right: _equality(left, right, wanted=True),
    "!=": lambda left, right: _equality(left, right, wanted=False),
    "in": _contains,
    "[]": _index,
}
