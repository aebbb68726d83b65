"""Cells: what a field of any message looks like in a table or a line."""

from __future__ import annotations

from typing import Any

import msgspec

from rune.api.fields import Message, WireEnum
from rune.api.shape import Field, fields
from rune.cli import output
from rune.core.clock import SystemClock


def columns(model: type[Message]) -> list[Field]:
    """What a row of a table can show of a message."""
    return [part for part in fields(model) if _fits(part)]


def _fits(field: Field) -> bool:
    return not field.is_message and field.name != "revision"


def cell(message: Message, field: Field) -> str:
    """A field as text."""
    value = getattr(message, field.name)
    if field.is_time:
        return output.age(value, SystemClock().now())
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, dict)):
        return _joined(value)  # pyright: ignore[reportUnknownArgumentType] - a field's list or map
    return output.word(value) if isinstance(value, WireEnum) else str(value)


def _joined(value: list[Any] | dict[str, Any]) -> str:
    if isinstance(value, dict):
        return ",".join(f"{key}={text}" for key, text in value.items())
    simple = [item if isinstance(item, str) else msgspec.json.encode(item).decode() for item in value]
    return ",".join(simple)
