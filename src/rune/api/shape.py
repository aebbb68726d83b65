"""The shape of a message, read once from its class; wire formats, documents and commands follow from it."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from datetime import datetime
from functools import cache
from operator import attrgetter
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, Meta
from msgspec.structs import fields as struct_fields

from rune.api.fields import NESTED, Message, WireEnum, extras

_SCALARS: dict[type, str] = {str: "string", bool: "bool", float: "double", bytes: "bytes", int: "int32"}


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One field of a message."""

    name: str
    """In Python."""
    wire: str
    """In protobuf, and in YAML and JSON with underscores."""
    json: str
    """In JSON: lowerCamelCase, unless the message or the field says otherwise."""
    type: str
    """The protobuf type of the value, or of the items of a list or the values of a map."""
    python: type
    """The Python type of the same."""
    hint: Any
    """The whole annotation, constraints included."""
    repeated: bool = False
    mapping: bool = False
    required: bool = False
    default: Any = None
    presence: bool = False
    """An absent value differs from a zero."""
    dress: str = ""
    """What JSON does differently with it: `millis`, `number`, `null` or `raw`; see `fields.py`."""
    oneof: str = ""
    unsupported: str = ""
    is_scope: bool = False
    """It names the namespace that the request is about."""

    @property
    def model(self) -> type[Message | WireEnum] | None:
        """The message or enum class of the value, None for a scalar."""
        return self.python if issubclass(self.python, (Message, WireEnum)) else None

    @property
    def is_message(self) -> bool:
        """The value is a message."""
        return issubclass(self.python, Message)

    @property
    def is_time(self) -> bool:
        """The value is a point in time, whatever its dress on the wire."""
        return self.python is datetime

    @property
    def constraints(self) -> Meta:
        """The limits of the value, all in one."""
        for meta in getattr(self.hint, "__metadata__", ()):
            if meta.description or meta.pattern or meta.ge is not None:
                return meta
        return Meta()


@cache
def fields(message: type[Message]) -> tuple[Field, ...]:
    """The fields of a message, inherited ones last."""
    own = inspect.get_annotations(message)
    all_fields = [_field(item, item.type, snake=message.SNAKE) for item in struct_fields(message)]
    return tuple(sorted(all_fields, key=lambda item: item.name not in own))


def every(*names: str) -> Callable[[Any], tuple[Any, ...]]:
    """Reads all these attributes at once, which is several times faster than one after another."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda value: tuple(getattr(value, name) for name in names)


def proto_name(model: type[Message | WireEnum]) -> str:
    """What a message or an enum is called on the wire, dotted when nested."""
    if issubclass(model, WireEnum):
        return NESTED.get(model, model.__name__)
    return model.__dict__.get("PROTO") or model.__name__


def camel(name: str) -> str:
    """`from_seq` → `fromSeq`."""
    head, *rest = name.split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in rest)


def _field(item: msgspec.structs.FieldInfo, hint: Any, *, snake: bool) -> Field:
    extra, core = _unwrap(hint)
    origin = get_origin(core)
    repeated, mapping = origin is list, origin is dict
    if extra.get("json") == "raw":
        repeated, mapping, core = False, False, object
    if repeated or mapping:
        inner, core = _unwrap(get_args(core)[-1])
        extra = {**inner, **extra}
    proto = str(extra.get("proto", ""))
    if not proto:
        proto = proto_name(core) if issubclass(core, (Message, WireEnum)) else _SCALARS[core]
    return Field(
        name=item.name,
        wire=item.encode_name,
        json=str(extra.get("name", "")) or (item.encode_name if snake else camel(item.encode_name)),
        type=proto,
        python=core,
        hint=hint,
        repeated=repeated,
        mapping=mapping,
        required=item.required,
        default=item.default if item.default is not NODEFAULT else _made(item.default_factory),
        presence=bool(extra.get("presence")),
        dress=str(extra.get("json", "")),
        oneof=str(extra.get("oneof", "")),
        unsupported=str(extra.get("unsupported", "")),
        is_scope=bool(extra.get("scope")),
    )


def _made(factory: Any) -> Any:
    return None if factory is NODEFAULT else factory()


def _unwrap(hint: Any) -> tuple[dict[str, Any], Any]:
    """What the annotations say, outer over inner, and the bare type without `None`."""
    extra: dict[str, Any] = {}
    while True:
        origin = get_origin(hint)
        if origin is Annotated:
            extra = {**extras(hint), **extra}
            hint = get_args(hint)[0]
        elif origin in (Union, types.UnionType):
            (hint,) = (part for part in get_args(hint) if part is not type(None))
        else:
            return extra, hint
