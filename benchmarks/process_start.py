"""50 starts of /bin/sleep: through the process runner, and with bare asyncio as the floor, in one run.

A start counts when the process has exec'd: its name in /proc is `sleep`. Also: how long after a kill -9 the
runner tells, and what the keeper weighs. Run: `python benchmarks/process_start.py`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from rune.orchestrator.runners.base import Observed, State, Workload
from rune.orchestrator.runners.process import ProcessRunner

COUNT = 50
ROUNDS = 3
KILLS = 20


def running(pids: set[int]) -> bool:
    """Whether all of them have become sleep."""
    return all(Path(f"/proc/{pid}/comm").read_text() == "sleep\n" for pid in pids)


async def floor() -> float:
    """Seconds for bare asyncio, with pipes for the output."""
    begin = time.perf_counter()
    pipe = asyncio.subprocess.PIPE
    processes = await asyncio.gather(
        *(
            asyncio.create_subprocess_exec("/bin/sleep", "3600", stdout=pipe, stderr=pipe)
            for _ in range(COUNT)
        )
    )
    assert running({process.pid for process in processes})
    took = time.perf_counter() - begin
    for process in processes:
        process.kill()
    await asyncio.gather(*(process.communicate() for process in processes))
    return took


async def ours(runner: ProcessRunner, attempt: int) -> float:
    """Seconds for the runner, from the first request until the last is seen running."""
    begin = time.perf_counter()
    env = {"PATH": "/bin"}
    work = [
        Workload(instance=f"bench-{attempt}-{n}", command=["/bin/sleep", "3600"], env=env)
        for n in range(COUNT)
    ]
    seen = await asyncio.gather(*(runner.ensure(workload) for workload in work))
    assert running({one.pid for one in seen})
    took = time.perf_counter() - begin
    if attempt < ROUNDS - 1:
        await asyncio.gather(*(runner.remove(one.instance) for one in seen))
    return took


async def kills(runner: ProcessRunner) -> list[float]:
    """Seconds from a kill -9 until `on_change`."""
    told: asyncio.Queue[tuple[Observed, float]] = asyncio.Queue()
    runner.on_change(lambda seen: told.put_nowait((seen, time.perf_counter())))
    took: list[float] = []
    for seen in [one for one in runner.all() if one.state is State.RUNNING][:KILLS]:
        begin = time.perf_counter()
        os.kill(seen.pid, signal.SIGKILL)
        took.append((await told.get())[1] - begin)
    return took


def weight(pid: int) -> str:
    """Resident and proportional kilobytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return ", ".join(" ".join(line.split()) for line in lines if line.startswith(("Rss", "Pss:")))


async def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        runner = ProcessRunner(Path(folder) / "data", now=lambda: datetime.now(UTC))
        begin = time.perf_counter()
        await runner.start()
        print(f"keeper started in {(time.perf_counter() - begin) * 1e3:.0f} ms; {weight(runner.keeper_pid)}")
        for attempt in range(ROUNDS):
            bare, took = await floor(), await ours(runner, attempt)
            print(f"{COUNT} starts: bare asyncio {bare * 1e3:.0f} ms, runner {took * 1e3:.0f} ms")
        print(f"keeper with {COUNT} running: {weight(runner.keeper_pid)}")
        took = sorted(await kills(runner))
        median, worst = statistics.median(took) * 1e3, took[-1] * 1e3
        print(f"kill -9 until on_change: median {median:.1f} ms, worst of {KILLS} {worst:.1f} ms")
        await runner.shutdown(grace=1)


asyncio.run(main())
