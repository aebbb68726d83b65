"""The queue of looks, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest

from rune.api.resource import Key
from rune.core.clock import SystemClock
from rune.core.reconcile import LONGEST_RETRY, Worker
from rune.errors import Unavailable

A, B = Key("x", "", "a"), Key("x", "", "b")


class LoopClock(SystemClock):
    """The event loop's time, which a test may move."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def random(self) -> float:
        return 1.0


@asynccontextmanager
async def working(
    reconcile: Callable[[Key], Awaitable[float | None]], concurrency: int = 32
) -> AsyncGenerator[Worker]:
    worker = Worker(reconcile, clock=LoopClock(), concurrency=concurrency)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(worker.run())
        try:
            yield worker
        finally:
            running.cancel()


pytestmark = pytest.mark.looptime


async def test_a_key_that_waits_is_looked_at_once() -> None:
    looks: list[Key] = []
    done = asyncio.Event()

    async def reconcile(key: Key) -> None:
        looks.append(key)
        if key == B:
            done.set()

    async with working(reconcile) as worker:
        for _ in range(10):
            worker.look(A)
        worker.look(B)
        await done.wait()
    assert looks == [A, B]


async def test_a_key_is_never_looked_at_twice_at_a_time_but_once_more_afterwards() -> None:
    busy, most, looks = 0, 0, 0
    done = asyncio.Event()

    async def reconcile(_key: Key) -> None:
        nonlocal busy, most, looks
        busy += 1
        looks += 1
        most = max(most, busy)
        if looks == 1:
            for _ in range(10):
                worker.look(A)
        else:
            done.set()
        busy -= 1

    async with working(reconcile) as worker:
        worker.look(A)
        await done.wait()
    assert (looks, most) == (2, 1)


async def test_different_keys_are_looked_at_side_by_side() -> None:
    both = asyncio.Barrier(2)

    async def reconcile(_key: Key) -> None:
        async with asyncio.timeout(1):
            await both.wait()

    async with working(reconcile) as worker:
        worker.look(A)
        worker.look(B)
        while worker.depth:
            await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=0.01)


async def test_a_failure_is_tried_again_with_growing_delays() -> None:
    times: list[float] = []
    done = asyncio.Event()

    async def reconcile(_key: Key) -> None:
        times.append(asyncio.get_running_loop().time())
        if len(times) == 14:
            done.set()
            return
        raise Unavailable("not now")

    async with working(reconcile) as worker:
        worker.look(A)
        await done.wait()
    gaps = [round(after - before, 3) for before, after in pairwise(times)]
    assert gaps[:4] == [0.1, 0.2, 0.4, 0.8]
    assert gaps[-1] == LONGEST_RETRY


async def test_a_reconciler_may_ask_to_look_again_later() -> None:
    times: list[float] = []
    done = asyncio.Event()

    async def reconcile(_key: Key) -> float | None:
        times.append(asyncio.get_running_loop().time())
        if len(times) == 2:
            done.set()
        return 3600.0

    async with working(reconcile) as worker:
        worker.look(A)
        await done.wait()
    assert times[1] - times[0] == pytest.approx(3600)


async def test_a_look_that_comes_before_the_delay_is_over_replaces_it() -> None:
    times: list[float] = []
    second = asyncio.Event()

    async def reconcile(_key: Key) -> float | None:
        times.append(asyncio.get_running_loop().time())
        if len(times) == 1:
            asyncio.get_running_loop().call_later(1, worker.look, A)
            return 10.0
        second.set()
        return None

    async with working(reconcile) as worker:
        worker.look(A)
        await second.wait()
        await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=100)
    assert [round(at - times[0]) for at in times] == [0, 1]


async def test_no_more_keys_are_worked_on_than_allowed() -> None:
    busy, most = 0, 0

    async def reconcile(_key: Key) -> None:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=1)
        busy -= 1

    async with working(reconcile, concurrency=3) as worker:
        for number in range(9):
            worker.look(Key("x", "", str(number)))
        while worker.depth:
            await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=0.5)
    assert most == 3
