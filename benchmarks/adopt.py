"""After kill -9 of runed: how long until it has every workload again, and whether any of them was disturbed.

200 processes and 20 containers, on an Engine of its own where one can run. The time is that from the start of
the new runed until it says that it is ready, which it does with everything adopted; beside it stands the same
start with nothing to adopt. Run: `python benchmarks/adopt.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import engines
import runed as servers

PROCESSES, CONTAINERS = 200, 20
ROUNDS = 3
BAR = 2.0


async def timed(server: servers.Runed, *flags: str) -> float:
    """Seconds of a start."""
    begin = time.perf_counter()
    await server.start("--dev", *flags)
    return time.perf_counter() - begin


async def workloads(server: servers.Runed) -> dict[str, tuple[int, str]]:
    """Every instance with its pid and its container; raises when any was restarted."""
    found: dict[str, tuple[int, str]] = {}
    for name in ("processes", "containers"):
        for copy in await server.copies(name):
            assert copy.metadata
            assert copy.metadata.restart_count == 0, copy
            found[copy.id] = (copy.pid, copy.container_id)
    return found


async def notices(server: servers.Runed, name: str) -> float:
    """Seconds until the end of an adopted workload is noticed and it runs again."""
    victim = (await server.copies(name))[0]
    begin = time.perf_counter()
    with contextlib.suppress(ProcessLookupError):
        os.kill(victim.pid, signal.SIGKILL)

    def is_back(service: object) -> bool:
        copies = {copy.id: copy for copy in getattr(service, "instances", [])}
        return copies[victim.id].ready and copies[victim.id].pid != victim.pid

    await server.until(name, is_back)
    return time.perf_counter() - begin


async def main(folder: Path, engine: engines.Engine | None) -> None:
    """Print the figures."""
    config = folder / "runefile.yaml"
    docker = f"{{socket: {engine.socket}}}" if engine else "{enabled: 'false'}"
    config.write_text(f"runner: {{docker: {docker}}}\n", encoding="utf-8")
    flags = ("--config", str(config))
    full, idle = servers.Runed(folder / "full"), servers.Runed(folder / "idle")
    for each in (full, idle):
        await each.start("--dev", *flags)
    try:
        await fill(full, with_containers=engine is not None)
        before = await workloads(full)
        took: dict[servers.Runed, list[float]] = {full: [], idle: []}
        for _ in range(ROUNDS):
            for each, seconds in took.items():
                await each.end(signal.SIGKILL)
                seconds.append(await timed(each, *flags))
            assert await workloads(full) == before, "a workload was disturbed"
        count = f"{PROCESSES} processes and {CONTAINERS if engine else 0} containers"
        print(f"{count} adopted after kill -9 in {told(took[full])} (bar {BAR:g} s)")
        print(f"the same start with nothing to adopt: {told(took[idle])}")
        print("0 restarts, the same pids and containers")
        for name in ("processes", "containers") if engine else ("processes",):
            print(f"an adopted one of {name}, killed, runs again after {await notices(full, name):.2f} s")
    finally:
        for each in (full, idle):
            await each.end()


async def fill(server: servers.Runed, *, with_containers: bool) -> None:
    """Start everything, and wait for it."""
    await server.cast("processes", ["/bin/sleep", "3600"], scale=PROCESSES)
    if with_containers:
        sleeper = {"image": engines.IMAGE, "command": "/bin/sleep", "args": ["3600"]}
        await server.create("containers", scale=CONTAINERS, **sleeper)
        await server.until_running("containers")
    await server.until_running("processes")


def told(seconds: list[float]) -> str:
    """The median, and each."""
    return f"{statistics.median(seconds):.2f} s ({', '.join(f'{each:.2f}' for each in seconds)})"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="adopt-") as scratch, engines.if_possible() as found:
        asyncio.run(main(Path(scratch), found))
