"""A command inside an instance, seen from runed: its pipes or terminal, and a connection that is its life.

The keeper forks it (it has the instance's environment, user, cgroup) with our ends of pipes; bytes go
straight between us and the command. When the connection ends, the keeper kills it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import signal
import socket
import struct
import termios
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from rune.errors import FailedPrecondition, Unavailable
from rune.orchestrator.runners import checks, link
from rune.orchestrator.runners.base import Command

CHUNK = 64 * 1024

END_OF_INPUT = b"\x04"
"""Ctrl-D: how a terminal says that there is no more."""

START = 10.0
"""Seconds a command may take to start."""

_decode = msgspec.json.Decoder(link.Answer).decode


async def start(data: Path, instance: str, command: Command) -> ProcessSession:
    """Ask the keeper for it; raises FailedPrecondition with the reason when it cannot be started."""
    ours, theirs = _terminal(command) if command.tty else _pipes()
    try:
        reader, writer = await _ask(data, instance, command, theirs=theirs)
    except BaseException:
        for fd in ours:
            os.close(fd)
        raise
    finally:
        for fd in theirs:
            os.close(fd)
    session = ProcessSession(reader, writer, ours, tty=command.tty)
    try:
        await _begun(reader)
    except BaseException:  # whoever asked may have left: no end of it may stay open
        await session.close()
        raise
    return session


class ProcessSession:
    """A command that runs inside an instance."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ours: list[int], *, tty: bool
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._tty = tty
        self._input = ours[0]
        self._outputs = {ours[0]: "stdout"} if tty else {ours[1]: "stdout", ours[2]: "stderr"}
        self._ended = False
        self._exit: int | None = None
        self._waiting = asyncio.Lock()
        self._sleepers: set[asyncio.Future[None]] = set()

    async def output(self) -> AsyncIterator[tuple[str, bytes]]:
        """Chunks as they come, read when they are asked for: a slow reader slows the command."""
        while self._outputs:
            chunks = [(stream, fd, _read(fd)) for fd, stream in self._outputs.items()]
            for stream, fd, chunk in chunks:
                if chunk:
                    yield stream, chunk
                elif chunk is not None:
                    self._over(fd)
            if all(chunk is None for _, _, chunk in chunks):
                await self._ready(list(self._outputs), writing=False)

    async def write(self, data: bytes) -> None:
        """To its stdin; waits while it does not read. What it will never read is dropped."""
        view = memoryview(data)
        while view and self._input >= 0 and not self._ended:
            try:
                view = view[os.write(self._input, view) :]
            except BlockingIOError:
                await self._ready([self._input], writing=True)
            except OSError:
                return

    async def end_input(self) -> None:
        """Close stdin; in a terminal send Ctrl-D."""
        if self._ended:
            return
        self._ended = True
        if not self._tty:
            _forget(self._input)
            os.close(self._input)
            self._input = -1
        elif self._input >= 0:
            os.write(self._input, END_OF_INPUT)

    async def resize(self, width: int, height: int) -> None:
        """Sets the terminal's size; the kernel tells the foreground group."""
        if self._tty and self._input >= 0:
            fcntl.ioctl(self._input, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    async def signal(self, name: str) -> None:
        """To the foreground group of the terminal, or to the group of the command."""
        number = checks.signal_number(name)
        group = os.tcgetpgrp(self._input) if self._tty and self._input >= 0 else 0
        if group > 0:
            with contextlib.suppress(ProcessLookupError):  # all of it has ended, and the next has not come
                os.killpg(group, number)
        elif not self._writer.is_closing():
            self._writer.write(msgspec.json.encode({"op": "signal", "signal": int(number)}) + b"\n")

    async def wait(self) -> int:
        """The exit code; 137 when the session, the keeper or runed was closed first."""
        async with self._waiting:
            while self._exit is None:
                line = await self._reader.readline()
                answer = _decode(line) if line else link.Answer(exit=128 + signal.SIGKILL)
                self._exit = answer.exit
        return self._exit

    async def close(self) -> None:
        """Kill what is left of it and free everything."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
        self._ended = True
        for fd in {self._input, *self._outputs} - {-1}:
            _forget(fd)
            os.close(fd)
        self._input = -1
        self._outputs.clear()
        for sleeper in self._sleepers:
            _wake(sleeper)

    async def _ready(self, fds: list[int], *, writing: bool) -> None:
        """Wait until one of them is ready, or the session is closed."""
        loop = asyncio.get_running_loop()
        add, remove = (
            (loop.add_writer, loop.remove_writer) if writing else (loop.add_reader, loop.remove_reader)
        )
        sleeper: asyncio.Future[None] = loop.create_future()
        self._sleepers.add(sleeper)
        for fd in fds:
            add(fd, _wake, sleeper)
        try:
            await sleeper
        finally:
            self._sleepers.discard(sleeper)
            open_still = {self._input, *self._outputs}
            for fd in open_still.intersection(fds):
                remove(fd)

    def _over(self, fd: int) -> None:
        del self._outputs[fd]
        if fd != self._input:
            _forget(fd)
            os.close(fd)


async def _ask(
    data: Path, instance: str, command: Command, *, theirs: list[int]
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        sock = await link.dial(data)
    except OSError as error:
        raise Unavailable(link.GONE) from error
    asked = {
        "op": "exec",
        "instance": instance,
        "command": list(command.command),
        "env": dict(command.env),
        "workdir": command.workdir,
    }
    try:
        socket.send_fds(sock, [b" "], theirs)
        await asyncio.get_running_loop().sock_sendall(sock, msgspec.json.encode(asked) + b"\n")
    except OSError as error:
        sock.close()
        raise Unavailable(link.GONE) from error
    return await asyncio.open_unix_connection(sock=sock)


async def _begun(reader: asyncio.StreamReader) -> None:
    """Until the command runs; raises FailedPrecondition or Unavailable with the reason why it does not."""
    try:
        async with asyncio.timeout(START):
            line = await reader.readline()
    except TimeoutError as error:
        message = f"the command did not start within {START:g} s"
        raise Unavailable(message) from error
    answer = _decode(line) if line else link.Answer(error=link.GONE)
    if answer.refused:
        raise FailedPrecondition(answer.refused)
    if answer.error:
        raise Unavailable(answer.error)


def _pipes() -> tuple[list[int], list[int]]:
    """Our ends and theirs of stdin, stdout and stderr."""
    (their_in, our_in), (our_out, their_out), (our_err, their_err) = os.pipe(), os.pipe(), os.pipe()
    ours = [our_in, our_out, our_err]
    for fd in ours:
        os.set_blocking(fd, False)
    return ours, [their_in, their_out, their_err]


def _terminal(command: Command) -> tuple[list[int], list[int]]:
    """Our end and theirs of a new terminal."""
    ours, theirs = os.openpty()
    os.set_blocking(ours, False)
    size = struct.pack("HHHH", command.height, command.width, 0, 0)
    fcntl.ioctl(ours, termios.TIOCSWINSZ, size)
    return [ours], [theirs]


def _read(fd: int) -> bytes | None:
    """What is there; empty at the end, None for nothing yet."""
    try:
        return os.read(fd, CHUNK)
    except BlockingIOError:
        return None
    except OSError as error:
        if error.errno == errno.EIO:
            return b""
        raise


def _wake(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():
        sleeper.set_result(None)


def _forget(fd: int) -> None:
    """Wait for it no more; do it before it is closed."""
    loop = asyncio.get_running_loop()
    loop.remove_reader(fd)
    loop.remove_writer(fd)
