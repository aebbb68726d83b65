"""Fifty containers of one image running: the Docker runner against a bare loop over the Engine's API.

Both make the same containers in the same network, eight at a time, on an Engine of their own.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import aiodocker

from rune.core.clock import SystemClock
from rune.orchestrator.runners.base import State, Workload
from rune.orchestrator.runners.docker import containers
from rune.orchestrator.runners.docker.runner import DockerRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import engines

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


async def main(engine: engines.Engine) -> None:
    """Print the figures; the two take turns, so that neither has the colder machine."""
    runner = DockerRunner(engine.url, now=SystemClock().now, owner=OWNER)
    await runner.start()
    docker = aiodocker.Docker(engine.url)
    await docker.networks.create({"Name": "bare-default", "Driver": "bridge"})
    warm = Workload(instance="warm", image=engines.IMAGE, command=["/bin/sleep", "3600"])
    await runner.ensure(warm)
    for turn in range(ROUNDS):
        if turn % 2:
            mine, floor = await ours(runner), await bare(docker)
        else:
            floor, mine = await bare(docker), await ours(runner)
        print(f"{COUNT} containers: bare loop {floor:.2f} s, runner {mine:.2f} s, {mine / floor:.2f} times")
    await runner.remove("warm")
    await runner.close()
    await docker.close()


if __name__ == "__main__":
    engine = engines.begin()
    try:
        asyncio.run(main(engine))
    finally:
        engine.end()
