"""Between messages and JSON: the proto3 mapping as grpc-gateway v2 writes it.

Out: lowerCamelCase, 64-bit integers as strings, enums by name, zero values present. In: both spellings
of a name, and nothing that is not a field.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from itertools import islice
from typing import Any, TypeVar, cast

import msgspec

from rune.api.fields import Message
from rune.api.kept import Kept
from rune.api.resource import Resource
from rune.api.shape import Field, every, fields
from rune.api.validate import MOST_VIOLATIONS, build
from rune.errors import InvalidArgument, Violation

M = TypeVar("M", bound=Message)

DEEPEST = 64
"""How far objects may be nested."""
LONGEST_NAME = 100
"""How much of a name that is no field's a violation repeats."""
_LONG = {"int64", "uint64"}
_INTEGER = re.compile(r"-?[0-9]{1,20}")
_LEFT_OUT: Any = object()
_Fix = tuple[str, Callable[[Any], Any], Any]
_Writer = tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]], list[_Fix]]


def encode(message: Message) -> bytes:
    """The message as JSON text. A resource inside it that was stored is encoded once."""
    return msgspec.json.encode(_plain(message, _splicer(type(message))))


def decode(model: type[M], text: bytes) -> M:
    """The message that the text holds; raises InvalidArgument, naming every field that is wrong."""
    return build(model, from_plain(model, parse(text)))


def parse(text: bytes) -> dict[str, Any]:
    """The JSON object that the text holds; an empty text is an empty object."""
    try:
        data = msgspec.json.decode(text or b"{}")
        json.loads(text or b"{}", object_pairs_hook=_refuse_twins)  # the reader above keeps the last of two
    except (msgspec.DecodeError, RecursionError, UnicodeError, ValueError) as error:
        raise InvalidArgument(f"the body is not valid JSON: {error}") from error
    if not isinstance(data, dict):
        raise InvalidArgument("the body must be a JSON object")
    return cast("dict[str, Any]", data)


def _refuse_twins(pairs: list[tuple[str, Any]]) -> None:
    """Two readers may not take different values from one text."""
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise InvalidArgument.of([Violation(name[:LONGEST_NAME], "is given twice in one object")])
        seen.add(name)


def to_plain(message: Message) -> dict[str, Any]:
    """The message as plain data, ready for JSON."""
    return _plain(message, _writer(type(message)))


@Kept
def _raw(resource: Resource) -> msgspec.Raw:
    return msgspec.Raw(encode(resource))


def _raws(resources: Iterable[Resource]) -> list[msgspec.Raw]:
    return [_raw(each) for each in resources]


def _plain(message: Message, writer: _Writer) -> dict[str, Any]:
    keys, values, fixes = writer
    data = dict(zip(keys, values(message), strict=True))
    for key, convert, absent in fixes:
        value = data[key]
        if value is not None:
            data[key] = convert(value)
        elif absent is _LEFT_OUT:
            del data[key]
        else:
            data[key] = absent
    return data


@cache
def _writer(model: type[Message]) -> _Writer:
    """How a message becomes plain data: all values at once, then those that JSON says differently."""
    items = fields(model)
    fixes = [
        (item.json, convert or _same, _absent(item))
        for item in items
        if (convert := _to_json(item)) is not None or item.default is None
    ]
    return tuple(item.json for item in items), every(*(item.name for item in items)), fixes


@cache
def _splicer(model: type[Message]) -> _Writer:
    """The same, but that resources become the JSON text that they have already."""
    keys, values, fixes = _writer(model)
    resources = [item for item in fields(model) if issubclass(item.python, Resource)]
    raw: dict[str, Callable[[Any], Any]] = {item.json: _raws if item.repeated else _raw for item in resources}
    return keys, values, [(key, raw.get(key, convert), absent) for key, convert, absent in fixes]


def _absent(field: Field) -> Any:
    """What stands for None: nothing in a group or where presence counts, a zero for times, else null."""
    if field.dress in ("millis", "null", "raw"):
        return None
    if field.is_time:
        return "0" if field.type == "int64" else ""
    return None if field.is_message and not field.oneof else _LEFT_OUT


def _same(value: Any) -> Any:
    return value


def _to_json(field: Field) -> Callable[[Any], Any] | None:
    one = _value_to_json(field)
    if one is None:
        return None
    if field.repeated:
        return lambda values: [one(value) for value in values]
    if field.mapping:
        return lambda values: {key: one(value) for key, value in values.items()}
    return one


def _value_to_json(field: Field) -> Callable[[Any], Any] | None:
    if field.is_message:
        return to_plain
    if field.is_time:
        return _millis if field.dress == "millis" else _seconds if field.type == "int64" else _rfc3339
    if field.python is bytes:
        return lambda value: base64.b64encode(value).decode()
    return str if field.type in _LONG and not field.dress else None


def _rfc3339(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _seconds(at: datetime) -> str:
    return str(int(at.timestamp()))


def _millis(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def from_plain(model: type[Message], data: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """The data with wire names and types; raises InvalidArgument for what is no field of the message."""
    if path.count(".") > DEEPEST:
        raise InvalidArgument(f"the body is nested more than {DEEPEST} levels deep")
    known = _names(model)
    strangers = list(islice((key for key in data if key not in known), MOST_VIOLATIONS))
    if strangers and model.STRANGERS:
        data = _folded(data, known, model.STRANGERS)
    elif strangers:
        raise InvalidArgument.of(
            [Violation(f"{path}{key[:LONGEST_NAME]}", _unknown(key, known)) for key in strangers]
        )
    taken: dict[str, Any] = {}
    for key, value in data.items():
        field = known[key]
        if field.wire in taken:
            raise InvalidArgument.of([Violation(f"{path}{key}", f"is given twice, as {field.json} too")])
        if value is not None:
            taken[field.wire] = _from_json(field, value, f"{path}{field.wire}")
    return taken


def _folded(data: Mapping[str, Any], known: Mapping[str, Field], into: str) -> dict[str, Any]:
    """The data with everything unknown moved into one of its objects, where a given name stays as it is."""
    there = data.get(into)
    if there is not None and not isinstance(there, dict):
        return {key: value for key, value in data.items() if key in known}  # refused for that, later
    unknown = {key: value for key, value in data.items() if key not in known}
    rest = {key: value for key, value in data.items() if key in known}
    return {**rest, into: {**unknown, **cast("dict[str, Any]", there or {})}}


@cache
def _names(model: type[Message]) -> dict[str, Field]:
    return {name: field for field in fields(model) for name in (field.wire, field.json)}


def _unknown(key: str, known: Mapping[str, Field]) -> str:
    import difflib  # noqa: PLC0415 - only a slip needs it

    near = difflib.get_close_matches(key[:LONGEST_NAME], known, n=1)
    return "is not a field" + (f"; did you mean {near[0]}?" if near else "")


def _from_json(field: Field, value: Any, where: str) -> Any:
    if field.repeated and isinstance(value, list):
        items = cast("list[Any]", value)
        return [_value_from_json(field, item, f"{where}[{number}]") for number, item in enumerate(items)]
    if field.mapping and isinstance(value, dict):
        entries = cast("dict[str, Any]", value)
        return {key: _value_from_json(field, item, f"{where}.{key}") for key, item in entries.items()}
    return value if field.repeated or field.mapping else _value_from_json(field, value, where)


def _value_from_json(field: Field, value: Any, where: str) -> Any:
    if field.is_message:
        return (
            from_plain(field.python, cast("dict[str, Any]", value), f"{where}.")
            if isinstance(value, dict)
            else value
        )
    if field.type in _LONG:
        return _long(field, value, where)
    if field.is_time and value == "":
        return None
    return value


def _long(field: Field, value: Any, where: str) -> Any:
    """A 64-bit integer comes as a string or as a number."""
    if isinstance(value, str):
        if not _INTEGER.fullmatch(value):
            raise InvalidArgument.of([Violation(where, "must be a whole number")])
        value = int(value)
    if not field.is_time or isinstance(value, bool) or not isinstance(value, int):
        return value
    unit, size = ("milliseconds", 1000) if field.dress == "millis" else ("seconds", 1)
    try:
        return datetime.fromtimestamp(value / size, UTC) if value else None
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidArgument.of([Violation(where, f"must be {unit} since 1970")]) from error
