"""The runners of one runed: started together, let go together; one that is out of reach stops nobody."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from rune.core.clock import Clock
from rune.core.runefile import Runner as Chosen
from rune.errors import FailedPrecondition, RuneError
from rune.orchestrator.runners.base import FullRunner
from rune.orchestrator.runners.docker.runner import DockerRunner
from rune.orchestrator.runners.process import ProcessRunner

logger = logging.getLogger(__name__)

START: Final = 10.0
"""Seconds that an Engine has to answer before runed goes on without it."""
GRACE: Final = 2.0
"""Seconds that the workloads of a scratch server have to end."""
OWNER: Final = re.compile(r"rune-[0-9a-f]{8}", re.ASCII)


class Fleet:
    """The runners that are switched on, by name."""

    def __init__(
        self, chosen: Chosen, process: ProcessRunner, data: Path, *, clock: Clock, files: Path | None = None
    ) -> None:
        self._chosen = chosen
        self._process = process if chosen.process.enabled else None
        self._docker: DockerRunner | None = None
        if chosen.docker.enabled != "false":
            url = f"unix://{chosen.docker.socket.removeprefix('unix://')}"
            self._docker = DockerRunner(url, now=clock.now, owner=owner_of(data, clock), files=files)

    @property
    def runners(self) -> Mapping[str, FullRunner]:
        """Every one by its name."""
        return {runner.name: runner for runner in (self._process, self._docker) if runner}

    @property
    def measures(self) -> Mapping[str, ProcessRunner | DockerRunner]:
        """The same, for what instances use."""
        return {runner.name: runner for runner in (self._process, self._docker) if runner}

    @property
    def processes(self) -> ProcessRunner | None:
        """The runner that isolates processes; None where it is switched off."""
        return self._process

    def on_turn(self, notify: Callable[[str], None]) -> None:
        """Call `notify` with the name of a runner whose engine was lost, or is back."""
        if self._docker:
            name = self._docker.name
            self._docker.on_turn(lambda: notify(name))

    @asynccontextmanager
    async def running(self, *, is_scratch: bool) -> AsyncGenerator[None]:
        """From the start to letting go; a scratch server takes its workloads with it."""
        if self._process:
            await self._process.start()
        try:
            if self._docker:
                await self._reach(self._docker)
            yield
        finally:
            if is_scratch:
                await self._end_workloads()
            for runner in self.runners.values():
                await runner.close()

    async def _reach(self, docker: DockerRunner) -> None:
        """Find what runs already. An Engine that is away is tried again and again, by the runner itself."""
        try:
            async with asyncio.timeout(START):
                await docker.start()
        except (RuneError, TimeoutError) as error:
            level = logging.WARNING if self._chosen.docker.enabled == "true" else logging.INFO
            reason = str(error) or f"no answer within {START:g} s"
            logger.log(level, "docker engine out of reach", extra={"reason": reason})

    async def _end_workloads(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            if self._process:
                tasks.create_task(self._process.shutdown(grace=GRACE))
            if self._docker:
                for seen in self._docker.all():
                    tasks.create_task(_end(self._docker, seen.instance))


async def _end(docker: DockerRunner, instance: str) -> None:
    try:
        await docker.stop(instance, grace=GRACE)
        await docker.remove(instance)
    except RuneError as error:
        logger.warning("container left behind", extra={"instance": instance, "reason": str(error)})


def owner_of(data: Path, clock: Clock) -> str:
    """Whose containers are ours: a name that stays with the data folder, and that no other runed has."""
    file = data / "docker-owner"
    if not file.exists():
        fresh = file.with_suffix(".new")
        fresh.write_text(f"rune-{clock.new_id()[:8]}\n", encoding="ascii")
        os.replace(fresh, file)  # whole or not at all
    owner = file.read_text(encoding="ascii", errors="replace").strip()
    if not OWNER.fullmatch(owner):
        raise FailedPrecondition(
            f"{file} must hold the name in the label rune.owner of this server's containers, such as"
            " rune-1a2b3c4d: restore it, or remove the file and those containers"
        )
    return owner
