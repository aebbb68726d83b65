"""JSON Schemas of what tools take and give: the schemas of REST, each with its definitions inside."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rune.api import prose, schemas
from rune.api.fields import Message, WireEnum
from rune.api.schemas import Json
from rune.api.shape import Field, fields

_FORMATS = [("format", name) for name in ("int32", "int64", "uint64", "double")]
"""Those of OpenAPI; validators of JSON Schema complain of them."""
_COMPONENTS = "#/components/schemas/"


def request_schema(model: type[Message], *more: type[Message]) -> Json:
    """What a request may hold, and the fields of further messages beside its own.

    Fields that this release refuses are left out.
    """
    schema = message_schema(model)
    for other in more:
        schema["properties"] |= definition(other)["properties"]
    return schema | {"additionalProperties": False}


def message_schema(model: type[Message]) -> Json:
    """The message, complete in itself."""
    return within(definition(model), [model])


def within(schema: Json, models: Iterable[type[Message]]) -> Json:
    """The schema with the definitions of everything that the models' fields lead to."""
    found: dict[str, Json] = {}
    for model in models:
        _collect(model, found)
    return _local(schema | {"$defs": found}) if found else _local(schema)


def field_schema(model: type[Message], field: Field) -> Json:
    """The schema of one field, described; not yet complete in itself."""
    described: Json = definition(model)["properties"][field.json]
    return described


def supported(model: type[Message]) -> list[Field]:
    """The fields that this release does not refuse."""
    return [field for field in fields(model) if not field.unsupported]


def definition(model: type[Message]) -> Json:
    """The message alone; what its fields refer to is missing."""
    refused = [field.wire for field in fields(model) if field.unsupported]
    return schemas.body_schema(model, refused)


def _collect(model: type[Message], found: dict[str, Json]) -> None:
    for field in supported(model):
        inner = field.model
        if inner is None or schemas.schema_name(inner) in found:
            continue
        if issubclass(inner, WireEnum):
            found[schemas.schema_name(inner)] = schemas.component(inner)
        else:
            found[schemas.schema_name(inner)] = definition(inner)
            _collect(inner, found)


def _local(part: Any) -> Any:  # noqa: ANN401 - any part of a schema
    """The same, with references into the schema itself, without formats that JSON Schema does not know."""
    if isinstance(part, dict):
        return {key: _local(value) for key, value in part.items() if (key, value) not in _FORMATS}  # pyright: ignore[reportUnknownVariableType] - JSON
    if isinstance(part, list):
        return [_local(item) for item in part]  # pyright: ignore[reportUnknownVariableType] - JSON
    return part.replace(_COMPONENTS, "#/$defs/") if isinstance(part, str) else part


def about(model: type[Message]) -> str:
    """What the declaration says of the message."""
    return prose.about(model)
