"""Durable events a second: the event store against the least that makes a batch of events durable.

Both sides get the same batches of 50 events from 16 concurrent callers, on the same disk and with the
same SQLite settings, in turns. The bare side has one table and one writer that shares its fsyncs in the
same way; it knows no duplicates, no counters, no index and no agents, so the ratio is what those cost.
Run: python benchmarks/events_ingest.py [--count 100000]
"""

# apsw's stubs name collections.abc.Buffer, which Python 3.11 lacks:
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import apsw
import uvloop
from events_bare import Table
from events_sample import Source

from rune.core.events.event import Event
from rune.core.events.sqlite import SqliteEvents

CALLERS = 16
BATCH = 50
AGENTS = 200
START = datetime(2026, 1, 1, tzinfo=UTC)


class Figures(NamedTuple):
    """Events a second, and microseconds of processor time for each, which a busy machine distorts less."""

    rate: float
    micros: float


async def rate(batches: Sequence[list[Event]], append: Callable[[list[Event]], Awaitable[object]]) -> Figures:
    """Events a second of so many callers that take batch after batch from one pile."""
    pile = iter(batches)

    async def work() -> None:
        for batch in pile:
            await append(batch)

    started, spent = time.perf_counter(), time.process_time()
    await asyncio.gather(*(work() for _ in range(CALLERS)))
    count = sum(map(len, batches))
    return Figures(
        rate=count / (time.perf_counter() - started), micros=(time.process_time() - spent) / count * 1e6
    )


async def bare(folder: Path, batches: Sequence[list[Event]]) -> Figures:
    side = Table(folder / "bare.db")
    result = await rate(batches, side.append)
    side.close()
    return result


async def store(folder: Path, batches: Sequence[list[Event]]) -> Figures:
    async with SqliteEvents(folder / "events.db") as opened:
        return await rate(batches, lambda batch: opened.append("default", batch))


async def compare(count: int, rounds: int) -> None:
    """Both sides in turns; the median of each, and their ratio."""
    source = Source(AGENTS)
    batches = [source.batch(BATCH, START + timedelta(seconds=n / 20)) for n in range(count // BATCH)]
    gc.freeze()  # the events are the benchmark's, their collection is not the store's
    sides: tuple[list[Figures], list[Figures]] = ([], [])
    for _ in range(rounds):
        for side, results in zip((bare, store), sides, strict=True):
            with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
                results.append(await side(Path(folder), batches))
    theirs, ours = (statistics.median(each.rate for each in side) for side in sides)
    spread = f"({min(sides[1]).rate:,.0f} to {max(sides[1]).rate:,.0f})"
    print(f"bare {theirs:,.0f}/s   store {ours:,.0f}/s {spread}   ratio {ours / theirs:.2f}")
    theirs, ours = (statistics.median(each.micros for each in side) for side in sides)
    print(f"processor time an event: bare {theirs:.1f} us   store {ours:.1f} us   ratio {theirs / ours:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    versions = f"Python {sys.version.split()[0]}, SQLite {apsw.sqlite_lib_version()}"
    print(f"{os.cpu_count()} cores, {versions}, synchronous=FULL, {CALLERS} callers, batches of {BATCH}")
    uvloop.run(compare(asked.count, asked.rounds))


if __name__ == "__main__":
    main()
