"""Between messages and protobuf bytes. The way is worked out once per class, then only walked.

Descriptors come from `descriptors.binpb`, which `python -m rune.api.generate` writes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from typing import Any, TypeVar

from google.protobuf.message import DecodeError
from google.protobuf.message import Message as ProtoMessage

from rune.api.fields import Message, WireEnum
from rune.api.shape import Field, fields, proto_name
from rune.api.validate import build
from rune.errors import Internal, InvalidArgument, Violation

M = TypeVar("M", bound=Message)
Fill = Callable[[Any, Any], None]
Read = Callable[[Any], Any]

DESCRIPTORS = "descriptors.binpb"


@cache
def _engine() -> Any:
    """The compiled half of protobuf, which has all that is needed here.

    The public modules give the same classes and take 70 ms longer to import; they serve where the
    compiled half is not there.
    """
    try:
        return import_module("google._upb._message")
    except ImportError:
        return None


@cache
def pool() -> Any:
    """The descriptors of every package, apart from any that the host program has loaded."""
    engine = _engine() or import_module("google.protobuf.descriptor_pool")
    found = engine.DescriptorPool()
    folder = os.path.dirname(__file__)  # noqa: PTH120 - pathlib takes 3 ms to import, this code none
    with open(os.path.join(folder, DESCRIPTORS), "rb") as descriptors:  # noqa: PTH118, PTH123 - as above
        for file in _files(descriptors.read()):
            found.AddSerializedFile(file)
    return found


def _files(file_set: bytes) -> Iterator[bytes]:
    """The files of a `FileDescriptorSet`: nothing but its field 1, again and again."""
    at = 0
    while at < len(file_set):
        at, size, shift = at + 1, 0, 0
        while file_set[at] & 0x80:
            size, shift, at = size | (file_set[at] & 0x7F) << shift, shift + 7, at + 1
        size, at = size | file_set[at] << shift, at + 1
        yield file_set[at : at + size]
        at += size


@cache
def proto_class(model: type[Message]) -> type[ProtoMessage]:
    """The protobuf class of a message."""
    package = "rune.api" if ".security" not in model.__module__ else "rune.security.v1"
    descriptor = pool().FindMessageTypeByName(f"{package}.{proto_name(model)}")
    engine = _engine()
    if engine is None:
        return import_module("google.protobuf.message_factory").GetMessageClass(descriptor)
    return engine.MessageMeta(
        descriptor.name, (ProtoMessage,), {"DESCRIPTOR": descriptor, "__module__": None}
    )


def encode(message: Message) -> bytes:
    """The message as protobuf bytes; values that equal their default are left out."""
    return to_proto(message).SerializeToString()


def to_proto(message: Message) -> ProtoMessage:
    """The message as an object of its protobuf class."""
    proto = proto_class(type(message))()
    _filler(type(message))(proto, message)
    return proto


def decode(model: type[M], data: bytes) -> M:
    """The message that the bytes hold; raises InvalidArgument, naming every field that is wrong."""
    kind = proto_class(model)
    try:
        proto = kind.FromString(data)
    except DecodeError as error:
        name = kind.DESCRIPTOR.full_name
        raise InvalidArgument(f"the request is not a well-formed {name} message") from error
    _refuse_unknown(proto, len(data))
    return build(model, _reader(model)(proto))


def read(model: type[M], data: bytes) -> M:
    """The answer of a server, which may be newer than this client: what it does not know is passed over."""
    try:
        return build(model, _reader(model)(proto_class(model).FromString(data)))
    except (DecodeError, InvalidArgument) as error:
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
        found = _unknown(proto, "")
        if found:
            raise InvalidArgument.of(found)


def _unknown(proto: Any, path: str) -> list[Violation]:
    found = [
        Violation(f"{path}#{item.field_number}", "is a field that this server does not know")
        for item in _unknown_fields()(proto)
    ]
    for descriptor, value in proto.ListFields():
        if descriptor.message_type is None or descriptor.message_type.GetOptions().map_entry:
            continue
        items = value if descriptor.is_repeated else [value]
        for item in items:
            found += _unknown(item, f"{path}{descriptor.name}.")
    return found


@cache
def _unknown_fields() -> Any:
    return (_engine() or import_module("google.protobuf.unknown_fields")).UnknownFieldSet


@cache
def _filler(model: type[Message]) -> Fill:
    steps = [
        (f.name, f.default, not f.required and not f.presence and not f.oneof, _fill_field(f))
        for f in fields(model)
    ]

    def fill(proto: Any, message: Any) -> None:
        for name, default, skips_default, step in steps:
            value = getattr(message, name)
            if value is None or (skips_default and value == default):
                continue
            step(proto, value)

    return fill


def _fill_field(field: Field) -> Fill:
    wire, convert = field.wire, _to_wire(field)
    if field.is_message:
        return _fill_messages(field) if field.repeated else _fill_message(field)
    if field.mapping:
        return lambda proto, value: getattr(proto, wire).update(value)
    if field.repeated:
        return lambda proto, value: getattr(proto, wire).extend(map(convert, value) if convert else value)
    if convert is None:
        return lambda proto, value: setattr(proto, wire, value)
    return lambda proto, value: setattr(proto, wire, convert(value))


def _fill_message(field: Field) -> Fill:
    wire, model = field.wire, field.python

    def fill(proto: Any, value: Any) -> None:
        inner = getattr(proto, wire)
        inner.SetInParent()
        _filler(model)(inner, value)

    return fill


def _fill_messages(field: Field) -> Fill:
    wire, model = field.wire, field.python

    def fill(proto: Any, value: Any) -> None:
        add, fill_item = getattr(proto, wire).add, _filler(model)
        for item in value:
            fill_item(add(), item)

    return fill


def _to_wire(field: Field) -> Callable[[Any], Any] | None:
    if field.is_time:
        return _to_seconds if field.type == "int64" else to_rfc3339
    if issubclass(field.python, WireEnum):
        return _numbers(field.python).__getitem__
    return None


@cache
def _numbers(words: type[WireEnum]) -> dict[str, int]:
    descriptor = pool().FindEnumTypeByName(f"rune.api.{proto_name(words)}")
    return {value.name: value.number for value in descriptor.values}


@cache
def _reader(model: type[Message]) -> Callable[[Any], dict[str, Any]]:
    steps = {field.wire: _read_field(field) for field in fields(model)}

    def read(proto: Any) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for descriptor, value in proto.ListFields():
            step = steps[descriptor.name]
            data[descriptor.name] = value if step is None else step(value)
        return data

    return read


def _read_field(field: Field) -> Read | None:
    convert = _from_wire(field)
    if field.mapping:
        return dict if convert is None else lambda value: {key: convert(item) for key, item in value.items()}
    if field.repeated:
        return list if convert is None else lambda value: [convert(item) for item in value]
    return convert


def _from_wire(field: Field) -> Read | None:
    if field.is_message:
        model = field.python
        return lambda value: _reader(model)(value)  # noqa: PLW0108 - late, since a message may hold itself
    if field.is_time and field.type == "int64":
        return lambda value: datetime.fromtimestamp(value, UTC)
    if issubclass(field.python, WireEnum):
        words = {number: name for name, number in _numbers(field.python).items()}
        return lambda value: words.get(value, value)
    return None


def to_rfc3339(at: datetime) -> str:
    """UTC with microseconds, as `2026-01-02T03:04:05.000006Z`."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _to_seconds(at: datetime) -> int:
    return int(at.timestamp())
