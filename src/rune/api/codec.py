"""Between messages and protobuf bytes. The way is worked out once per class, then only walked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from itertools import islice
from typing import Any, TypeVar, cast

import msgspec
from google.protobuf.message import DecodeError
from google.protobuf.message import Message as ProtoMessage

from rune.api.common import OK, Status
from rune.api.descriptors import numbers, proto_class, unknown_field_set
from rune.api.fields import Message, WireEnum
from rune.api.kept import Kept
from rune.api.malformed import fault
from rune.api.resource import Resource
from rune.api.shape import Field, every, fields, proto_name
from rune.api.validate import MOST_VIOLATIONS, build
from rune.errors import Internal, InvalidArgument, Violation

M = TypeVar("M", bound=Message)
Convert = Callable[[Any], Any]
_NEVER: Any = object()
_Filler = tuple[Callable[[Any], tuple[Any, ...]], list[tuple[str, Any, Convert | None]]]


def encode(message: Message) -> bytes:
    """The message as protobuf bytes; values that equal their default are left out.

    A resource inside it that was stored never changes: it is encoded once, and its bytes are put in.
    """
    model = type(message)
    filler, apart = _split(model)
    rest = _filled(message, filler) if filler[1] else {}
    parts = [proto_class(model)(**rest).SerializeToString()] if rest or not apart else []
    for name, tag, repeated in apart:
        value = getattr(message, name)
        if repeated:
            parts += [part for item in value for part in (tag, _delimited(item))]
        elif value is not None:
            parts += (tag, _delimited(value))
    return b"".join(parts)


def _delimited(message: Message) -> bytes:
    """The bytes of a message inside another, after their number."""
    if message is OK:
        return b"\0"
    return _kept(message) if isinstance(message, Resource) else _framed(message)


def _framed(message: Message) -> bytes:
    data = to_proto(message).SerializeToString()
    return _varint(len(data)) + data


_kept = Kept(_framed)


@cache
def _split(model: type[Message]) -> tuple[_Filler, list[tuple[str, bytes, bool]]]:
    """What is encoded anew each time, and the fields that hold resources or a status, with their tags."""
    apart = [item for item in fields(model) if issubclass(item.python, (Resource, Status)) and not item.oneof]
    by_name = proto_class(model).DESCRIPTOR.fields_by_name
    tags = [(item.name, _varint(by_name[item.wire].number << 3 | 2), item.repeated) for item in apart]
    return _filler_of([item for item in fields(model) if item not in apart]), tags


def _varint(number: int) -> bytes:
    found = bytearray()
    while number >> 7:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def to_proto(message: Message) -> ProtoMessage:
    """The message as an object of its protobuf class."""
    return proto_class(type(message))(**_filled(message))


def decode(model: type[M], data: bytes) -> M:
    """The message that the bytes hold; raises InvalidArgument, naming every field that is wrong."""
    kind = proto_class(model)
    try:
        proto = kind.FromString(data)
    except DecodeError as error:
        found = fault(kind.DESCRIPTOR, data)
        if found is not None:
            raise InvalidArgument.of([found]) from error
        name = kind.DESCRIPTOR.full_name
        raise InvalidArgument(f"the request is not a well-formed {name} message") from error
    _refuse_unknown(proto, len(data))
    return build(model, _reader(model)(proto))


def read(model: type[M], data: bytes) -> M:
    """The answer of a server, which may be newer than this client: what it does not know is passed over.

    Its server has looked at every limit. To do that again would cost a command the time in which msgspec
    works out its plans for all the messages that could be in there.
    """
    try:
        return cast("M", _made(model)(proto_class(model).FromString(data)))
    except (DecodeError, InvalidArgument, KeyError, TypeError, ValueError) as error:
        name = proto_name(model)
        raise Internal(f"the server's answer is not a {name} message that this client understands") from error


def _refuse_unknown(proto: ProtoMessage, size: int) -> None:
    """Fields that this server does not know are refused: to drop one would change what was asked.

    An encoding of the usual form has the size of its known fields; only others are looked through.
    """
    known = type(proto)()
    known.CopyFrom(proto)
    known.DiscardUnknownFields()
    if known.ByteSize() != size:
        found = list(islice(_unknown(proto, ""), MOST_VIOLATIONS))
        if found:
            raise InvalidArgument.of(found)


def _unknown(proto: Any, path: str) -> Iterator[Violation]:
    for item in unknown_field_set()(proto):
        yield Violation(f"{path}#{item.field_number}", "is a field that this server does not know")
    for descriptor, value in proto.ListFields():
        if descriptor.message_type is None or descriptor.message_type.GetOptions().map_entry:
            continue
        items = value if descriptor.is_repeated else [value]
        for item in items:
            yield from _unknown(item, f"{path}{descriptor.name}.")


def _filled(message: Message, filler: _Filler | None = None) -> dict[str, Any]:
    """The values that differ from their defaults, as protobuf's constructors take them."""
    values, steps = filler or _filler(type(message))
    return {
        wire: value if convert is None else convert(value)
        for value, (wire, default, convert) in zip(values(message), steps, strict=True)
        if value is not None and value != default
    }


@cache
def _filler(model: type[Message]) -> _Filler:
    return _filler_of(fields(model))


def _filler_of(items: Sequence[Field]) -> _Filler:
    steps = [(item.wire, _skipped(item), _to_wire(item)) for item in items]
    return every(*(item.name for item in items)), steps


def _skipped(field: Field) -> Any:
    """The value that is as good as none; a required field and one with presence have none such."""
    return _NEVER if field.required or field.presence or field.oneof else field.default


def _to_wire(field: Field) -> Convert | None:
    one = _value_to_wire(field)
    if one is None:
        return None
    if field.repeated:
        return lambda values: [one(value) for value in values]
    if field.mapping:
        return lambda values: {key: one(value) for key, value in values.items()}
    return one


def _value_to_wire(field: Field) -> Convert | None:
    if field.is_message:
        return _filled
    if field.is_time:
        return _to_millis if field.dress == "millis" else _to_seconds if field.type == "int64" else to_rfc3339
    if field.dress == "raw":
        return lambda value: msgspec.json.encode(value).decode()
    if issubclass(field.python, WireEnum):
        return numbers(field.python).__getitem__
    return None


@cache
def _reader(model: type[Message]) -> Callable[[Any], dict[str, Any]]:
    steps = {field.wire: _read_field(field, _from_wire(field)) for field in fields(model)}

    def read(proto: Any) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for descriptor, value in proto.ListFields():
            step = steps[descriptor.name]
            data[descriptor.name] = value if step is None else step(value)
        return data

    return read


def _read_field(field: Field, convert: Convert | None) -> Convert | None:
    if field.mapping:
        return dict if convert is None else lambda value: {key: convert(item) for key, item in value.items()}
    if field.repeated:
        return list if convert is None else lambda value: [convert(item) for item in value]
    return convert


def _from_wire(field: Field) -> Convert | None:
    if field.is_message:
        model = field.python
        return lambda value: _reader(model)(value)  # noqa: PLW0108 - late, since a message may hold itself
    if field.dress == "raw":
        return lambda value: _parsed(field.wire, value)
    if field.is_time and field.type == "int64":
        unit, size = ("milliseconds", 1000) if field.dress == "millis" else ("seconds", 1)
        return lambda value: _from_epoch(field.wire, value / size, unit)
    if issubclass(field.python, WireEnum):
        words = {number: name for name, number in numbers(field.python).items()}
        return lambda value: words.get(value, value)
    return None


@cache
def _made(model: type[Message]) -> Convert:
    """Makes the message of its protobuf object as it is."""
    steps = {field.wire: (field.name, _read_field(field, _to_python(field))) for field in fields(model)}

    def make(proto: Any) -> Message:
        found = ((*steps[descriptor.name], value) for descriptor, value in proto.ListFields())
        return model(**{name: value if step is None else step(value) for name, step, value in found})

    return make


def _to_python(field: Field) -> Convert | None:
    """What makes the value, not only what msgspec would make it of."""
    if field.is_message:
        model = field.python
        return lambda value: _made(model)(value)  # noqa: PLW0108 - late, since a message may hold itself
    if issubclass(field.python, WireEnum):
        return {number: field.python(name) for name, number in numbers(field.python).items()}.__getitem__
    if field.is_time and field.type == "string":
        return datetime.fromisoformat
    return _from_wire(field)


def to_rfc3339(at: datetime) -> str:
    """UTC with microseconds, as `2026-01-02T03:04:05.000006Z`."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _to_seconds(at: datetime) -> int:
    return int(at.timestamp())


def _to_millis(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def _from_epoch(name: str, seconds: float, unit: str) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, UTC) if seconds else None
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidArgument.of([Violation(name, f"must be {unit} since 1970")]) from error


def _parsed(name: str, text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidArgument.of([Violation(name, "must be JSON text")]) from error
