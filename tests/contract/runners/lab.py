"""Workloads that mean the same to every runner, so that one suite can prove them all."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

from engines import IMAGE
from rune.orchestrator.runners.base import (
    Command,
    HasExec,
    HasLogs,
    LogLine,
    Observed,
    Runner,
    Workload,
)
from rune.orchestrator.runners.docker.runner import DockerRunner
from rune.orchestrator.runners.fake import FakeRunner, Script


class FullRunner(Runner, HasLogs, HasExec, Protocol):
    """A runner that can do everything."""


@dataclass
class Lab:
    """A runner, what it reported, and workloads that it can run."""

    runner: FullRunner
    changes: list[Observed] = field(default_factory=list[Observed])
    numbers: count[int] = field(default_factory=count)

    def sleeper(self, **given: object) -> Workload:
        return self._workload("sleeper", "trap 'exit 143' TERM; sleep 3600 & wait", Script(), given)

    def stubborn(self, **given: object) -> Workload:
        shell = "trap '' TERM; echo ready; while :; do sleep 3600; done"
        return self._workload("stubborn", shell, Script(says=["ready"], stubborn=True), given)

    def ends(self, code: int, **given: object) -> Workload:
        return self._workload(f"ends{code}", f"exit {code}", Script(exits=code), given)

    def speaker(self, lines: Sequence[str], complaints: Sequence[str] = (), **given: object) -> Workload:
        """It says the lines and ends with 0."""
        shell = "".join(f"echo '{line}';" for line in lines) + "".join(f"echo '{c}' >&2;" for c in complaints)
        return self._workload("speaker", shell, Script(says=lines, complains=complaints, exits=0), given)

    def missing(self, **given: object) -> Workload:
        self._script("no-such-program", Script(refused="command 'no-such-program' not found in PATH: /bin"))
        named = {"instance": f"i{next(self.numbers)}", **self._image(), **given}
        return Workload(command=["no-such-program"], env={"PATH": "/bin"}, **named)  # pyright: ignore[reportArgumentType] - fields by name

    def workload(self, name: str, shell: str, script: Script, **given: object) -> Workload:
        return self._workload(name, shell, script, given)

    def command(self, name: str, shell: str, script: Script, *, tty: bool = False) -> Command:
        return Command(command=self._argv(name, shell, script), tty=tty)

    def _workload(self, name: str, shell: str, script: Script, given: dict[str, object]) -> Workload:
        named = {"instance": f"i{next(self.numbers)}", **self._image(), **given}
        return Workload(command=self._argv(name, shell, script), **named)  # pyright: ignore[reportArgumentType] - fields by name

    def _image(self) -> dict[str, object]:
        return {"image": IMAGE} if isinstance(self.runner, DockerRunner) else {}

    def _argv(self, name: str, shell: str, script: Script) -> list[str]:
        self._script(name, script)
        return [name] if isinstance(self.runner, FakeRunner) else ["/bin/sh", "-c", shell]

    def _script(self, name: str, script: Script) -> None:
        if isinstance(self.runner, FakeRunner):
            self.runner.scripts[name] = script

    async def texts(self, instance: str, *, tail: int | None = None) -> list[str]:
        return [line.text for line in await self.lines(instance, tail=tail)]

    async def lines(self, instance: str, *, tail: int | None = None) -> list[LogLine]:
        return [line async for batch in self.runner.logs(instance, tail=tail) for line in batch]

    @asynccontextmanager
    async def following(
        self, instance: str, *, tail: int | None = None
    ) -> AsyncGenerator[AsyncIterator[LogLine]]:
        async def each() -> AsyncGenerator[LogLine]:
            async for batch in self.runner.logs(instance, follow=True, tail=tail):
                for line in batch:
                    yield line

        async with aclosing(each()) as lines:
            yield lines
