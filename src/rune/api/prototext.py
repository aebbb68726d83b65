"""`rune.proto` as text: the descriptor written out, with what the declarations say as comments."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from google.protobuf import descriptor_pb2 as pb

from rune.api import prose, proto
from rune.api.fields import Message, WireEnum
from rune.api.operation import Operation
from rune.api.shape import fields, proto_name

HEAD = "// Written by `python -m rune.api.generate` from the table of operations. Do not edit.\n"
WIDTH = 110
Model = type[Message | WireEnum]

_SCALARS = {
    number: name.removeprefix("TYPE_").lower() for name, number in pb.FieldDescriptorProto.Type.items()
}


def text(file: pb.FileDescriptorProto, operations: Iterable[Operation[Any, Any]]) -> str:
    """The file, in the order services, messages, enums."""
    rows = list(operations)
    known = {proto_name(model): model for model in proto.models(rows)}
    parts = [f'{HEAD}\nsyntax = "{file.syntax}";\n\npackage {file.package};']
    for service in file.service:
        said = {row.method: row for row in rows if row.service == service.name}
        parts.append("\n".join(_service(service, said)))
    parts += ["\n".join(_message(message, known, file.package)) for message in file.message_type]
    parts += ["\n".join(_enum(enum, known[enum.name])) for enum in file.enum_type]
    return "\n\n".join(parts) + "\n"


def _service(service: pb.ServiceDescriptorProto, rows: dict[str, Operation[Any, Any]]) -> Iterator[str]:
    yield f"service {service.name} {{"
    for method in service.method:
        row = rows[method.name]
        yield from _comment(
            row.summary + (f" Not supported: {row.unsupported}." if row.unsupported else ""), 1
        )
        asks = ("stream " if method.client_streaming else "") + _short(method.input_type)
        gives = ("stream " if method.server_streaming else "") + _short(method.output_type)
        yield f"  rpc {method.name}({asks}) returns ({gives});"
    yield "}"


def _message(message: pb.DescriptorProto, known: dict[str, Model], package: str) -> Iterator[str]:
    model = known[message.name]
    yield from _comment(prose.about(model), 0)
    yield f"message {message.name} {{"
    for enum in message.enum_type:
        yield from textwrap.indent("\n".join(_enum(enum, known[f"{message.name}.{enum.name}"])), "  ").split(
            "\n"
        )
    entries = {f".{package}.{message.name}.{entry.name}": entry for entry in message.nested_type}
    said = {item.wire: prose.about_field(model, item) for item in fields(model)}  # pyright: ignore[reportArgumentType] - a message, since it has fields
    group = -1
    for field in message.field:
        inside = field.oneof_index if field.HasField("oneof_index") and not field.proto3_optional else -1
        if inside != group:
            yield from ["  }"] * (group >= 0)
            yield from [f"  oneof {message.oneof_decl[inside].name} {{"] * (inside >= 0)
            group = inside
        depth = 2 if inside >= 0 else 1
        yield from _comment(said[field.name], depth)
        yield f"{'  ' * depth}{_type(field, entries)} {field.name} = {field.number};"
    yield from ["  }"] * (group >= 0)
    yield "}"


def _enum(enum: pb.EnumDescriptorProto, words: Model) -> Iterator[str]:
    yield from _comment(prose.about(words), 0)
    yield f"enum {enum.name} {{"
    for value in enum.value:
        yield from _comment(prose.about_word(words, value.name), 1)  # pyright: ignore[reportArgumentType] - an enum, by its place
        yield f"  {value.name} = {value.number};"
    yield "}"


def _type(field: pb.FieldDescriptorProto, entries: dict[str, pb.DescriptorProto]) -> str:
    entry = entries.get(field.type_name)
    if entry is not None:
        return f"map<string, {_plain(entry.field[1])}>"
    if field.label == field.LABEL_REPEATED:
        return f"repeated {_plain(field)}"
    return f"optional {_plain(field)}" if field.proto3_optional else _plain(field)


def _plain(field: pb.FieldDescriptorProto) -> str:
    return _short(field.type_name) if field.type_name else _SCALARS[field.type]


def _short(name: str) -> str:
    """A type of the same package by its name alone."""
    return name.removeprefix(".rune.api.").removeprefix(".rune.security.v1.")


def _comment(said: str, depth: int) -> list[str]:
    lead = "  " * depth + "// "
    return textwrap.wrap(said, WIDTH, initial_indent=lead, subsequent_indent=lead)
