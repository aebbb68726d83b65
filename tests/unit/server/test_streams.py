"""What time and a slow reader do to a stream, in virtual time and without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from rune.api.orchestrator import logs
from rune.core.clock import ManualClock
from rune.server.rest import Rest
from surface.standins import TOKEN, Shelf, dispatcher

Frame = MutableMapping[str, Any]
SCOPE = {
    "type": "http",
    "method": "GET",
    "path": "",
    "headers": [(b"authorization", f"Bearer {TOKEN}".encode())],
    "client": ("127.0.0.1", 1),
}


class Reader:
    """One HTTP client: takes frames while it may, and stays until it is told to leave."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.takes = asyncio.Event()
        self.takes.set()
        self.leaves = asyncio.Event()

    async def send(self, message: Frame) -> None:
        await self.takes.wait()
        self.frames.append(message.get("body", b"head"))

    async def receive(self) -> Frame:
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def read(self, rest: Rest, address: str, *, seconds: float) -> None:
        """Ask, and go away after so many seconds."""
        path, _, query = address.partition("?")
        scope = {**SCOPE, "path": path, "query_string": query.encode()}
        async with asyncio.TaskGroup() as group:
            group.create_task(rest(scope, self.receive, self.send))
            try:
                async with asyncio.timeout(seconds):
                    await asyncio.Event().wait()
            except TimeoutError:
                self.leaves.set()


@pytest.mark.looptime
async def test_a_silent_stream_says_every_quarter_of_a_minute_that_it_lives() -> None:
    road = dispatcher()
    Shelf(road)
    reader = Reader()
    await reader.read(Rest(road, ManualClock()), "/v1/namespaces/default/services?watch=true", seconds=46)
    keepalive = b": keepalive\n\n"
    assert reader.frames == [b"head", keepalive, keepalive, keepalive, keepalive, b""]


@pytest.mark.looptime
async def test_a_reader_that_takes_nothing_holds_the_handler_back_and_is_let_go() -> None:
    road = dispatcher()
    made: list[int] = []

    @road.handles(logs.get)
    async def endless(call: object, ask: object) -> Any:
        for number in range(1_000_000):
            made.append(number)
            yield logs.LogResponse(content=str(number))

    reader = Reader()
    reader.takes.clear()
    began = asyncio.get_running_loop().time()
    rest = Rest(road, ManualClock())
    async with asyncio.timeout(200):
        scope = {**SCOPE, "path": "/v1/namespaces/default/logs/api", "query_string": b""}
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(rest(scope, reader.receive, reader.send))
            await asyncio.wait([asking], timeout=70)
            reader.takes.set()
    assert len(made) < 4
    assert asyncio.get_running_loop().time() - began < 71
    assert len(rest.streams) == 0
