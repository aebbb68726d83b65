"""What isolation costs: starts with and without a sandbox and limits, side by side in one run.

A start is timed from the request until the runner says that the workload has exec'd. The ways take turns, so
that whatever else the machine does hits all of them. Run as root: `python benchmarks/process_isolation.py`.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from rune.orchestrator.runners.base import Command, Isolation, Limits, Workload
from rune.orchestrator.runners.process import ProcessRunner

ROUNDS = 60
BURST = 30
WAYS: Mapping[str, Workload] = {
    "nothing asked for": Workload(instance="plain", command=["/bin/sleep", "3600"]),
    "limits": Workload(
        instance="limits", command=["/bin/sleep", "3600"], limits=Limits(cpu=1, memory=64 << 20, processes=50)
    ),
    "sandbox": Workload(instance="box", command=["/bin/sleep", "3600"], isolation=Isolation(read_only=True)),
    "sandbox and limits": Workload(
        instance="both",
        command=["/bin/sleep", "3600"],
        isolation=Isolation(read_only=True),
        limits=Limits(cpu=1, memory=64 << 20, processes=50),
    ),
}


async def start(runner: ProcessRunner, workload: Workload, number: int) -> float:
    """Milliseconds of one start."""
    named = msgspec.structs.replace(workload, instance=f"{workload.instance}-{number}", env={"PATH": "/bin"})
    begin = time.perf_counter()
    await runner.ensure(named)
    return (time.perf_counter() - begin) * 1e3


async def one_by_one(runner: ProcessRunner) -> None:
    """Starts one at a time, with the machine at rest in between."""
    took: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(ROUNDS):
        for way, workload in WAYS.items():
            took[way].append(await start(runner, workload, number))
            await runner.remove(f"{workload.instance}-{number}")
    deciles = {way: statistics.quantiles(times, n=10) for way, times in took.items()}
    base = deciles["nothing asked for"]
    for way, found in deciles.items():
        more = ", ".join(
            f"{name} {found[at]:.1f} ms ({found[at] - base[at]:+.1f})"
            for name, at in (("p10", 0), ("median", 4))
        )
        print(f"one start, {way}: {more}, p90 {found[-1]:.1f} ms")


async def bursts(runner: ProcessRunner) -> None:
    """Many at once."""
    for way, workload in WAYS.items():
        begin = time.perf_counter()
        await asyncio.gather(*(start(runner, workload, 1000 + number) for number in range(BURST)))
        took = (time.perf_counter() - begin) * 1e3
        print(f"{BURST} starts at once, {way}: {took:.0f} ms, {took / BURST:.1f} ms each")
        await asyncio.gather(
            *(runner.remove(f"{workload.instance}-{1000 + number}") for number in range(BURST))
        )


async def commands(runner: ProcessRunner) -> None:
    """`exec` of a program that ends at once, until its exit code is known."""
    for way in ("nothing asked for", "sandbox"):
        await start(runner, WAYS[way], 2000)
        took: list[float] = []
        for _ in range(ROUNDS):
            begin = time.perf_counter()
            session = await runner.exec(f"{WAYS[way].instance}-2000", Command(command=["/bin/true"]))
            await session.wait()
            took.append((time.perf_counter() - begin) * 1e3)
            await session.close()
        print(f"exec, {way}: median {statistics.median(took):.1f} ms")


async def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        runner = ProcessRunner(Path(folder) / "data", now=lambda: datetime.now(UTC))
        await runner.start()
        for feature, why in runner.host.lacks.items():
            print(f"not on this machine: {feature}: {why}")
        await one_by_one(runner)
        await bursts(runner)
        await commands(runner)
        await runner.shutdown(grace=1)


asyncio.run(main())
