"""The server behind the proxy as a child process: its pipes, its end, and signals on their way to it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Self

from rune.errors import NotFound, PermissionDenied, RuneError, Unavailable
from rune.mcp.proxy.lines import CHUNK, Pipes

GRACE = 1.5
"""Seconds that a server has to end after its input did, and again after SIGTERM. Hosts give the guard
about four for both, and then kill it; whatever it had not ended by then would live on."""


class Child:
    """A server in a process group of its own, so that what it started ends with it. Its stderr is ours."""

    def __init__(self, process: asyncio.subprocess.Process, *, most: int) -> None:
        if process.stdout is None or process.stdin is None:
            raise TypeError("the process was started without pipes")
        self.lane = Pipes(process.stdout, process.stdin, most=most, name="server")
        self._process = process

    @classmethod
    async def start(cls, command: Sequence[str], environ: Mapping[str, str], *, most: int) -> Self:
        """Raises NotFound, PermissionDenied or Unavailable when it cannot be started."""
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=pipe, stdout=pipe, env=environ, limit=CHUNK, start_new_session=True
            )
        except OSError as error:
            raise _failure(error)(f"the server {command[0]!r} cannot be started: {error.strerror}") from error
        return cls(process, most=most)

    async def wait(self) -> int:
        """Its exit code as a shell would say it: 128 and the signal's number where one killed it."""
        code = await self._process.wait()
        return 128 - code if code < 0 else code

    async def stop(self) -> None:
        """Ends it and all that it started, in three steps: end of input, SIGTERM, SIGKILL."""
        await self.lane.end()
        for number in (signal.SIGTERM, signal.SIGKILL):
            if await self._ended(GRACE):
                break
            self.signal(number)
        await self._process.wait()
        self.signal(signal.SIGKILL)

    async def close(self) -> None:
        """As `stop`, when nobody reads its output any more: a server that is stuck writing could not end."""
        draining = asyncio.ensure_future(self._drain())
        try:
            await self.stop()
        finally:
            draining.cancel()
            await asyncio.gather(draining, return_exceptions=True)

    async def _drain(self) -> None:
        while self._process.stdout is not None and await self._process.stdout.read(CHUNK):
            pass

    async def _ended(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._process.wait()
        return self._process.returncode is not None

    def signal(self, number: int) -> None:
        """To its whole group; nothing where there is none any more."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def _failure(error: OSError) -> type[RuneError]:
    kinds: dict[type[OSError], type[RuneError]] = {
        FileNotFoundError: NotFound,
        PermissionError: PermissionDenied,
    }
    return kinds.get(type(error), Unavailable)
