"""The terminal as `rune exec` needs it: raw, measured, and read without holding up anything else."""

from __future__ import annotations

import asyncio
import contextlib
import os
import termios
import threading
import tty
from collections.abc import AsyncGenerator, Generator
from typing import Any, TextIO

from rune.api.orchestrator.exec import TerminalSize

PIECE = 32 * 1024
AHEAD = 16
"""How many pieces of input may wait to be sent; a file is read no faster than it is taken."""


def size(stream: TextIO) -> TerminalSize:
    """Columns and rows of the stream's terminal."""
    try:
        found = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return TerminalSize(width=80, height=24)
    return TerminalSize(width=found.columns, height=found.lines)


@contextlib.contextmanager
def raw(stream: TextIO, *, when: bool) -> Generator[None]:
    """Every key goes to the inner command, also Ctrl-C; the terminal is as it was afterwards."""
    if not when:
        yield
        return
    descriptor = stream.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor, termios.TCSADRAIN)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


class Keyboard:
    """What somebody types, and whatever else goes to the inner command in order with it.

    A thread reads, since a file cannot be waited for; it ends with the process.
    """

    def __init__(self, stream: TextIO) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Any] = asyncio.Queue()
        self._room = threading.Semaphore(AHEAD)
        try:
            descriptor = stream.fileno()
        except (OSError, ValueError):
            self._queue.put_nowait(b"")
            return
        threading.Thread(target=self._read, args=(descriptor,), name="rune-stdin", daemon=True).start()

    def put(self, item: object) -> None:
        """Send something that was not typed."""
        self._queue.put_nowait(item)

    async def items(self) -> AsyncGenerator[Any]:
        """Bytes that were typed, and what was put; ends with the input."""
        while True:
            item = await self._queue.get()
            if isinstance(item, bytes):
                self._room.release()
                if not item:
                    return
            yield item

    def _read(self, descriptor: int) -> None:
        while True:
            self._room.acquire()
            try:
                data = os.read(descriptor, PIECE)
            except OSError:
                data = b""
            try:
                self._loop.call_soon_threadsafe(self._queue.put_nowait, data)
            except RuntimeError:
                return  # the command is over, and its loop closed
            if not data:
                return
