"""JSON Schema of messages in the dress that REST gives them."""

from __future__ import annotations

from collections.abc import Iterable
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from msgspec import Meta

from rune.api import prose
from rune.api.fields import Message, WireEnum
from rune.api.shape import Field, fields, proto_name

Json = dict[str, Any]

_TYPES: dict[str, Json] = {
    "string": {"type": "string"},
    "bool": {"type": "boolean"},
    "double": {"type": "number", "format": "double"},
    "bytes": {"type": "string", "contentEncoding": "base64"},
    "int32": {"type": "integer", "format": "int32"},
    "uint32": {"type": "integer", "format": "int64"},
    "int64": {"type": "string", "format": "int64", "pattern": "^-?[0-9]{1,19}$"},
    "uint64": {"type": "string", "format": "uint64", "pattern": "^[0-9]{1,19}$"},
}
_LIMITS = {
    "pattern": "pattern",
    "min_length": "minLength",
    "max_length": "maxLength",
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
}


def schema_name(model: type[Message | WireEnum]) -> str:
    """What the model is called among the components."""
    return proto_name(model).replace(".", "_")


def reference(model: type[Any]) -> Json:
    """A pointer to the component."""
    return {"$ref": f"#/components/schemas/{schema_name(model)}"}


def component(model: type[Message | WireEnum]) -> Json:
    """The schema of a message or an enum."""
    if issubclass(model, WireEnum):
        return {"type": "string", "description": prose.about(model), "enum": [word.value for word in model]}
    return _object(model, ())


def body_schema(model: type[Message], parameters: Iterable[str]) -> Json:
    """The schema of a request whose other fields the path fills."""
    return _object(model, parameters)


def _object(model: type[Message], without: Iterable[str]) -> Json:
    items = [item for item in fields(model) if item.wire not in set(without)]
    schema: Json = {"type": "object", "description": prose.about(model)}
    required = [item.json for item in items if item.required]
    if required:
        schema["required"] = required
    schema["properties"] = {item.json: _described(model, item) for item in items}
    return schema


def _described(model: type[Message], field: Field) -> Json:
    text = prose.about_field(model, field)
    return field_schema(field) | ({"description": text} if text else {})


def field_schema(field: Field) -> Json:
    """The schema of a field's value."""
    one = _value(field)
    if field.repeated:
        return {"type": "array", "items": one, **_size(field, "Items")}
    if field.mapping:
        keys = _texts(_parts(field)[0])
        names = {"propertyNames": keys} if keys else {}
        return {"type": "object", **names, "additionalProperties": one, **_size(field, "Properties")}
    if field.is_message and not field.required:
        return {"anyOf": [one, {"type": "null"}]}
    return one


def _value(field: Field) -> Json:
    if field.model is not None:
        return reference(field.model)
    if field.dress:
        return _dressed(field)
    schema = dict(_TYPES[field.type])
    if field.is_time:
        text = "seconds since 1970, 0 when absent" if field.type == "int64" else "RFC 3339"
        return schema | {"title": text if field.required else text.replace("3339", "3339, empty when absent")}
    if field.type in ("int64", "uint64"):
        return schema
    return schema | _limits(field)


def _dressed(field: Field) -> Json:
    """What JSON shows otherwise than protobuf's mapping would."""
    match field.dress:
        case "millis":
            return {"type": ["integer", "null"], "title": "milliseconds since 1970"}
        case "number":
            return {"type": "integer", "minimum": 0, "maximum": 2**53 - 1}
        case "null":
            return {"type": ["string", "null"], **_texts(field.hint)}
        case _:
            bare: Json = {"type": "object", "additionalProperties": True}
            if field.default == []:
                bare = {"type": "array", "items": bare, **_size(field, "Items")}
            return (
                {"anyOf": [bare, {"type": "null"}]} if field.default is None and not field.required else bare
            )


def _limits(field: Field) -> Json:
    """The limits of a value: of each item, where there are several."""
    inner = _parts(field)[-1] if field.repeated or field.mapping else field.hint
    if field.python is str:
        return _texts(inner)
    return _read(metas(inner), ("ge", "gt", "le", "lt")) if field.python in (int, float) else {}


def _texts(hint: Any) -> Json:  # noqa: ANN401 - an annotation is of any type
    found = _read(metas(hint), ("pattern", "min_length", "max_length"))
    if "pattern" in found:  # elsewhere `$` means the end
        found["pattern"] = found["pattern"].replace(r"$(?!\n)", "$")
    return found


def _size(field: Field, of: str) -> Json:
    """How many items there may be."""
    outer = [meta for meta in getattr(_present(field.hint), "__metadata__", ()) if isinstance(meta, Meta)]
    found = _read(outer, ("min_length", "max_length"))
    return {keyword.replace("Length", of): limit for keyword, limit in found.items()}


def _read(limits: Iterable[Meta], names: tuple[str, ...]) -> Json:
    found: Json = {}
    for meta in limits:
        for name in names:
            limit = getattr(meta, name)
            if limit is not None:
                found.setdefault(_LIMITS[name], limit)
    return found


def _parts(field: Field) -> tuple[Any, ...]:
    """The types of a list's items, or of a map's keys and values."""
    hint = _present(field.hint)
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    return get_args(hint)


def _present(hint: Any) -> Any:  # noqa: ANN401 - an annotation is of any type
    """What a value is when it is there: `Tags` of `Tags | None`."""
    if get_origin(hint) in (Union, UnionType):
        (hint,) = (part for part in get_args(hint) if part is not NoneType)
    return hint


def metas(hint: Any) -> list[Meta]:  # noqa: ANN401 - an annotation is of any type
    """Every limit on a value and its parts, outermost first."""
    found = [meta for meta in getattr(hint, "__metadata__", ()) if isinstance(meta, Meta)]
    for part in get_args(hint):
        found += metas(part)
    return found
