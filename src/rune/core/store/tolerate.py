"""Reading what another release wrote: fields that a class does not know are left out, however strict it is.

Structs that check requests refuse unknown fields, and resources are made of the same structs. On disk an
unknown field is no mistake; it is the trace of a release that knew it.
"""

from __future__ import annotations

from typing import Any, cast

import msgspec
from msgspec import inspect


class Tolerant:
    """A decoder of one class that drops what the class does not know."""

    def __init__(self, kind: type[Any]) -> None:
        self._strict = msgspec.json.Decoder(kind)
        self._kind = kind

    def decode(self, text: bytes | str | msgspec.Raw) -> Any:  # noqa: ANN401 - of the class it was made for
        """The value; the slow road is taken only where the quick one fails."""
        try:
            return self._strict.decode(text)
        except msgspec.ValidationError:
            known = _known(msgspec.json.decode(text), inspect.type_info(self._kind))
            return self._strict.decode(msgspec.json.encode(known))


def _known(value: object, shape: inspect.Type) -> object:
    """The part of a value that its type has a place for; the decoder refuses what does not fit."""
    match value, shape:
        case _, inspect.UnionType():
            return _known(value, _member(value, shape.types))
        case dict(), inspect.StructType():
            fields = {field.encode_name: field.type for field in shape.fields}
            if shape.tag_field is not None:
                fields[shape.tag_field] = inspect.AnyType()
            rows = cast("dict[str, object]", value)
            return {name: _known(each, fields[name]) for name, each in rows.items() if name in fields}
        case dict(), inspect.DictType():
            rows = cast("dict[str, object]", value)
            return {name: _known(each, shape.value_type) for name, each in rows.items()}
        case (
            list(),
            inspect.ListType() | inspect.VarTupleType() | inspect.SetType() | inspect.FrozenSetType(),
        ):
            return [_known(each, shape.item_type) for each in cast("list[object]", value)]
        case _:
            return value


def _member(value: object, types: tuple[inspect.Type, ...]) -> inspect.Type:
    """Which type of a union an object is meant for: the struct with its tag, or else the only one."""
    for each in types:
        if isinstance(value, dict) and isinstance(each, inspect.StructType):
            tag = cast("dict[str, object]", value).get(each.tag_field) if each.tag_field else None
            if tag == each.tag:
                return each
        if isinstance(value, dict) and isinstance(each, inspect.DictType):
            return each
        if isinstance(value, list) and isinstance(each, inspect.ListType | inspect.VarTupleType):
            return each
    return inspect.AnyType()
