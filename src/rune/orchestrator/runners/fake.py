"""A runner in memory, for tests and for trying Rune out: it runs nothing and does as its script says.

A workload runs until it is stopped, unless a `Script` for its program says otherwise; a test may also
make one end (`exit`), speak (`say`), or make the whole engine unreachable (`unreachable`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count, islice

import msgspec

from rune.errors import FailedPrecondition, NotFound, Unavailable
from rune.orchestrator.runners import checks
from rune.orchestrator.runners.base import Command, LogLine, Observed, Session, State, Workload

KEPT = 100_000
"""Lines kept of one instance; the oldest go first."""

BATCH = 1000


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """What a program does when it is started as a workload or as a command inside one."""

    refused: str = ""
    """Not empty: it cannot be started, for this reason."""
    says: Sequence[str] = ()
    """Lines on stdout, right after the start."""
    complains: Sequence[str] = ()
    """Lines on stderr, after those."""
    exits: int | None = None
    """Ends at once with this code; None runs until it is stopped, or until the end of its input."""
    stubborn: bool = False
    """Does not end at SIGTERM, so that a stop takes the whole grace and ends in SIGKILL."""
    echoes: bool = False
    """Writes its stdin to stdout; for commands."""


class FakeRunner:
    """A machine made of dicts, under the same contract as the real ones."""

    name = "fake"

    def __init__(self, *, now: Callable[[], datetime] | None = None) -> None:
        self._now = now or _ticking()
        self._pids = count(1000)
        self._instances: dict[str, _Instance] = {}
        self._notify: list[Callable[[Observed], None]] = []
        self.scripts: dict[str, Script] = {}
        """By program (the first word of a command), or else by image. Change it at any time."""
        self.unreachable = ""
        """Not empty: every verb that asks the engine raises Unavailable with this reason."""
        self.started: list[Workload] = []
        """Every workload that was really started, in order."""
        self._refreshed = asyncio.Event()
        self.refreshed: list[Workload] = []
        """Every workload whose files were replaced while it ran."""

    async def start(self) -> None:
        """Raises Unavailable while `unreachable` is set."""
        self._reach()

    async def ensure(self, workload: Workload) -> Observed:
        """Run it as its script says."""
        self._reach()
        checks.workload(workload)
        seen = self.observe(workload.instance)
        if not checks.turn(workload, seen):
            return seen
        script = self._script(workload.command or [workload.image])
        self.started.append(workload)
        instance = self._instances.setdefault(workload.instance, _Instance())
        instance.begin(workload, script)
        self._saw(
            Observed(
                instance=workload.instance,
                attempt=workload.attempt,
                state=State.RUNNING,
                pid=next(self._pids),
                started_at=self._now(),
            )
        )
        running = instance.seen
        self._play(workload.instance, script)
        return running

    async def refresh(self, workload: Workload) -> None:
        """Remember the files that it has now."""
        self._reach()
        checks.workload(workload)
        seen = self.observe(workload.instance)
        if seen.state is State.RUNNING and seen.attempt == workload.attempt:
            self.refreshed.append(workload)
            refreshed, self._refreshed = self._refreshed, asyncio.Event()
            refreshed.set()

    async def refreshing(self, wanted: Callable[[Workload], bool]) -> None:
        """Wait until files were replaced by those that are wanted. The caller has a deadline."""
        while not any(map(wanted, self.refreshed)):
            await self._refreshed.wait()

    def observe(self, instance: str) -> Observed:
        """What is known now."""
        known = self._instances.get(instance)
        return known.seen if known else Observed(instance=instance, state=State.ABSENT)

    def all(self) -> Sequence[Observed]:
        """Every instance."""
        return [instance.seen for instance in self._instances.values()]

    def on_change(self, notify: Callable[[Observed], None]) -> None:
        """Call `notify` at each start and end, before the verb that caused it returns."""
        self._notify.append(notify)

    async def stop(self, instance: str, *, grace: float) -> Observed:
        """Ends at once, or after `grace` seconds for a stubborn script."""
        self._reach()
        known = self._instances.get(instance)
        if known is None or known.seen.state is not State.RUNNING:
            return self.observe(instance)
        if not known.script.stubborn:
            self.exit(instance, 143)
            return known.seen
        try:
            async with asyncio.timeout(grace):
                await known.ended.wait()
        except TimeoutError:
            self.exit(instance, 137)
        return known.seen

    async def remove(self, instance: str) -> None:
        """Stop it hard, then forget it and what it said."""
        self._reach()
        known = self._instances.get(instance)
        if known is None:
            return
        self.exit(instance, 137)
        del self._instances[instance]
        known.gone = True
        known.wake()

    async def close(self) -> None:
        """Let go: nothing to do."""

    def exit(self, instance: str, code: int, message: str = "") -> None:
        """Let an instance end by itself with this code; nothing when it does not run."""
        known = self._instances.get(instance)
        if known is None or known.seen.state is not State.RUNNING:
            return
        known.ended.set()
        ended = {"state": State.EXITED, "pid": 0, "ended_at": self._now()}
        self._saw(msgspec.structs.replace(known.seen, **ended, exit_code=code, message=message))

    def say(self, instance: str, *lines: str, stream: str = "stdout", at: datetime | None = None) -> None:
        """Let an instance write lines, each at a time of its own unless it is given."""
        known = self._instances[instance]
        for text in lines:
            known.write(LogLine(instance=instance, at=at or self._now(), stream=stream, text=text))
        known.wake()

    async def logs(
        self,
        instance: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> AsyncGenerator[Sequence[LogLine]]:
        """Batches of the lines it said."""
        known = self._instances.get(instance)
        if known is None:
            message = f"instance {instance!r} has no logs on runner {self.name!r}"
            raise NotFound(message)
        lines = [line for line in known.lines if _within(line, since, until)]
        position = known.written
        first = 0 if tail is None else max(len(lines) - tail, 0)
        for batch in _batches(lines[first:]):
            yield batch
        while follow and not (until and self._now() >= until):
            fresh = known.after(position)
            if not fresh and (known.gone or not await known.more(until, self._now)):
                return
            position += len(fresh)
            for batch in _batches([line for line in fresh if _within(line, since, until)]):
                yield batch

    async def exec(self, instance: str, command: Command) -> Session:
        """Run a command as its script says; one without a script ends at once with 0."""
        self._reach()
        checks.command(command)
        known = self._instances.get(instance)
        if known is None or known.seen.state is not State.RUNNING:
            message = f"instance {instance!r} does not run"
            raise FailedPrecondition(message)
        script = self.scripts.get(command.command[0], Script(exits=0))
        if script.refused:
            raise FailedPrecondition(script.refused)
        session = FakeSession(script)
        known.sessions.append(session)
        return session

    def _reach(self) -> None:
        if self.unreachable:
            raise Unavailable(self.unreachable)

    def _script(self, command: Sequence[str]) -> Script:
        script = self.scripts.get(command[0], Script())
        if script.refused:
            raise FailedPrecondition(script.refused)
        return script

    def _play(self, instance: str, script: Script) -> None:
        self.say(instance, *script.says)
        self.say(instance, *script.complains, stream="stderr")
        if script.exits is not None:
            self.exit(instance, script.exits)

    def _saw(self, seen: Observed) -> None:
        known = self._instances[seen.instance]
        known.seen = seen
        if seen.state is State.EXITED:
            known.end_sessions()
        for notify in self._notify:
            notify(seen)


class FakeSession:
    """A command that runs inside a fake instance."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._output: asyncio.Queue[tuple[str, bytes] | None] = asyncio.Queue()
        self._exit: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.sizes: list[tuple[int, int]] = []
        """Every size the terminal was given."""
        for stream, lines in (("stdout", script.says), ("stderr", script.complains)):
            for line in lines:
                self._output.put_nowait((stream, f"{line}\n".encode()))
        if script.exits is not None and not script.echoes:
            self.end(script.exits)

    async def output(self) -> AsyncIterator[tuple[str, bytes]]:
        """What it says, until it ends."""
        while chunk := await self._output.get():
            yield chunk
        self._output.put_nowait(None)

    async def write(self, data: bytes) -> None:
        """Echoed, if the script says so."""
        if self._script.echoes and not self._exit.done():
            self._output.put_nowait(("stdout", data))

    async def end_input(self) -> None:
        """Ends the command."""
        self.end(self._script.exits or 0)

    async def resize(self, width: int, height: int) -> None:
        """Kept in `sizes`."""
        self.sizes.append((width, height))

    async def signal(self, name: str) -> None:
        """Ends the command with 128 + the signal, unless it is stubborn."""
        number = checks.signal_number(name)
        if not self._script.stubborn or name.upper() in {"KILL", "SIGKILL"}:
            self.end(128 + number)

    async def wait(self) -> int:
        """The exit code."""
        return await asyncio.shield(self._exit)

    async def close(self) -> None:
        """Ends the command as SIGKILL would."""
        self.end(137)

    def end(self, code: int) -> None:
        """Let it end with this code; nothing when it has ended."""
        if not self._exit.done():
            self._exit.set_result(code)
            self._output.put_nowait(None)


class _Instance:
    """One instance's state, its lines and who waits for more of them."""

    def __init__(self) -> None:
        self.seen = Observed(instance="", state=State.ABSENT)
        self.script = Script()
        self.sessions: list[FakeSession] = []
        self.lines: deque[LogLine] = deque(maxlen=KEPT)
        self.written = 0
        self.gone = False
        self.ended = asyncio.Event()
        self._more = asyncio.Event()

    def begin(self, workload: Workload, script: Script) -> None:
        self.script = script
        self.ended = asyncio.Event()
        self.seen = Observed(instance=workload.instance, state=State.ABSENT)

    def write(self, line: LogLine) -> None:
        self.lines.append(line)
        self.written += 1

    def after(self, position: int) -> list[LogLine]:
        """The lines since a position; those that were dropped meanwhile are left out."""
        fresh = min(self.written - position, len(self.lines))
        return list(islice(self.lines, len(self.lines) - fresh, None))

    def wake(self) -> None:
        self._more.set()
        self._more = asyncio.Event()

    async def more(self, until: datetime | None, now: Callable[[], datetime]) -> bool:
        """Wait for the next wake; False when `until` came first."""
        seconds = (until - now()).total_seconds() if until else None
        try:
            async with asyncio.timeout(seconds):
                await self._more.wait()
        except TimeoutError:
            return False
        return True

    def end_sessions(self) -> None:
        for session in self.sessions:
            session.end(137)
        self.sessions.clear()


def _within(line: LogLine, since: datetime | None, until: datetime | None) -> bool:
    return (since is None or line.at >= since) and (until is None or line.at < until)


def _batches(lines: Sequence[LogLine]) -> list[Sequence[LogLine]]:
    return [lines[at : at + BATCH] for at in range(0, len(lines), BATCH)]


def _ticking() -> Callable[[], datetime]:
    """A clock that goes on by a millisecond each time it is read."""
    ticks = count()
    return lambda: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(milliseconds=next(ticks))
