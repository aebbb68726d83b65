"""After kill -9 of runed: how long until it has every workload again, and whether any of them was disturbed.

200 processes and 20 containers, on an Engine of its own where one can run. The time is that from the start of
the new runed until it says that it is ready, which it does with everything adopted; beside it stands the same
start with nothing to adopt, and the processor time of both, which a busy machine does not stretch. In each
round every one of them writes a line before the kill and one while there is no runed: all have to be in its
log, in order. Run: `python benchmarks/adopt.py`.
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
from rune.api.orchestrator import logs

PROCESSES, CONTAINERS = 200, 20
ROUNDS = 3
BAR = 2.0
SPEAKER = """
n=0
trap 'n=$((n+1)); echo line $n' USR1
echo line 0
sleep 3600 &
while wait; test $? -gt 128; do :; done
"""
"""Writes a line for every SIGUSR1, and nothing else: what is measured is no load of the workloads' own."""


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
        await heard(full, before, 0)
        took, used = await killed(full, idle, before=before, flags=flags)
        count = f"{PROCESSES} processes and {CONTAINERS if engine else 0} containers"
        print(f"{count} adopted after kill -9 in {told(took[full])} (bar {BAR:g} s)")
        print(f"the same start with nothing to adopt: {told(took[idle])}")
        print(f"processor time of both: {told(used[full])} and {told(used[idle])}")
        print(f"0 restarts, the same pids and containers, {2 * ROUNDS * len(before)} lines and none lost")
        for name in ("processes", "containers") if engine else ("processes",):
            print(f"an adopted one of {name}, killed, runs again after {await notices(full, name):.2f} s")
    finally:
        for each in (full, idle):
            await each.end()


Seconds = dict[servers.Runed, list[float]]


async def killed(
    full: servers.Runed, idle: servers.Runed, *, before: dict[str, tuple[int, str]], flags: tuple[str, ...]
) -> tuple[Seconds, Seconds]:
    """Kill and start both in turn; how long each start took, and what it used of the processors."""
    took: Seconds = {full: [], idle: []}
    used: Seconds = {full: [], idle: []}
    for number in range(ROUNDS):
        speak(before)
        await heard(full, before, 2 * number + 1)
        for each in (full, idle):
            await each.end(signal.SIGKILL)
            if each is full:
                speak(before)
            took[each].append(await timed(each, *flags))
            used[each].append(each.processor_seconds)
        assert await workloads(full) == before, "a workload was disturbed"
        await heard(full, before, 2 * number + 2)
    return took, used


async def fill(server: servers.Runed, *, with_containers: bool) -> None:
    """Start everything, and wait for it."""
    await server.cast("processes", ["/bin/sh", "-c", SPEAKER], scale=PROCESSES)
    if with_containers:
        speaker = {"image": engines.IMAGE, "command": "/bin/sh", "args": ["-c", SPEAKER], "drain_seconds": 1}
        await server.create("containers", scale=CONTAINERS, **speaker)
        await server.until_running("containers")
    await server.until_running("processes")


def speak(copies: dict[str, tuple[int, str]]) -> None:
    """Have every workload write its next line."""
    for pid, _ in copies.values():
        os.kill(pid, signal.SIGUSR1)


async def heard(server: servers.Runed, copies: dict[str, tuple[int, str]], last: int) -> None:
    """Wait until the log of every workload ends with this number; raises where one is not whole."""
    whole = [f"line {number}" for number in range(last + 1)]
    found: dict[str, list[str]] = {name: [] for name in copies}
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(servers.PATIENCE), asyncio.TaskGroup() as group:
            for service in {name.rpartition("-instance-")[0] for name in copies}:
                count = len(whole) * sum(name.startswith(service) for name in copies)
                group.create_task(listen(server, service, found, count=count))
    short = {name: said for name, said in found.items() if said != whole}
    assert not short, f"lines are lost: {short}"


async def listen(server: servers.Runed, service: str, found: dict[str, list[str]], *, count: int) -> None:
    """Take in so many lines of a service."""
    ask = logs.LogRequest(resource_target=service, follow=True, tail=-1)
    async with contextlib.aclosing(server.client.stream(logs.get, ask)) as lines:
        async for line in lines:
            found[line.instance_id].append(line.content)
            count -= 1
            if not count:
                return


def told(seconds: list[float]) -> str:
    """The median, and each."""
    return f"{statistics.median(seconds):.2f} s ({', '.join(f'{each:.2f}' for each in seconds)})"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="adopt-") as scratch, engines.if_possible() as found:
        asyncio.run(main(Path(scratch), found))
