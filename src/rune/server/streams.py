"""A server's stream over HTTP: Server-Sent Events, or one JSON object a line.

The head of the answer waits for the first item, so that what is refused keeps its status; where nothing comes
for a moment, the head goes out alone. The handler is never asked for more than the reader has taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, Protocol

import msgspec

from rune.api import Operation, wirejson
from rune.api.common import EventType
from rune.api.fields import Message
from rune.core.dispatch import Dispatcher
from rune.errors import RuneError
from rune.server.answers import encoded
from rune.server.drain import Streams
from rune.server.exchange import Exchange
from rune.server.failures import plain

SSE, NDJSON = b"text/event-stream", b"application/x-ndjson"
KEEPALIVE_SECONDS = 15.0
HEAD_SECONDS = 0.5
"""How long the head waits for the first item."""
SEND_SECONDS = 60.0
"""A reader that takes nothing for so long is let go."""
EVENTS = {EventType.ADDED: "added", EventType.MODIFIED: "modified", EventType.DELETED: "deleted"}
Ask = Callable[[], Message]


class Door(Protocol):
    """What a stream needs of its door."""

    dispatcher: Dispatcher
    streams: Streams


async def serve(door: Door, exchange: Exchange, *, operation: Operation[Any, Any], ask: Ask) -> None:
    """Answer with the operation's stream; raises what fails before the first item."""
    lines = NDJSON.decode() in exchange.headers.get("accept", "")
    writer = _Writer(exchange, _Lines() if lines else _Events(operation))
    try:
        async with (
            door.streams.running(),
            aclosing(door.dispatcher.stream(operation, exchange.who, _only(ask))) as items,
        ):
            await _while_there_is_a_reader(exchange, writer, items)
    except RuneError as failure:
        if not exchange.answered:
            raise
        await writer.fail(failure)
    await writer.end()


async def _only(ask: Ask) -> AsyncIterator[Ask]:
    yield ask


class _Gone(Exception):
    """The reader is gone."""


async def _while_there_is_a_reader(
    exchange: Exchange, writer: _Writer, items: AsyncIterator[Message]
) -> None:
    """Copy items until they end; raises what they raise."""
    try:
        async with asyncio.TaskGroup() as group:
            beside = [group.create_task(_leave(exchange)), group.create_task(writer.keep_alive())]
            await writer.copy(items)
            for task in beside:
                task.cancel()
    except* _Gone:
        pass
    except* RuneError as failures:
        raise failures.exceptions[0] from None


async def _leave(exchange: Exchange) -> None:
    while (await exchange.receive())["type"] != "http.disconnect":
        pass
    raise _Gone


class _Writer:
    """Writes a stream's frames, one at a time and not before the reader takes them."""

    def __init__(self, exchange: Exchange, frames: _Lines | _Events) -> None:
        self._exchange, self._frames = exchange, frames
        self._turn = asyncio.Lock()
        self._last = 0.0

    async def copy(self, items: AsyncIterator[Message]) -> None:
        """Every item as a frame."""
        async for item in items:
            await self._write(self._frames.item(item, self._exchange))
        await self._write(b"")

    async def keep_alive(self) -> None:
        """The head after a moment, and something to read at least each `KEEPALIVE_SECONDS`."""
        now = asyncio.get_running_loop().time
        await asyncio.sleep(HEAD_SECONDS)
        if not self._exchange.answered:
            await self._write(self._frames.idle)
        while True:
            await asyncio.sleep(max(self._last + KEEPALIVE_SECONDS - now(), 0.001))
            if now() - self._last >= KEEPALIVE_SECONDS:
                await self._write(self._frames.idle)

    async def fail(self, failure: RuneError) -> None:
        """The failure as the last frame."""
        await self._write(self._frames.failure(plain(failure, self._exchange.who.request_id)))

    async def end(self) -> None:
        """No more frames."""
        await self._exchange.send({"type": "http.response.body", "body": b""})

    async def _write(self, frame: bytes) -> None:
        exchange = self._exchange
        try:
            async with asyncio.timeout(SEND_SECONDS), self._turn:
                if not exchange.answered:
                    await exchange.begin(200, self._frames.kind)
                await exchange.send({"type": "http.response.body", "body": frame, "more_body": True})
        except TimeoutError as error:
            raise _Gone from error
        self._last = asyncio.get_running_loop().time()


class _Lines:
    """`{"result": …}` or `{"error": …}` a line, as grpc-gateway writes streams."""

    kind = NDJSON
    idle = b"\n"

    def item(self, item: Message, exchange: Exchange) -> bytes:
        return b'{"result":%b}\n' % encoded(wirejson.encode, item, exchange.who)

    def failure(self, failure: dict[str, Any]) -> bytes:
        return msgspec.json.encode({"error": failure}) + b"\n"


class _Events:
    """Server-Sent Events; an item that knows its revision gives it as the event's id."""

    kind = SSE
    idle = b": keepalive\n\n"

    def __init__(self, operation: Operation[Any, Any]) -> None:
        self._word = "log" if operation.resource == "logs" else "message"

    def item(self, item: Message, exchange: Exchange) -> bytes:
        text = encoded(wirejson.encode, item, exchange.who)
        revision = getattr(item, "revision", 0)
        word = EVENTS.get(getattr(item, "event_type", EventType.UNSPECIFIED), self._word)
        name = (
            b"id: %d\nevent: %b\n" % (revision, word.encode()) if revision else b"event: %b\n" % word.encode()
        )
        return b"%bdata: %b\n\n" % (name, text)

    def failure(self, failure: dict[str, Any]) -> bytes:
        return b"event: error\ndata: %b\n\n" % msgspec.json.encode(failure)
