"""What it costs to change one service among ten and among a thousand: the same is the aim, twice the bar.

A whole orchestrator on a SQLite file. Its runner is in memory: starting programs is not what is measured.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvloop

from rune.api.orchestrator import services as api
from rune.api.orchestrator.rollout import Rollout
from rune.api.orchestrator.services import Service, ServiceStatus
from rune.api.orchestrator.specs import ProcessSpec
from rune.core.call import Caller
from rune.core.clock import SystemClock
from rune.core.events.memory import MemoryEvents
from rune.core.keyring import SIZE, EnvKeyring, Key
from rune.core.roles import seed
from rune.core.runefile import Settings
from rune.core.store.sqlite import SqliteStore
from rune.core.vault import Vault
from rune.daemon.assembly import KINDS, Parts, assemble
from rune.orchestrator import namespaces
from rune.orchestrator.plane import Ground
from rune.orchestrator.runners.fake import FakeRunner
from rune.security import organizations

FEW, MANY = 10, 1000
ROUNDS = 60
TURNS = 3


async def main() -> None:
    """Take turns, then print both sides."""
    costs: dict[int, list[tuple[float, float]]] = {FEW: [], MANY: []}
    for _ in range(TURNS):
        for count in (FEW, MANY):
            async with orchestrator(count) as plane:
                costs[count].append(await plane.cost())
    few, many = (
        [statistics.median(column) for column in zip(*costs[count], strict=True)] for count in (FEW, MANY)
    )
    for name, small, large in (("wall", few[0], many[0]), ("processor", few[1], many[1])):
        print(
            f"changing 1 of {FEW}: {small * 1000:.2f} ms of {name} time; 1 of {MANY}: {large * 1000:.2f} ms;"
            f" ratio {large / small:.2f} (bar: at most 2)"
        )


class Plane:
    """The orchestrator, with as many services as were asked for."""

    def __init__(self, store: SqliteStore, parts: Parts, token: str) -> None:
        self._store, self._parts = store, parts
        self._caller = Caller(edge="local", request_id="-", address="127.0.0.1", is_local=True, bearer=token)

    async def fill(self, count: int) -> None:
        """Create the services, and wait until all run."""
        for number in range(count):
            ask = api.CreateServiceRequest(service=spec(number, "0"))
            await self._parts.dispatcher.call(api.create, self._caller, lambda ask=ask: ask)
        await self._until(lambda: all(map(runs, self._store.list(Service))))

    async def cost(self) -> tuple[float, float]:
        """Seconds on the wall and on the processor, from a change of the template until its copy runs."""
        wall, processor = time.perf_counter(), time.process_time()
        for round_ in range(ROUNDS):
            ask = api.UpdateServiceRequest(service=spec(3, str(round_ + 1)))
            await self._parts.dispatcher.call(api.update, self._caller, lambda ask=ask: ask)
            await self._until(lambda: runs(self._store.get(Service, "default", "s0003")))
        return (time.perf_counter() - wall) / ROUNDS, (time.process_time() - processor) / ROUNDS

    async def _until(self, condition: Any) -> None:
        changes = self._store.watch(self._store.revision)
        while not condition():
            await anext(changes)


def spec(number: int, setting: str) -> Service:
    """A service that is different for each setting."""
    process = ProcessSpec(command="sleep")
    at_once = Rollout(
        min_ready_seconds=0
    )  # the work is measured, not the wait that proves a copy without probe
    return Service(name=f"s{number:04}", scale=1, process=process, env={"SETTING": setting}, rollout=at_once)


def runs(service: Service) -> bool:
    """Its newest spec runs."""
    metadata = service.metadata
    settled = metadata is not None and metadata.observed_generation == metadata.generation
    return settled and service.status is ServiceStatus.RUNNING


@asynccontextmanager
async def orchestrator(count: int) -> AsyncGenerator[Plane]:
    """A filled one, with its reconcilers at work."""
    clock = SystemClock()
    with tempfile.TemporaryDirectory(prefix="change-") as folder:
        async with SqliteStore(Path(folder) / "state.db", KINDS) as store, MemoryEvents() as events:
            await organizations.seed(store, clock)
            await seed(store, clock)
            await namespaces.seed(store, clock=clock)
            runner = FakeRunner(now=clock.now)
            runner.name = "process"
            ground = Ground(store=store, kinds=KINDS, runners={"process": runner})
            vault = Vault(EnvKeyring("none", [Key(os.urandom(SIZE))]))
            parts = assemble(ground, events, Settings(), vault=vault, clock=clock)
            async with asyncio.TaskGroup() as tasks:
                background = [tasks.create_task(work) for work in parts.work()]
                _, token = await parts.rights.bootstrap()
                plane = Plane(store, parts, token)
                await plane.fill(count)
                yield plane
                for task in background:
                    task.cancel()


if __name__ == "__main__":
    uvloop.run(main())
