"""Exec over a WebSocket: the words are JSON text frames, the bytes are binary frames.

docs/reference/exec-websocket.md is the protocol. The connection becomes one call of `stream_exec`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any, Protocol

import msgspec

from rune.api import by_name, wirejson
from rune.api.orchestrator.exec import ExecRequest, ExecResponse
from rune.api.validate import build
from rune.core.call import Caller
from rune.core.dispatch import Dispatcher
from rune.errors import InvalidArgument, PermissionDenied, RuneError, Violation
from rune.server.answers import encoded
from rune.server.asgi import Receive, Scope, Send
from rune.server.callers import place_of
from rune.server.drain import Streams
from rune.server.exchange import Exchange
from rune.server.failures import plain

PROTOCOL = "rune.exec.v1"
BEARER = "rune.bearer."
STDIN, STDOUT, STDERR = 0, 1, 2
INSTANCE = re.compile(r".+-instance-[0-9a-f]{8}")
WHERE = frozenset({"service_name", "instance_id", "namespace"})
WAITING = 16
"""Frames of input that wait for the command; more stay with the sender."""
SEND_SECONDS = 60.0
CLOSE_BASE = 4000
"""A failure closes the socket with this and its HTTP status: 4403."""

Ask = Callable[[], ExecRequest]


class Door(Protocol):
    """What a terminal needs of its door."""

    dispatcher: Dispatcher
    streams: Streams


class Place(msgspec.Struct, frozen=True):
    """What the path says: where the command shall run."""

    namespace: str
    target: str


async def serve(door: Door, exchange: Exchange, *, place: Place, who: Caller) -> None:
    """One connection, from its handshake to its end."""
    await exchange.receive()  # websocket.connect
    offered: list[str] = exchange.scope.get("subprotocols", [])
    chosen = PROTOCOL if PROTOCOL in offered else None
    await exchange.send({"type": "websocket.accept", "subprotocol": chosen})
    socket = _Socket(exchange.receive, exchange.send, place)
    try:
        _refuse_strangers(exchange.headers)
        async with door.streams.running():
            await _talk(door.dispatcher, socket, who)
        await socket.close(1000)
    except _Gone:
        pass
    except RuneError as failure:
        await socket.tell({"error": plain(failure, who.request_id)})
        await socket.close(CLOSE_BASE + failure.codes.http)


def bearer(scope: Scope) -> str:
    """The token among the subprotocols, where a browser has to put it."""
    offered: list[str] = scope.get("subprotocols", [])
    return next((name.removeprefix(BEARER) for name in offered if name.startswith(BEARER)), "")


def _refuse_strangers(headers: Mapping[str, str]) -> None:
    """A browser sends the page's origin along; only pages of this server may talk to it."""
    origin = headers.get("origin")
    if origin and place_of(origin) != headers.get("host"):
        raise PermissionDenied("a page of another origin may not open a terminal here")


class _Gone(Exception):
    """The other side is gone."""


async def _talk(dispatcher: Dispatcher, socket: _Socket, who: Caller) -> None:
    """Both directions at once, until the command ends or the other side leaves; raises what fails."""
    try:
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(socket.read())
            operation = by_name("stream_exec")
            async with aclosing(dispatcher.stream(operation, who, socket.asks())) as items:
                async for item in items:
                    await socket.answer(item, who)
            reading.cancel()
    except* (RuneError, _Gone) as failures:
        failure: BaseException = failures
        while isinstance(failure, BaseExceptionGroup):
            failure = failure.exceptions[0]
        raise failure from None


class _Socket:
    """The frames of one connection."""

    def __init__(self, receive: Receive, send: Send, place: Place) -> None:
        self._receive, self._send, self._place = receive, send, place
        self._frames: asyncio.Queue[bytes | str] = asyncio.Queue(WAITING)
        self._closed = False

    async def read(self) -> None:
        """Queue what comes; raises _Gone when the other side leaves."""
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                raise _Gone
            data = message.get("bytes")
            await self._frames.put(data if data is not None else message.get("text", ""))

    async def asks(self) -> AsyncIterator[Ask]:
        """What was said, the first being what to run; ends at the end of the input."""
        yield partial(self._first, await self._frames.get())
        while (frame := await self._frames.get()) != bytes([STDIN]):
            yield partial(_request, frame)

    async def answer(self, item: ExecResponse, who: Caller) -> None:
        """One answer as a frame."""
        for stream, data in ((STDOUT, item.stdout), (STDERR, item.stderr)):
            if data is not None:
                await self._give({"bytes": bytes([stream]) + data})
                return
        await self._give({"text": encoded(wirejson.encode, item, who).decode()})

    async def tell(self, words: dict[str, Any]) -> None:
        """A text frame."""
        await self._give({"text": msgspec.json.encode(words).decode()})

    async def close(self, code: int) -> None:
        """The last frame."""
        if not self._closed:
            await self._send({"type": "websocket.close", "code": code})

    async def _give(self, frame: dict[str, Any]) -> None:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._send({"type": "websocket.send", **frame})
        except (TimeoutError, OSError) as error:
            self._closed = True
            raise _Gone from error

    def _first(self, frame: bytes | str) -> ExecRequest:
        """What to run; where to is said by the path."""
        if not isinstance(frame, str):
            raise InvalidArgument.of([Violation("init", "must come first, as a text frame")])
        data = wirejson.from_plain(ExecRequest, wirejson.parse(frame.encode()))
        init = data.get("init")
        if not isinstance(init, dict) or len(data) != 1:
            raise InvalidArgument.of([Violation("init", "must come first, and alone")])
        if given := sorted(WHERE & init.keys()):
            raise InvalidArgument.of([Violation(f"init.{name}", "is said by the path") for name in given])
        target = "instance_id" if INSTANCE.fullmatch(self._place.target) else "service_name"
        where = {"namespace": self._place.namespace, target: self._place.target}
        return build(ExecRequest, {"init": {**init, **where}})


def _request(frame: bytes | str) -> ExecRequest:
    if isinstance(frame, str):
        return wirejson.decode(ExecRequest, frame.encode())
    if not frame or frame[0] != STDIN:
        raise InvalidArgument(f"a binary frame begins with {STDIN}, the number of its stream")
    return ExecRequest(stdin=frame[1:])
