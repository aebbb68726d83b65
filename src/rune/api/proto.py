"""The protobuf side of the table: descriptors with locked numbers, and `rune.proto` as text."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2 as pb

from rune.api.fields import Message, WireEnum
from rune.api.operation import Operation, Streaming
from rune.api.shape import Field, camel, fields, proto_name

OWN_FIELDS_FROM = 1000
"""The numbers below belong to the published contract, also those it has not given out yet."""

Lock = dict[str, dict[str, dict[str, str]]]
"""Of one package: `messages`, `enums` and `services`; each name has its items, such as `10 int32`."""

_SCALAR_TYPES = {
    name.removeprefix("TYPE_").lower(): number for name, number in pb.FieldDescriptorProto.Type.items()
}


def models(operations: Iterable[Operation[Any, Any]]) -> list[type[Message | WireEnum]]:
    """Every message and enum that the operations speak, by first mention."""
    found: dict[type[Message | WireEnum], None] = {}
    for operation in operations:
        for model in (operation.request, operation.response):
            found |= dict.fromkeys(reachable(model))
    return list(found)


@cache
def reachable(model: type[Message | WireEnum]) -> tuple[type[Message | WireEnum], ...]:
    """The model and every one that its fields hold, by first mention."""
    found: dict[type[Message | WireEnum], None] = {}

    def visit(each: type[Message | WireEnum]) -> None:
        if each in found:
            return
        found[each] = None
        if issubclass(each, Message):
            for field in fields(each):
                if field.model is not None:
                    visit(field.model)

    visit(model)
    return tuple(found)


def declare(operations: Iterable[Operation[Any, Any]]) -> Lock:
    """What the table says, in the lock's form; numbers are `?` until `settle` gives them."""
    rows = list(operations)
    lock: Lock = {"messages": {}, "enums": {}, "services": {}}
    for model in models(rows):
        if issubclass(model, WireEnum):
            lock["enums"][proto_name(model)] = {word.value: str(n) for n, word in enumerate(model)}
        else:
            lock["messages"][proto_name(model)] = {f.wire: f"? {_type(f)}" for f in fields(model)}
    for row in rows:
        lock["services"].setdefault(row.service, {})[row.method] = _signature(row)
    return lock


def settle(declared: Lock, locked: Lock, published: Iterable[str]) -> Lock:
    """The lock with everything that was declared since: numbers are given, never changed or given twice."""
    contract = set(published)
    settled: Lock = {part: {name: dict(rows) for name, rows in locked[part].items()} for part in locked}
    for name, items in declared["messages"].items():
        rows = settled["messages"].setdefault(name, {})
        for wire, text in items.items():
            if wire not in rows:
                rows[wire] = _numbered(text, rows, own=name in contract)
    for part in ("enums", "services"):
        for name, items in declared[part].items():
            rows = settled[part].setdefault(name, {})
            for item, text in items.items():
                rows.setdefault(item, text if part == "services" else str(_next(rows)))
    return settled


def conflicts(declared: Lock, locked: Lock) -> list[str]:
    """Where a declaration says another type than the lock: each a break of the wire."""
    found: list[str] = []
    for name, items in declared["messages"].items():
        for wire, text in items.items():
            have = locked["messages"].get(name, {}).get(wire)
            if have and have.split(" ", 1)[1].removeprefix("optional ") != text[2:].removeprefix("optional "):
                found.append(f"{name}.{wire}: declared {text[2:]}, locked {have}")
    for name, items in declared["services"].items():
        for method, text in items.items():
            have = locked["services"].get(name, {}).get(method)
            if have and have != text:
                found.append(f"{name}.{method}: declared {text}, locked {have}")
    return found


def describe(package: str, operations: Iterable[Operation[Any, Any]], lock: Lock) -> pb.FileDescriptorProto:
    """The package as a descriptor: what is declared, with the lock's numbers."""
    rows = list(operations)
    file = pb.FileDescriptorProto(name=f"{package.replace('.', '/')}.proto", package=package, syntax="proto3")
    known = models(rows)
    messages = {m: file.message_type.add(name=proto_name(m)) for m in known if issubclass(m, Message)}
    by_name = {message.name: message for message in messages.values()}
    for model in known:
        if issubclass(model, WireEnum):
            outer, _, name = proto_name(model).rpartition(".")
            enum = (by_name[outer] if outer else file).enum_type.add(name=name)
            numbers = lock["enums"][proto_name(model)]
            for word in model:
                enum.value.add(name=word.value, number=int(numbers[word.value]))
    for model, message in messages.items():
        _describe_message(message, model, numbers=lock["messages"][message.name], package=package)
    for row in rows:
        _describe_method(file, row, package)
    return file


def _describe_message(
    message: pb.DescriptorProto, model: type[Message], *, numbers: dict[str, str], package: str
) -> None:
    groups: list[str] = []
    optional: list[pb.FieldDescriptorProto] = []
    for field in fields(model):
        number, text = numbers[field.wire].split(" ", 1)
        item = message.field.add(name=field.wire, number=int(number), json_name=camel(field.wire))
        item.label = item.LABEL_REPEATED if field.repeated or field.mapping else item.LABEL_OPTIONAL
        if field.mapping:
            _describe_map(message, item, field, package=package)
        else:
            _set_type(item, field, package)
        if field.oneof:
            if field.oneof not in groups:
                groups.append(field.oneof)
                message.oneof_decl.add(name=field.oneof)
            item.oneof_index = groups.index(field.oneof)
        elif text.startswith("optional "):
            optional.append(item)
    for item in optional:  # synthetic groups come after the real ones
        item.proto3_optional = True
        item.oneof_index = len(message.oneof_decl)
        message.oneof_decl.add(name=f"_{item.name}")


def _describe_map(
    message: pb.DescriptorProto, item: pb.FieldDescriptorProto, field: Field, *, package: str
) -> None:
    entry = message.nested_type.add(name=f"{field.json[0].upper()}{field.json[1:]}Entry")
    entry.options.map_entry = True
    key = entry.field.add(name="key", number=1, json_name="key", type=pb.FieldDescriptorProto.TYPE_STRING)
    value = entry.field.add(name="value", number=2, json_name="value")
    key.label = value.label = pb.FieldDescriptorProto.LABEL_OPTIONAL
    _set_type(value, field, package)
    item.type = item.TYPE_MESSAGE
    item.type_name = f".{package}.{message.name}.{entry.name}"


def _set_type(item: pb.FieldDescriptorProto, field: Field, package: str) -> None:
    if field.model is None:
        item.type = _SCALAR_TYPES[field.type]
        return
    item.type = item.TYPE_MESSAGE if field.is_message else item.TYPE_ENUM
    item.type_name = f".{package}.{field.type}"


def _describe_method(file: pb.FileDescriptorProto, row: Operation[Any, Any], package: str) -> None:
    service = next((s for s in file.service if s.name == row.service), None)
    if service is None:
        service = file.service.add(name=row.service)
    method = service.method.add(
        name=row.method,
        input_type=f".{package}.{proto_name(row.request)}",
        output_type=f".{package}.{proto_name(row.response)}",
    )
    if row.streaming is Streaming.BOTH:
        method.client_streaming = True
    if row.streams:
        method.server_streaming = True


def _type(field: Field) -> str:
    if field.mapping:
        return f"map<string,{field.type}>"
    if field.repeated:
        return f"repeated {field.type}"
    if field.oneof:
        return f"oneof:{field.oneof} {field.type}"
    return f"optional {field.type}" if field.presence else field.type


def _signature(row: Operation[Any, Any]) -> str:
    asks = "stream " if row.streaming is Streaming.BOTH else ""
    gives = "stream " if row.streams else ""
    return f"{asks}{proto_name(row.request)} -> {gives}{proto_name(row.response)}"


def _numbered(text: str, rows: dict[str, str], *, own: bool) -> str:
    """A number for a field of ours; its scalars have presence, so that a zero arrives as a zero."""
    used = [int(row.split(" ", 1)[0]) for row in rows.values()]
    floor = OWN_FIELDS_FROM if own else 1
    number = max([floor, *(n + 1 for n in used if n >= floor)])
    kind = text[2:]
    plain = kind in _SCALAR_TYPES and not kind.startswith("optional ")
    return f"{number} optional {kind}" if plain else f"{number} {kind}"


def _next(rows: dict[str, str]) -> int:
    return max((int(number) + 1 for number in rows.values()), default=0)
