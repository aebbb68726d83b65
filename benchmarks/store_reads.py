"""What a read, a list and a change cost in memory: the store's image against a bare dict, among 10 to 10,000.

No disk is in it: changes go to the memory store, whose image, judge and history every store shares. A
line that grows with the number of resources is a defect. Run: python benchmarks/store_reads.py
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import ClassVar

from rune.core.store.base import Key, Put, Resource
from rune.core.store.memory import MemoryStore


class Item(Resource, frozen=True, kw_only=True):
    """A small resource."""

    KIND: ClassVar[str] = "items"

    name: str
    count: int = 0

    @property
    def key(self) -> Key:
        return Key(self.KIND, "default", self.name)


def nanoseconds(work: Callable[[], object], times: int = 20_000) -> float:
    """Best of five rounds, per call."""
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter_ns()
        for _ in range(times):
            work()
        best = min(best, (time.perf_counter_ns() - started) / times)
    return best


async def change(store: MemoryStore, name: str, times: int = 5_000) -> float:
    """Nanoseconds to read a resource and commit it again, best of three rounds."""
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter_ns()
        for count in range(times):
            there = store.get(Item, "default", name)
            await store.commit(Put(Item(name=name, count=count, revision=there.revision)))
        best = min(best, (time.perf_counter_ns() - started) / times)
    return best


async def measure(size: int) -> None:
    store = MemoryStore([Item])
    for number in range(size):
        await store.commit(Put(Item(name=f"item-{number:06}")))
    name = f"item-{size // 2:06}"
    bare = {item.key: item for item in store.list(Item)}
    peer = nanoseconds(lambda: bare[Key("items", "default", name)])
    find = nanoseconds(lambda: store.find(Item, "default", name))
    get = nanoseconds(lambda: store.get(Item, "default", name))
    listed = nanoseconds(lambda: store.list(Item, "default"))
    changed = await change(store, name)
    print(f"{size:6} resources: dict {peer:4.0f} ns   find {find:4.0f} ns   get {get:4.0f} ns", end="   ")
    print(f"list again {listed:4.0f} ns   change {changed / 1000:5.1f} µs")


async def main() -> None:
    for size in (10, 1_000, 10_000):
        await measure(size)


if __name__ == "__main__":
    asyncio.run(main())
