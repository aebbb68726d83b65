"""Streams as bounded reads: an assistant asks once and gets one answer, whatever goes on."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Annotated, Any, Protocol

import msgspec
from msgspec import Meta

from rune.api import Operation, wirejson
from rune.api.fields import Message
from rune.api.schemas import Json
from rune.api.shape import Field, fields
from rune.client.client import Client
from rune.mcp import schemas

MOST_BYTES = 128 << 10
"""How much of a stream is kept; an assistant has to read it all."""
GRACE = 5.0
"""Seconds that the server gets beyond ours before the call is cut off."""


class Bounds(Message):
    """How much of a stream to read."""

    max_items: Annotated[int, Meta(ge=1, le=1000, extra={"proto": "int32"})] = 200
    """Stop after this many items."""
    max_seconds: Annotated[int, Meta(ge=1, le=300, extra={"proto": "int32"})] = 30
    """Stop after this many seconds, also when the stream would go on."""


class Collector(Protocol):
    """What is made of a stream's items."""

    def take(self, item: Message) -> str:
        """Add one; says why no more can be taken, or nothing."""
        ...

    def plain(self) -> Json:
        """All of it, as plain data."""
        ...


async def read(client: Client, operation: Operation[Any, Any], request: Message, *, bounds: Bounds) -> Json:
    """What the stream gave within the bounds; `complete` says whether that was all, `stopped` why not."""
    items, stopped = collector(operation.response, bounds), ""
    answers = client.stream(operation, request, timeout=bounds.max_seconds + GRACE)
    async with aclosing(answers):
        try:
            async with asyncio.timeout(bounds.max_seconds):
                async for answer in answers:
                    stopped = items.take(answer)
                    if stopped:
                        break
        except TimeoutError:
            stopped = f"after {bounds.max_seconds} seconds"
    return {**items.plain(), "complete": not stopped, "stopped": stopped}


def collector(model: type[Message], bounds: Bounds) -> Collector:
    """Items that are pieces of one whole (all their fields in one group) are joined, others are listed."""
    return _Joined(model) if _is_pieces(model) else _Listed(bounds.max_items)


def schema(model: type[Message]) -> Json:
    """The JSON Schema of what `read` gives."""
    properties: Json = {
        "complete": {"type": "boolean", "description": "The stream ended by itself."},
        "stopped": {"type": "string", "description": "Why no more was read; empty when complete."},
    }
    if _is_pieces(model):
        pieces = {field.json: _piece(model, field) for field in schemas.supported(model)}
        dropped: Json = {
            "type": "integer",
            "description": f"Output past {MOST_BYTES} bytes, which is not kept.",
        }
        properties = pieces | {"droppedBytes": dropped} | properties
    else:
        properties = {"items": {"type": "array", "items": schemas.definition(model)}} | properties
    whole: Json = {"type": "object", "required": ["complete", "stopped"], "properties": properties}
    return schemas.within(whole, [model])


def _is_pieces(model: type[Message]) -> bool:
    return len({field.oneof for field in fields(model)}) == 1 and bool(fields(model)[0].oneof)


def _piece(model: type[Message], field: Field) -> Json:
    if field.python is bytes:
        return {"type": "string", "description": "As text; bytes that are not UTF-8 show as U+FFFD."}
    return schemas.field_schema(model, field)


class _Listed:
    """Items one after the other."""

    def __init__(self, most: int) -> None:
        self._most, self._size = most, 0
        self._items: list[Json] = []

    def take(self, item: Message) -> str:
        plain = wirejson.to_plain(item)
        self._size += len(msgspec.json.encode(plain))
        if self._size > MOST_BYTES:
            return f"after {MOST_BYTES >> 10} KiB"
        self._items.append(plain)
        return f"after {self._most} items" if len(self._items) >= self._most else ""

    def plain(self) -> Json:
        return {"items": self._items}


class _Joined:
    """Bytes run together, of everything else the last. Bytes past the limit are dropped: the end matters."""

    def __init__(self, model: type[Message]) -> None:
        self._fields = fields(model)
        self._texts = {field.json: bytearray() for field in self._fields if field.python is bytes}
        self._last: Json = {}
        self._dropped = 0

    def take(self, item: Message) -> str:
        for field in self._fields:
            value = getattr(item, field.name)
            if value is None:
                continue
            if isinstance(value, bytes):
                self._add(self._texts[field.json], value)
            else:
                self._last[field.json] = wirejson.to_plain(value) if isinstance(value, Message) else value
        return ""

    def _add(self, text: bytearray, more: bytes) -> None:
        room = max(0, MOST_BYTES - sum(map(len, self._texts.values())))
        text += more[:room]
        self._dropped += len(more[room:])

    def plain(self) -> Json:
        texts = {name: bytes(text).decode(errors="replace") for name, text in self._texts.items()}
        return {**texts, **self._last, **({"droppedBytes": self._dropped} if self._dropped else {})}
