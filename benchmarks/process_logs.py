"""50,000 lines a second of one instance: captured whole while three followers read and one stalls.

The writer is a process of its own that keeps the pace by the clock. Prints what each follower got, the CPU
that keeper and readers took, and the memory of the keeper. Run: `python benchmarks/process_logs.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path

from rune.orchestrator.runners.base import Workload
from rune.orchestrator.runners.process import ProcessRunner

RATE = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
SECONDS = 5
FOLLOWERS = 3

WRITER = """
import sys, time
rate, seconds = int(sys.argv[1]), int(sys.argv[2])
step, number, begin = rate // 1000, 0, time.monotonic()
for tick in range(seconds * 1000):
    words = "of a service that has a lot to say about what it does"
    lines = "".join(f"line {number + i} {words}\\n" for i in range(step))
    sys.stdout.write(lines)
    sys.stdout.flush()
    number += step
    time.sleep(max(begin + (tick + 1) / 1000 - time.monotonic(), 0))
print(f"done after {time.monotonic() - begin:.2f} s")
"""


async def follow(runner: ProcessRunner, *, stall: bool = False) -> tuple[int, int, str]:
    """Lines in order, lines out of order, and the last word."""
    wanted = wrong = 0
    async with contextlib.aclosing(runner.logs("chatty", follow=True)) as batches:
        async for batch in batches:
            if stall and not wanted:
                await asyncio.sleep(SECONDS)
            for line in batch:
                if line.text.startswith("done"):
                    return wanted, wrong, line.text
                wrong += line.text.split(" ", 2)[1] != str(wanted)
                wanted += 1
    return wanted, wrong, "no end"


@contextlib.asynccontextmanager
async def started(folder: Path) -> AsyncGenerator[ProcessRunner]:
    """A runner, and in the end nothing of it."""
    runner = ProcessRunner(folder, now=lambda: datetime.now(UTC))
    await runner.start()
    try:
        yield runner
    finally:
        await runner.shutdown(grace=0)


def cpu(pid: int) -> float:
    """Seconds of processor time so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> str:
    """Resident memory, now and at its highest."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return ", ".join(" ".join(line.split()) for line in lines if line.startswith(("VmRSS", "VmHWM")))


async def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as name:
        async with started(Path(name) / "data") as runner:
            keeper, readers = cpu(runner.keeper_pid), cpu(os.getpid())
            argv = [sys.executable, "-c", WRITER, str(RATE), str(SECONDS)]
            await runner.ensure(Workload(instance="chatty", command=argv))
            begin = time.perf_counter()
            follows = [follow(runner) for _ in range(FOLLOWERS)]
            *found, stalled = await asyncio.gather(*follows, follow(runner, stall=True))
            took = time.perf_counter() - begin
            print(
                f"{RATE} lines/s for {SECONDS} s, {FOLLOWERS} followers:"
                f" {took:.1f} s; expected {RATE * SECONDS}"
            )
            for count, wrong, end in found:
                print(f"follower: {count} lines, {wrong} missing or out of order; {end}")
            print(f"stalled follower: {stalled[0]} lines, {stalled[1]} missing or out of order")
            print(f"CPU of keeper {(cpu(runner.keeper_pid) - keeper) / took:.0%}, ", end="")
            print(f"of {FOLLOWERS + 1} readers {(cpu(os.getpid()) - readers) / took:.0%}")
            print(f"keeper: {memory(runner.keeper_pid)}")


asyncio.run(main())
