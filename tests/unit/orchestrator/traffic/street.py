"""Doors on loopback and copies behind them that do as they are told."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from rune.orchestrator.traffic.doors import Door
from rune.orchestrator.traffic.exposure import Place
from rune.orchestrator.traffic.pool import Endpoint, Loads, Pool
from rune.orchestrator.traffic.relay import RESET, Bounds, Counts

PATIENCE = 10.0


class Copy:
    """A server that says back, in order, what it is told; it counts who came."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.came = 0
        self.streams: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.arrived = asyncio.Event()
        self.is_mute = False
        self._server: asyncio.Server | None = None
        self.endpoint = Endpoint(name, "", 0)

    async def open(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.endpoint = Endpoint(self.name, *self._server.sockets[0].getsockname())

    def shut(self) -> None:
        """Listen no more; who is there stays."""
        if self._server:
            self._server.close()

    def kill(self) -> None:
        """Reset every connection, as the kernel does for a program that dies with unread input."""
        for _, writer in self.streams:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()

    async def close(self) -> None:
        """Listen no more, and end what is there."""
        self.shut()
        for _, writer in self.streams:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.came += 1
        self.streams.append((reader, writer))
        self.arrived.set()
        if self.is_mute:
            return
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.close()


@dataclass
class Street:
    """A door, its pool and what it counts."""

    group: asyncio.TaskGroup
    loads: Loads = field(default_factory=Loads)
    counts: Counts = field(default_factory=Counts)
    copies: list[Copy] = field(default_factory=list[Copy])

    def __post_init__(self) -> None:
        self.pool = Pool(self.loads)
        self.door = self.made()

    def made(self, bounds: Bounds | None = None) -> Door:
        """Another door of the same pool, not open yet."""
        bounds = bounds or Bounds(connect=1.0, wait=1.0)
        place = Place("127.0.0.1", 0)
        return Door(place, self.pool, self.counts, spawn=self.group.create_task, bounds=bounds)

    async def settle(self, *names: str) -> list[Copy]:
        """Copies that listen, in the pool."""
        made = [Copy(name) for name in names]
        for copy in made:
            await copy.open()
        self.copies += made
        self.pool.fill(copy.endpoint for copy in self.copies)
        return made

    async def connect(self, door: Door | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A client's connection."""
        return await asyncio.open_connection(*(door or self.door).place)

    async def says(self, text: bytes, door: Door | None = None) -> bytes:
        """What comes back for a word, over a connection of its own."""
        async with asyncio.timeout(PATIENCE):
            reader, writer = await self.connect(door)
            try:
                writer.write(text)
                writer.write_eof()
                return await reader.read()
            finally:
                writer.transport.abort()

    async def says_nothing(self) -> None:
        """One turn of the loop."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(turn.set_result, None)
        await turn


@asynccontextmanager
async def opened() -> AsyncGenerator[Street]:
    async with asyncio.TaskGroup() as group:
        street = Street(group)
        street.door.open()
        try:
            yield street
        finally:
            street.door.close()
            street.door.cut()
            for copy in street.copies:
                await copy.close()


def free_port() -> int:
    """A port that nobody has at the moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
