"""Durable commits a second: the store against a bare loop over apsw that shares its fsyncs in the same way.

Both sides put the same JSON under random keys of a new file on the same disk, with the same number of
concurrent committers and the same SQLite settings, in turns. The bare loop keeps no image, no log and no
watches, and judges nothing; the ratio is what all of that costs. Run: python benchmarks/store_commits.py
"""

# apsw's stubs name collections.abc.Buffer, which Python 3.11 lacks:
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import apsw
import msgspec
import uvloop

from rune.core.store.base import Key, Put, Resource
from rune.core.store.sqlite import SqliteStore

LABELS = ("app=api", "tier=web", "team=payments")


class Item(Resource, frozen=True, kw_only=True):
    """A small resource, about 150 bytes of JSON."""

    KIND: ClassVar[str] = "items"

    namespace: str = "default"
    name: str
    count: int = 0
    labels: tuple[str, ...] = LABELS

    @property
    def key(self) -> Key:
        return Key(self.KIND, self.namespace, self.name)


class Bare:
    """The least that makes concurrent writes durable: a list, a thread, one transaction for the list."""

    def __init__(self, path: Path) -> None:
        self.db = apsw.Connection(str(path))
        for name, value in (("locking_mode", "EXCLUSIVE"), ("journal_mode", "WAL"), ("synchronous", "FULL")):
            self.db.pragma(name, value)
        self.db.pragma("wal_autocheckpoint", 4_000)
        self.db.execute("CREATE TABLE items (name TEXT PRIMARY KEY, value TEXT) STRICT, WITHOUT ROWID")
        self.thread = ThreadPoolExecutor(1)
        self.waiting: list[tuple[str, str, asyncio.Future[None]]] = []
        self.busy = False

    def put(self, name: str, value: str) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self.waiting.append((name, value, done))
        if not self.busy:
            self.busy = True
            loop.call_soon(self.start)
        return done

    def start(self) -> None:
        batch, self.waiting = self.waiting, []
        self.busy = bool(batch)
        if batch:
            rows = [row[:2] for row in batch]
            written = asyncio.get_running_loop().run_in_executor(self.thread, self.write, rows)
            written.add_done_callback(lambda _: self.landed(batch))

    def landed(self, batch: list[tuple[str, str, asyncio.Future[None]]]) -> None:
        for row in batch:
            row[2].set_result(None)
        asyncio.get_running_loop().call_soon(self.start)

    def write(self, rows: list[tuple[str, str]]) -> None:
        self.db.execute("BEGIN IMMEDIATE")
        self.db.executemany(
            "INSERT INTO items VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", rows
        )
        self.db.execute("COMMIT")


async def rate(count: int, committers: int, commit: Callable[[int, int], Awaitable[None]]) -> float:
    """Commits a second of so many committers that each work their own share."""

    async def work(committer: int) -> None:
        for number in range(count // committers):
            await commit(committer, number)

    started = time.perf_counter()
    await asyncio.gather(*(work(committer) for committer in range(committers)))
    return count / (time.perf_counter() - started)


async def bare(folder: Path, count: int, committers: int) -> float:
    side = Bare(folder / "bare.db")

    async def commit(committer: int, number: int) -> None:
        item = Item(name=f"{committer}-{number % 20}", count=number)
        await side.put(item.name, msgspec.json.encode(item).decode())

    result = await rate(count, committers, commit)
    side.thread.shutdown()
    side.db.close()
    return result


async def store(folder: Path, count: int, committers: int) -> float:
    async with SqliteStore(folder / "store.db", [Item]) as opened:

        async def commit(committer: int, number: int) -> None:
            name = f"{committer}-{number % 20}"
            there = opened.find(Item, "default", name)
            revision = 0 if there is None else there.revision
            await opened.commit(Put(Item(name=name, count=number, revision=revision)), operation="items.put")

        return await rate(count, committers, commit)


async def compare(committers: int, count: int, rounds: int) -> None:
    """Both sides in turns; the median of each, and their ratio."""
    sides: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for side, results in zip((bare, store), sides, strict=True):
            with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
                results.append(await side(Path(folder), count, committers))
    theirs, ours = map(statistics.median, sides)
    spread = f"({min(sides[1]):,.0f} to {max(sides[1]):,.0f})"
    print(f"{committers:5} committers: bare {theirs:8,.0f}/s", end="   ")
    print(f"store {ours:8,.0f}/s {spread}   ratio {ours / theirs:.2f}")


def main() -> None:
    versions = f"Python {sys.version.split()[0]}, SQLite {apsw.sqlite_lib_version()}"
    print(f"{os.cpu_count()} cores, {versions}, synchronous=FULL")
    for committers, count in ((1, 1_000), (64, 12_800), (512, 25_600)):
        uvloop.run(compare(committers, count, rounds=3))


if __name__ == "__main__":
    main()
