"""The way from runed to its keeper: one connection, questions with answers, and news in between."""

from __future__ import annotations

import asyncio
import functools
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, cast

import msgspec

from rune.errors import DeadlineExceeded, FailedPrecondition, Unavailable
from rune.orchestrator.runners import keeper
from rune.orchestrator.runners.base import Observed

PROTOCOL = 2
"""The protocol we speak. A keeper of another one is asked to become ours: it keeps pid and children."""

START = 10.0
"""Seconds a keeper may take to start and answer; it takes 0.1."""


RETRY = 0.01
"""Seconds to leave to a keeper that is dying or starting."""


class Used(msgspec.Struct, frozen=True):
    """What an instance has used; None for what the machine cannot tell."""

    cpu_seconds: float | None = None
    memory: int | None = None
    memory_limit: int = 0


class Answer(msgspec.Struct, frozen=True):
    """Anything the keeper says. Fields that we do not know are ignored."""

    id: int = 0
    seen: Observed | None = None
    turn: Observed | None = None
    refused: str = ""
    error: str = ""
    owned: int = 0
    protocol: int = 0
    pid: int = 0
    cgroup: str = ""
    controllers: Sequence[str] = ()
    usage: Used | None = None
    instances: Sequence[Observed] = ()
    exit: int | None = None


_decode = msgspec.json.Decoder(Answer).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a process runner works; the defaults are good."""

    log_size: int = 16 << 20
    """Bytes of one file of an instance's log."""
    log_files: int = 4
    """Files kept of an instance's log, the one that is written included."""
    files: Path | None = None
    """Where mounted files lie, in a folder for each instance; None: below the runner's own folder."""
    cgroups: bool = True
    """False: never use cgroups, even where they can be made. What a workload forked is found by /proc."""


class Link(asyncio.Protocol):
    """An open connection to the keeper that this runed owns."""

    def __init__(self, on_seen: Callable[[Observed], None]) -> None:
        self._on_seen = on_seen
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._inbox = bytearray()
        self._transport: asyncio.WriteTransport | None = None
        self.lost = asyncio.Event()
        self.hello = Answer()

    async def ask(self, op: str, fields: Mapping[str, Any], *, within: float) -> Answer:
        """Ask and wait; raises Unavailable when the keeper is gone, DeadlineExceeded when it is silent, and
        FailedPrecondition when it refuses.
        """
        if self._transport is None or self.lost.is_set():
            raise Unavailable(GONE)
        number = next(self._numbers)
        waiting: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = waiting
        self._transport.write(msgspec.json.encode({"op": op, "id": number, **fields}) + b"\n")
        try:
            async with asyncio.timeout(within):
                answer = await waiting
        except TimeoutError as error:
            message = f"the keeper did not answer {op!r} within {within:g} s"
            raise DeadlineExceeded(message) from error
        finally:
            del self._waiting[number]
        if answer.refused:
            raise FailedPrecondition(answer.refused)
        if answer.error:
            raise Unavailable(answer.error)
        return answer

    def close(self) -> None:
        """Hang up. Twice is fine."""
        if self._transport:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        self._inbox += data
        if b"\n" not in data:
            return
        *lines, rest = self._inbox.split(b"\n")
        self._inbox = rest
        for line in lines:
            self._take(_decode(line))

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        self.lost.set()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(Unavailable(GONE))

    def _take(self, answer: Answer) -> None:
        if not answer.id and answer.seen:
            self._on_seen(answer.seen)
            return
        for seen in answer.instances:  # here and now: news of them may be in the same packet
            self._on_seen(seen)
        waiting = self._waiting.get(answer.id)
        if waiting and not waiting.done():
            waiting.set_result(answer)


GONE = "the keeper of this machine's workloads is gone; a new one is being started, try again"


async def connect(data: Path, options: Options, on_seen: Callable[[Observed], None]) -> Link:
    """The keeper of a data folder, started if there is none; raises FailedPrecondition when another runed
    owns it, Unavailable when it does not come up.
    """
    link = await _open(data, options, on_seen)
    if link.hello.protocol == PROTOCOL:
        return link
    await link.ask("upgrade", {"argv": argv(data, options, "--resumed")}, within=START)
    await link.lost.wait()
    link = await _open(data, options, on_seen)
    if link.hello.protocol != PROTOCOL:
        link.close()
        message = f"the keeper speaks protocol {link.hello.protocol}, this runed {PROTOCOL}: use its version"
        raise Unavailable(message)
    return link


async def dial(data: Path) -> socket.socket:
    """A fresh connection to a keeper that runs; raises OSError when there is none."""
    folder = os.open(data / "keeper", os.O_RDONLY | os.O_DIRECTORY)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)  # noqa: FBT003 - its only form
    try:
        await asyncio.get_running_loop().sock_connect(sock, f"/proc/self/fd/{folder}/sock")
    except OSError:
        sock.close()
        raise
    finally:
        os.close(folder)
    return sock


def argv(data: Path, options: Options, *more: str) -> list[str]:
    """What starts a keeper: isolated, without site packages, with UTF-8 whatever the locale."""
    program = Path(keeper.__file__).with_name("__main__.py")
    plain = [] if options.cgroups else ["--no-cgroups"]
    return [sys.executable, "-I", "-S", "-X", "utf8", str(program), str(data), *plain, *more]


async def _open(data: Path, options: Options, on_seen: Callable[[Observed], None]) -> Link:
    try:
        async with asyncio.timeout(START):
            link = await _greeted(data, options, on_seen)
    except TimeoutError as error:
        message = f"the keeper of {data} did not come up within {START:g} s: see {data}/keeper/keeper.log"
        raise Unavailable(message) from error
    if link.hello.owned:
        link.close()
        message = (
            f"another runed (pid {link.hello.owned}) runs on {data}: stop it, or use another data folder"
        )
        raise FailedPrecondition(message)
    return link


async def _greeted(data: Path, options: Options, on_seen: Callable[[Observed], None]) -> Link:
    """Say hello, again if it was heard by a keeper that was just dying. Ends by the caller's deadline."""
    sizes = {"log_size": options.log_size, "log_files": options.log_files}
    while True:
        sock = await _reach(data, options)
        link = Link(on_seen)
        await asyncio.get_running_loop().create_unix_connection(lambda link=link: link, sock=sock)
        try:
            link.hello = await link.ask("hello", sizes, within=START)
        except Unavailable:
            await asyncio.sleep(RETRY)
        else:
            return link


async def _reach(data: Path, options: Options) -> socket.socket:
    """Dial, and start a keeper while there is none. The loop ends by the caller's deadline."""
    while True:
        try:
            return await dial(data)
        except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
            await _start(data, options)


async def _start(data: Path, options: Options) -> None:
    """Returns when a keeper listens, ours or one that was faster. In a thread, so that it does not matter
    how the event loop of runed starts processes: a keeper must not inherit a single descriptor.
    """
    run = functools.partial(subprocess.run, capture_output=True, cwd="/", env={}, check=False, timeout=START)
    try:
        done = await asyncio.to_thread(run, argv(data, options), stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        message = f"the keeper of {data} did not start: {error}"
        raise Unavailable(message) from error
    said = done.stdout.decode().strip()
    if said == "busy":
        await asyncio.sleep(RETRY)
    elif said != "ready":
        trace = done.stderr.decode(errors="replace").strip()
        why = trace.splitlines()[-1] if trace else f"see {data}/keeper/keeper.log"
        message = f"the keeper of {data} did not start: {why}"
        raise Unavailable(message)
