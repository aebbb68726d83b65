"""A connection that the Engine turns into a pipe: after the answer's head, bytes go both ways as they are.

aiodocker has such streams, but cannot close one direction, which is how stdin ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from rune.errors import Unavailable
from rune.orchestrator.runners.docker.engine import CONNECT, Engine, Failure, Refused

HEADER = struct.Struct(">BxxxL")
STREAMS = {1: "stdout", 2: "stderr"}

CHUNK = 64 * 1024

ANSWER = 30.0

SWITCHED = {101, 200}


class Pipe:
    """Both directions of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._stream = ""
        self._left = 0

    async def raw(self) -> tuple[str, bytes] | None:
        """A chunk of a terminal; None at the end."""
        chunk = await self._read(CHUNK)
        return ("stdout", chunk) if chunk else None

    async def frame(self) -> tuple[str, bytes] | None:
        """A chunk and the stream it belongs to; None at the end."""
        while not self._left:
            try:
                stream, self._left = HEADER.unpack(await self._reader.readexactly(HEADER.size))
            except (asyncio.IncompleteReadError, OSError):
                return None
            self._stream = STREAMS.get(stream, "stdout")
        chunk = await self._read(min(self._left, CHUNK))
        self._left -= len(chunk)
        return (self._stream, chunk) if chunk else None

    async def write(self, data: bytes) -> None:
        """Waits while the other end does not read; what cannot be sent any more is dropped."""
        with contextlib.suppress(OSError):
            if not self._writer.is_closing():
                self._writer.write(data)
                await self._writer.drain()

    def end(self) -> None:
        """Close our direction."""
        with contextlib.suppress(OSError):
            if not self._writer.is_closing():
                self._writer.write_eof()

    async def close(self) -> None:
        """Close both. Twice is fine."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def _read(self, most: int) -> bytes:
        try:
            return await self._reader.read(most)
        except OSError:
            return b""


async def dial(engine: Engine, path: str, body: Mapping[str, object]) -> Pipe:
    """Ask for a pipe; raises Refused with the Engine's reason, Unavailable when it is out of reach."""
    try:
        async with asyncio.timeout(CONNECT):
            reader, writer = await _connect(engine.url)
    except (OSError, TimeoutError) as error:
        raise Unavailable(f"the Docker Engine at {engine.url} is out of reach: {error}") from error
    try:
        async with asyncio.timeout(ANSWER):
            writer.write(_request(f"/{engine.docker.api_version}/{path}", body))
            await _agree(reader)
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        writer.close()
        raise Unavailable(f"the Docker Engine at {engine.url} gave no answer") from error
    except BaseException:
        writer.close()
        raise
    return Pipe(reader, writer)


async def _connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    address = urlsplit(url)
    if address.scheme == "unix":
        return await asyncio.open_unix_connection(address.path)
    if address.scheme in {"tcp", "http"} and address.hostname:
        return await asyncio.open_connection(address.hostname, address.port or 2375)
    raise Unavailable(f"commands need an Engine at unix:// or tcp://, not {url}")


def _request(path: str, body: Mapping[str, object]) -> bytes:
    content = msgspec.json.encode(body)
    head = (
        f"POST {path} HTTP/1.1",
        "Host: docker",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        "Connection: Upgrade",
        "Upgrade: tcp",
    )
    return "\r\n".join(head).encode("ascii") + b"\r\n\r\n" + content


async def _agree(reader: asyncio.StreamReader) -> None:
    """Read the head of the answer; the rest is the pipe, or the reason why there is none."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(head[0].split()[1])
    if status in SWITCHED:
        return
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    body = await reader.readexactly(min(int(headers.get("content-length", 0)), CHUNK))
    try:
        reason = msgspec.json.decode(body, type=Failure).message
    except msgspec.MsgspecError:
        reason = body.decode(errors="replace")
    raise Refused(status, reason, what="run a command")
