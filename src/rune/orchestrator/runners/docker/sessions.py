"""Commands inside containers. Each has a connection of its own to the Engine, which carries its bytes.

The Engine has no verb that signals such a command or kills it, so that is done by its process id, which
takes a runed with the right to do so on the Engine's own machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec

from rune.errors import FailedPrecondition, Unavailable
from rune.orchestrator.runners import checks
from rune.orchestrator.runners.base import Command
from rune.orchestrator.runners.docker import refusals
from rune.orchestrator.runners.docker.containers import Created
from rune.orchestrator.runners.docker.engine import Engine, Refused, decode
from rune.orchestrator.runners.docker.hijack import Pipe, dial

logger = logging.getLogger(__name__)

START = 10.0
"""Seconds a command may take to start."""

LAST = 5.0
"""Seconds of silence after a command's end past which nothing more comes: what it started may hold its pipe,
and the Engine has been seen to leave the pipe open when a container ends."""

LOOKS = (0.002, 0.005, 0.01, 0.02, 0.05)
"""Seconds between looks whether it has started: the Engine tells of that to nobody."""

KILLED = 128 + signal.SIGKILL

END_OF_INPUT = b"\x04"
"""Ctrl-D: how a terminal says that there is no more."""

NOT_FOUND = 404

TERMINAL_GROUP = 5
"""Where /proc/PID/stat has the terminal's foreground group, counted after the name."""


class Exec(msgspec.Struct, frozen=True, rename="pascal"):
    """A command as the Engine shows it."""

    running: bool = False
    exit_code: int | None = None
    pid: int = 0


class Commands:
    """Every command that runs inside a container for us."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sessions: dict[str, DockerSession] = {}

    async def start(self, container: str, instance: str, command: Command) -> DockerSession:
        """Run it; raises FailedPrecondition with the reason when it cannot be started."""
        ident = await self._make(container, command)
        # From version 1.42 of the API on the terminal has its size from the first moment; else see below.
        size = {"ConsoleSize": [command.height, command.width]} if command.tty else {}
        body = {"Detach": False, "Tty": command.tty, **size}
        pipe = await dial(self._engine, f"exec/{ident}/start", body)
        session = DockerSession(self._engine, ident, pipe, container=container, tty=command.tty)
        session.instance = instance
        self._sessions[ident] = session
        session.on_end(lambda: self._sessions.pop(ident, None))
        try:
            await self._begun(session)
            if command.tty:
                await session.resize(command.width, command.height)
        except BaseException:
            await session.close()
            raise
        return session

    def ended(self, ident: str, code: int) -> None:
        """A command ended; nothing when it was none of ours."""
        if session := self._sessions.get(ident):
            session.over(code)

    def instance_ended(self, instance: str) -> None:
        """What ran inside it was killed with it."""
        for session in list(self._sessions.values()):
            if session.instance == instance:
                session.over(KILLED)

    async def look_at_all(self) -> None:
        """Ask for each whether it ended meanwhile."""
        for ident, session in list(self._sessions.items()):
            seen = await self.inspect(ident)
            if not seen.running:
                session.over(KILLED if seen.exit_code is None else seen.exit_code)

    async def close(self) -> None:
        """Let go of all of them."""
        for session in list(self._sessions.values()):
            await session.close()

    async def inspect(self, ident: str) -> Exec:
        """How it is; one that the Engine has forgotten does not run."""
        try:
            answer = await self._engine.call("GET", f"exec/{ident}/json", what="show a command")
        except Refused as error:
            if error.status != NOT_FOUND:
                raise
            return Exec()
        return decode(answer, Exec)

    async def _make(self, container: str, command: Command) -> str:
        body = {
            "AttachStdin": True,
            "AttachStdout": True,
            "AttachStderr": True,
            "Tty": command.tty,
            "Cmd": list(command.command),
            "Env": [f"{name}={value}" for name, value in command.env.items()],
            "WorkingDir": command.workdir,
        }
        answer = await self._engine.call(
            "POST", f"containers/{container}/exec", what="run a command in it", body=body
        )
        return decode(answer, Created).id

    async def _begun(self, session: DockerSession) -> None:
        """Wait until it has a process; one that has ended without was never started."""
        try:
            async with asyncio.timeout(START):
                seen = await self._settled(session.ident)
                session.pid = seen.pid
                if not seen.pid:
                    raise FailedPrecondition(await session.refusal())
        except TimeoutError as error:
            raise Unavailable(f"the command did not start within {START:g} s") from error
        if not seen.running and seen.exit_code is not None:
            session.over(seen.exit_code)

    async def _settled(self, ident: str) -> Exec:
        """Look until it has a process or an end."""
        looks = iter(LOOKS)
        while True:
            seen = await self.inspect(ident)
            if seen.pid or (not seen.running and seen.exit_code is not None):
                return seen
            await asyncio.sleep(next(looks, LOOKS[-1]))


class DockerSession:
    """A command that runs inside a container."""

    def __init__(self, engine: Engine, ident: str, pipe: Pipe, *, container: str, tty: bool) -> None:
        self._engine = engine
        self._pipe = pipe
        self._container = container
        self._tty = tty
        self._exit: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._input_ended = False
        self.ident = ident
        self.instance = ""
        self.pid = 0

    async def output(self) -> AsyncIterator[tuple[str, bytes]]:
        """Chunks as they come; a slow reader slows the command."""
        while chunk := await self._chunk():
            yield chunk

    async def _chunk(self) -> tuple[str, bytes] | None:
        """The next; None at the end, also where the command has ended and the pipe does not."""
        reading = asyncio.ensure_future(self._pipe.raw() if self._tty else self._pipe.frame())
        try:
            await asyncio.wait((reading, self._exit), return_when=asyncio.FIRST_COMPLETED)
            async with asyncio.timeout(LAST):
                return await reading
        except TimeoutError:
            logger.warning("output of an ended command did not end", extra={"instance": self.instance})
            return None
        finally:
            reading.cancel()

    async def write(self, data: bytes) -> None:
        """To its stdin; waits while it does not read. What it will never read is dropped."""
        if not self._input_ended and not self._exit.done():
            await self._pipe.write(data)

    async def end_input(self) -> None:
        """Close stdin; in a terminal send Ctrl-D."""
        if self._input_ended:
            return
        if self._tty:
            await self.write(END_OF_INPUT)
        else:
            self._pipe.end()
        self._input_ended = True

    async def resize(self, width: int, height: int) -> None:
        """Sets the terminal's size; nothing for one that has ended."""
        if self._tty and not self._exit.done():
            params = {"w": str(width), "h": str(height)}
            with contextlib.suppress(Refused):  # it ended in this moment
                await self._engine.call(
                    "POST", f"exec/{self.ident}/resize", what="resize a terminal", params=params
                )

    async def signal(self, name: str) -> None:
        """To the foreground group of the terminal, or to the group of the command.

        Raises FailedPrecondition where runed is not on the Engine's machine, or may not signal there.
        """
        number = checks.signal_number(name)
        if not self._exit.done() and not self._send(number):
            raise FailedPrecondition(
                "a command in a container can be signalled only by a runed that runs as root on the "
                "machine of the Docker Engine, outside of containers"
            )

    async def wait(self) -> int:
        """The exit code; 137 when the session or the instance was ended first."""
        return await asyncio.shield(self._exit)

    async def close(self) -> None:
        """Kill what is left of it and free everything."""
        if not self._exit.done():
            if self.pid and not self._send(signal.SIGKILL):
                logger.warning("command left in container", extra={"instance": self.instance})
            self.over(KILLED)
        await self._pipe.close()

    def over(self, code: int) -> None:
        """It has ended with this code; the first word counts."""
        if not self._exit.done():
            self._exit.set_result(code)

    def on_end(self, call: Callable[[], object]) -> None:
        """Call it once it has ended."""
        self._exit.add_done_callback(lambda _: call())

    async def refusal(self) -> str:
        """Why it was not started, which the Engine writes where its output would be."""
        text = b""
        with contextlib.suppress(Unavailable):
            async for _, chunk in self.output():
                text += chunk
        reason = refusals.plain(text.decode(errors="replace"))
        told = refusals.program(reason, "the container")
        return told or reason or "the command did not start"

    def _send(self, number: int) -> bool:
        """Whether it could be sent: only where this process id is that command, and ours to signal."""
        try:
            if self._container not in Path(f"/proc/{self.pid}/cgroup").read_text(encoding="ascii"):
                return False
            os.killpg(self._group(), number)
        except ProcessLookupError:
            return True  # it ended in this moment
        except OSError:
            return False
        return True

    def _group(self) -> int:
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8", errors="replace")
        foreground = int(fields.rpartition(")")[2].split()[TERMINAL_GROUP])
        return foreground if self._tty and foreground > 0 else self.pid
