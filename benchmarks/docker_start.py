"""Fifty containers of one image running: a bare loop over the Engine's API against the Docker runner, and
against a real runed that is told of one service with fifty copies.

All make the same containers in a network of theirs, eight at a time, on an Engine of their own. The Engine's
own work is nearly all of it, and grows dearer with each container it has ever had, so the three take turns.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any

import aiodocker
import psutil

from rune.api.orchestrator import services
from rune.api.orchestrator.services import ServiceStatus
from rune.core.clock import SystemClock
from rune.orchestrator.runners.base import State, Workload
from rune.orchestrator.runners.docker import containers
from rune.orchestrator.runners.docker.runner import DockerRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import engines
from containers import on
from runed import Runed

COUNT = 50
PARALLEL = 8
ROUNDS = 2
OWNER = "bench"


def workloads(kind: str) -> list[Workload]:
    """Sleepers."""
    return [
        Workload(instance=f"{kind}-{n}", image=engines.IMAGE, command=["/bin/sleep", "3600"])
        for n in range(COUNT)
    ]


async def bare(docker: Any) -> float:
    """Seconds for create and start, and nothing else."""
    turns = asyncio.Semaphore(PARALLEL)

    async def one(workload: Workload) -> Any:
        async with turns:
            config = containers.config("bare", workload)
            container = await docker.containers.create(config, name=containers.name("bare", workload))
            await container.start()
            return container

    begin = time.perf_counter()
    made = await asyncio.gather(*map(one, workloads("bare")))
    took = time.perf_counter() - begin
    await asyncio.gather(*(container.delete(force=True) for container in made))
    return took


async def ours(runner: DockerRunner) -> float:
    """Seconds until the runner has seen each of them running."""
    begin = time.perf_counter()
    seen = await asyncio.gather(*map(runner.ensure, workloads("ours")))
    took = time.perf_counter() - begin
    assert all(one.state is State.RUNNING for one in seen)
    await asyncio.gather(*(runner.remove(one.instance) for one in seen))
    return took


async def whole(server: Runed) -> float:
    """Seconds from the call that makes the service until runed says that each copy runs."""
    (pid,) = (one.pid for one in psutil.Process().children() if "rune.daemon" in one.cmdline())
    before, begin = psutil.Process(pid).cpu_times(), time.perf_counter()
    await server.create(
        "sleepers", image=engines.IMAGE, command="/bin/sleep", args=["3600"], scale=COUNT, drain_seconds=0
    )
    await running(server, "sleepers")
    took, after = time.perf_counter() - begin, psutil.Process(pid).cpu_times()
    own = after.user + after.system - before.user - before.system
    print(f"runed itself: {own:.2f} s of processor of {took:.2f} s")
    assert len([one for one in await server.copies("sleepers") if one.pid]) == COUNT
    await server.call(services.delete, services.DeleteServiceRequest(name="sleepers"))
    return took


async def running(server: Runed, name: str) -> None:
    """Wait for runed's word that a service runs."""
    ask = services.WatchServicesRequest(field_selector={"name": name})
    async with aclosing(server.client.stream(services.watch, ask)) as changes:
        async for change in changes:
            if change.service and change.service.status is ServiceStatus.RUNNING:
                return


async def main(engine: engines.Engine, folder: Path) -> None:
    """Print the figures; the three take turns, so that none has the colder machine."""
    runner = DockerRunner(engine.url, now=SystemClock().now, owner=OWNER)
    await runner.start()
    docker = aiodocker.Docker(engine.url)
    await docker.networks.create({"Name": "bare-default", "Driver": "bridge"})
    warm = Workload(instance="warm", image=engines.IMAGE, command=["/bin/sleep", "3600"])
    await runner.ensure(warm)
    async with on(engine, folder) as server:
        await server.create("warm", image=engines.IMAGE, command="/bin/sleep", args=["3600"])
        await running(server, "warm")
        sides = {
            "bare loop": partial(bare, docker),
            "runner": partial(ours, runner),
            "runed": partial(whole, server),
        }
        for turn in range(ROUNDS):
            order = list(sides) if turn % 2 == 0 else list(reversed(sides))
            took = {side: await sides[side]() for side in order}
            figures = ", ".join(
                f"{side} {seconds:.2f} s ({seconds / took['bare loop']:.2f} times)"
                for side, seconds in took.items()
            )
            print(f"{COUNT} containers: {figures}", flush=True)
    await runner.remove("warm")
    await runner.close()
    await docker.close()


if __name__ == "__main__":
    engine = engines.begin()
    try:
        with tempfile.TemporaryDirectory() as name:
            asyncio.run(main(engine, Path(name)))
    finally:
        engine.end()
