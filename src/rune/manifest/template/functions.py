"""The functions of templates. Each takes plain values and gives one; what does not fit raises Unfit."""

from __future__ import annotations

import base64
import hashlib
import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import msgspec
import yaml

from rune.manifest.template.kinds import (
    MOST_TEXT,
    Missing,
    Plain,
    Unfit,
    bounded,
    is_true,
    items,
    kind,
    mapping,
    number,
    printed,
    whole,
)

MANY = 1_000
_SIGNS: dict[str, Callable[[Plain, Plain], Plain]] = {
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}
_UNREADABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
"""What may stand in JSON and not in YAML, or means something else there."""
_FORMAT = re.compile(r"%(?:%|(-?)(0?)(\d{0,3})([sdvqtf])|(.?))")


@dataclass(frozen=True, slots=True)
class Function:
    """A function and how many values it takes."""

    call: Callable[..., Plain]
    least: int
    most: int
    is_lenient: bool = False
    """It may be given what there is not."""
    hands_on: bool = False
    """It gives values on as they are: what is sensitive in them stays so by itself."""


def _indent(count: Plain, text: Plain) -> str:
    spaces, lines = whole(count), printed(text).split("\n")
    if not 0 <= spaces <= 100:  # noqa: PLR2004 - more is a slip
        raise Unfit("an indentation is 0 to 100 blanks")
    if len(lines) * spaces > MOST_TEXT:
        raise Unfit(f"the text becomes longer than {MOST_TEXT >> 20} MiB")
    return "\n".join(" " * spaces + line for line in lines)


def _replace(old: Plain, new: Plain, text: Plain) -> str:
    found, by, whole = printed(old), printed(new), printed(text)
    if whole.count(found) * len(by) > MOST_TEXT:
        raise Unfit(f"the text becomes longer than {MOST_TEXT >> 20} MiB")
    return whole.replace(found, by)


def _to_yaml(value: Plain) -> str:
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text = yaml.dump(value, Dumper=dumper, default_flow_style=False, sort_keys=True, allow_unicode=True)
    return bounded(str(text)).removesuffix("\n...\n").removesuffix("\n")


def _to_json(value: Plain) -> str:
    text = bounded(msgspec.json.encode(value, order="sorted").decode())
    return _UNREADABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _quote(*values: Plain) -> str:
    return " ".join(_to_json(printed(value)) for value in values if value is not None)


def _squote(value: Plain) -> str:
    return "'" + printed(value).replace("'", "''") + "'"


def _default(fallback: Plain, value: Plain = None) -> Plain:
    return value if is_true(value) else fallback


def _required(message: Plain, value: Plain) -> Plain:
    if isinstance(value, Missing) or value is None or value == "":
        raise Unfit(printed(message))
    return value


def _index(value: Plain, *keys: Plain) -> Plain:
    for key in keys:
        if isinstance(value, list):
            items, at = cast("list[Plain]", value), whole(key)
            if not 0 <= at < len(items):
                return Missing(f"the list has {len(items)} items, none with the number {at}")
            value = items[at]
        else:
            known = mapping(value)
            if printed(key) not in known:
                return Missing(f"the mapping has no key {printed(key)[:60]!r}")
            value = known[printed(key)]
    return value


def _compare(sign: str) -> Callable[[Plain, Plain], bool]:
    def compare(one: Plain, other: Plain) -> bool:
        if isinstance(one, str) != isinstance(other, str):
            raise Unfit(f"{kind(one)} and {kind(other)} cannot be compared; int or toString makes them alike")
        pair: Plain = (one, other) if isinstance(one, str) else (number(one), number(other))
        return bool(_SIGNS[sign](*pair))

    return compare


def _equal(one: Plain, *others: Plain) -> bool:
    return any((type(one) is type(other) and one == other) or _same_number(one, other) for other in others)


def _same_number(one: Plain, other: Plain) -> bool:
    return type(one) in (int, float) and type(other) in (int, float) and one == other


def _printf(form: Plain, *values: Plain) -> str:
    left = list(values)

    def filled(found: re.Match[str]) -> str:
        if found[0] == "%%":
            return "%"
        if found[4] is None:
            raise Unfit(f"printf knows %s %d %v %q %t %f and %%, not %{found[5]}")
        if not left:
            raise Unfit("printf has more % than values")
        value = left.pop(0)
        shown = _formed(value, found[4])
        width = int(found[3] or 0)
        return shown.ljust(width) if found[1] else shown.rjust(width, "0" if found[2] else " ")

    text = _FORMAT.sub(filled, printed(form))
    if left:
        raise Unfit("printf has more values than %")
    return bounded(text)


def _formed(value: Plain, kind: str) -> str:
    match kind:
        case "d":
            return str(whole(value))
        case "f":
            return f"{number(value):f}"
        case "q":
            return _quote(value)
        case "v" if isinstance(value, (dict, list)):
            return _to_json(value)
        case _:
            return printed(value)


def _arithmetic(
    work: Callable[[int | float, int | float], int | float],
) -> Callable[[Plain, Plain], int | float]:
    def calculate(one: Plain, other: Plain) -> int | float:
        try:
            found = work(number(one), number(other))
        except ZeroDivisionError as error:
            raise Unfit("nothing can be divided by zero") from error
        if not math.isfinite(found) or abs(found) > 1 << 63:
            raise Unfit("the result is too large")
        return found

    return calculate


def _divided(one: float, other: float) -> int | float:
    return one / other if isinstance(one, float) or isinstance(other, float) else one // other


def _b64dec(value: Plain) -> str:
    try:
        return base64.b64decode(printed(value), validate=True).decode()
    except ValueError as error:
        raise Unfit("this is not base64 of text") from error


def _dict(*pairs: Plain) -> dict[str, Plain]:
    if len(pairs) % 2:
        raise Unfit("dict takes keys and values by turns")
    return {printed(pairs[at]): pairs[at + 1] for at in range(0, len(pairs), 2)}


def _join(mark: Plain, value: Plain) -> str:
    between, parts = printed(mark), [printed(part) for part in items(value)]
    if len(between) * len(parts) > MOST_TEXT:
        raise Unfit(f"the text becomes longer than {MOST_TEXT >> 20} MiB")
    return bounded(between.join(parts))


def _has(item: Plain, value: Plain) -> bool:
    return any(_equal(item, one) for one in items(value))


def _contains(part: Plain, text: Plain) -> bool:
    return printed(part) in printed(text)


def _length(value: Plain) -> int:
    if isinstance(value, (str, dict, list)):
        return len(cast("str", value))
    raise Unfit(f"{kind(value)} has no length")


def _coalesce(*values: Plain) -> Plain:
    return next((value for value in values if is_true(value)), None)


def _ternary(yes: Plain, no: Plain, value: Plain) -> Plain:
    return yes if is_true(value) else no


def _trunc(count: Plain, text: Plain) -> str:
    most = whole(count)
    return printed(text)[:most] if most >= 0 else printed(text)[most:]


def _first(value: Plain) -> Plain:
    return next(iter(items(value)), Missing("the list is empty"))


def _last(value: Plain) -> Plain:
    return next(reversed(items(value)), Missing("the list is empty"))


def _sha256(value: Plain) -> str:
    return hashlib.sha256(printed(value).encode()).hexdigest()


def _one(work: Callable[[Plain], Plain], *, is_lenient: bool = False) -> Function:
    return Function(work, 1, 1, is_lenient)


def _handing_on(function: Function) -> Function:
    return replace(function, hands_on=True)


def _two(work: Callable[[Plain, Plain], Plain]) -> Function:
    return Function(work, 2, 2)


def _all(work: Callable[[Sequence[Plain]], Plain], least: int) -> Function:
    def call(*values: Plain) -> Plain:
        return work(values)

    return Function(call, least, MANY)


def _text(work: Callable[[str], Plain]) -> Function:
    def call(value: Plain) -> Plain:
        return work(printed(value))

    return Function(call, 1, 1)


def _texts(work: Callable[[str, str], Plain]) -> Function:
    def call(one: Plain, other: Plain) -> Plain:
        return work(printed(one), printed(other))

    return Function(call, 2, 2)


FUNCTIONS: dict[str, Function] = {
    "and": Function(_coalesce, 1, MANY, is_lenient=True),
    "or": Function(_coalesce, 1, MANY, is_lenient=True),
    "include": Function(_coalesce, 1, 2, is_lenient=True),
    "not": _one(lambda value: not is_true(value), is_lenient=True),
    "empty": _one(lambda value: not is_true(value), is_lenient=True),
    "default": Function(_default, 2, 2, is_lenient=True, hands_on=True),
    "required": Function(_required, 2, 2, is_lenient=True),
    "coalesce": Function(_coalesce, 1, MANY, is_lenient=True, hands_on=True),
    "ternary": Function(_ternary, 3, 3, is_lenient=True, hands_on=True),
    "eq": Function(_equal, 2, MANY),
    "ne": _two(lambda one, other: not _equal(one, other)),
    **{sign: _two(_compare(sign)) for sign in _SIGNS},
    "len": Function(_length, 1, 1),
    "index": Function(_index, 2, MANY, hands_on=True),
    "get": Function(_index, 2, 2, hands_on=True),
    "hasKey": _handing_on(_two(lambda value, key: printed(key) in mapping(value))),
    "keys": _handing_on(_one(lambda value: sorted(mapping(value)))),
    "values": _handing_on(_one(lambda value: [item for _, item in sorted(mapping(value).items())])),
    "list": _handing_on(_all(list, 0)),
    "dict": Function(_dict, 0, MANY, hands_on=True),
    "has": Function(_has, 2, 2),
    "first": Function(_first, 1, 1, hands_on=True),
    "last": Function(_last, 1, 1, hands_on=True),
    "join": _two(_join),
    "splitList": _texts(lambda mark, text: text.split(mark) if mark else list(text)),
    "print": _all(lambda values: bounded("".join(map(printed, values))), 1),
    "printf": Function(_printf, 1, MANY),
    "quote": Function(_quote, 1, MANY),
    "squote": Function(_squote, 1, 1),
    "toYaml": Function(_to_yaml, 1, 1),
    "toJson": Function(_to_json, 1, 1),
    "toString": _text(str),
    "indent": Function(_indent, 2, 2),
    "nindent": _two(lambda count, text: "\n" + _indent(count, text)),
    "upper": _text(str.upper),
    "lower": _text(str.lower),
    "title": _text(str.title),
    "trim": _text(str.strip),
    "trimPrefix": _texts(lambda part, text: text.removeprefix(part)),
    "trimSuffix": _texts(lambda part, text: text.removesuffix(part)),
    "hasPrefix": _texts(lambda part, text: text.startswith(part)),
    "hasSuffix": _texts(lambda part, text: text.endswith(part)),
    "contains": Function(_contains, 2, 2),
    "replace": Function(_replace, 3, 3),
    "trunc": Function(_trunc, 2, 2),
    "b64enc": _text(lambda text: base64.b64encode(text.encode()).decode()),
    "b64dec": Function(_b64dec, 1, 1),
    "sha256sum": Function(_sha256, 1, 1),
    "int": Function(whole, 1, 1),
    "add": Function(_arithmetic(lambda one, other: one + other), 2, 2),
    "sub": Function(_arithmetic(lambda one, other: one - other), 2, 2),
    "mul": Function(_arithmetic(lambda one, other: one * other), 2, 2),
    "div": Function(_arithmetic(_divided), 2, 2),
    "mod": Function(_arithmetic(lambda one, other: one % other), 2, 2),
    "max": Function(_arithmetic(max), 2, 2),
    "min": Function(_arithmetic(min), 2, 2),
}
"""Every function by its name; `and`, `or` and `include` are done by the evaluation itself. The names
and the order of values are those that Helm's users know."""
