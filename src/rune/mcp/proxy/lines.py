"""Lines from and to pipes: one line in memory at a time, at most of a given length, and no reading ahead
of it.
"""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from collections.abc import AsyncIterator
from typing import Protocol

from rune.errors import ResourceExhausted

CHUNK = 1 << 16
MOST_MIB = 16
"""The longest message unless told otherwise; a picture of some megabytes fits."""


class Lane(Protocol):
    """One side of the proxy: messages that come from it, and the way to it."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Each message as a line; raises ResourceExhausted for one that is too long."""
        ...

    async def send(self, line: bytes) -> None:
        """Returns when there is room for more."""
        ...

    async def end(self) -> None:
        """Nothing more will be sent."""
        ...


class Pipes:
    """A lane of two pipes."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, most: int, name: str
    ) -> None:
        self._reader, self._writer, self._most, self._name = reader, writer, most, name

    async def __aiter__(self) -> AsyncIterator[bytes]:
        rest = bytearray()
        while chunk := await self._reader.read(CHUNK):
            *lines, last = chunk.split(b"\n")
            for line in lines:
                whole = bytes(rest + line) if rest else line
                rest.clear()
                self._check(len(whole))
                if whole.strip():
                    yield whole
            rest += last
            self._check(len(rest))
        if rest.strip():
            yield bytes(rest)

    def _check(self, size: int) -> None:
        if size > self._most:
            raise ResourceExhausted(
                f"a message from the {self._name} is larger than {self._most >> 20} MiB (--max-message-mib)"
            )

    async def send(self, line: bytes) -> None:
        """Raises BrokenPipeError or ConnectionResetError when nobody reads any more."""
        self._writer.write(line)
        await self._writer.drain()

    async def end(self) -> None:
        self._writer.close()


async def standard(*, most: int) -> Pipes:
    """Our own stdin and stdout. Whatever else of this process prints goes to stderr from now on."""
    incoming, outgoing = os.dup(0), os.dup(1)
    os.dup2(2, 1)
    return Pipes(await reading(incoming), await writing(outgoing), most=most, name="client")


async def reading(descriptor: int) -> asyncio.StreamReader:
    """A reader for a pipe, or for a file by way of one."""
    if not _is_pipe(descriptor):
        descriptor = _pumped(descriptor, outwards=False)
    reader = asyncio.StreamReader(limit=CHUNK)
    file = os.fdopen(descriptor, "rb", buffering=0)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
    return reader


async def writing(descriptor: int) -> asyncio.StreamWriter:
    """A writer for a pipe, or for a file by way of one."""
    if not _is_pipe(descriptor):
        descriptor = _pumped(descriptor, outwards=True)
    loop = asyncio.get_running_loop()
    file = os.fdopen(descriptor, "wb", buffering=0)
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, file)
    return asyncio.StreamWriter(transport, protocol, None, loop)


def _is_pipe(descriptor: int) -> bool:
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(descriptor)


def _pumped(descriptor: int, *, outwards: bool) -> int:
    """An event loop cannot wait for files: a thread copies between one and a pipe, whose other end this
    is.
    """
    read, write = os.pipe()
    ours, source, target = (write, read, descriptor) if outwards else (read, descriptor, write)

    def copy() -> None:
        try:
            while chunk := os.read(source, CHUNK):
                os.write(target, chunk)
        except OSError:
            return  # the other end is closed: nobody wants the rest
        finally:
            os.close(source)
            os.close(target)

    threading.Thread(target=copy, daemon=not outwards, name="rune-mcp file").start()
    return ours
