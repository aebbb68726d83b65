"""Calls that wait for a person end at their own moment; while none waits, nothing is looked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from promises import promise
from rune.core.clock import EPOCH
from rune.core.store.base import Put
from rune.core.store.memory import MemoryStore
from rune.security.approvals import Approvals
from rune.security.kinds import KINDS, Approval, space
from rune.security.pages import Cursors
from world import LoopClock

pytestmark = [promise("approvals.once"), pytest.mark.looptime]


class CountingStore(MemoryStore):
    """Counts how often everything of a kind is asked for."""

    lists = 0

    def list(self, *args: Any, **more: Any) -> Any:
        self.lists += 1
        return super().list(*args, **more)


@asynccontextmanager
async def running(given: CountingStore | None = None) -> AsyncGenerator[tuple[CountingStore, LoopClock]]:
    """A store whose approvals expire."""
    clock, store = LoopClock(), given or CountingStore(KINDS)
    approvals = Approvals(store, Cursors("00" * 32), clock=clock)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(approvals.run())
        await passes(0.001)
        yield store, clock
        task.cancel()


async def passes(seconds: float) -> None:
    """Virtual time goes by."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.Event().wait()


def made(number: int, seconds: float) -> Approval:
    end = EPOCH + timedelta(seconds=seconds)
    return Approval(
        organization="default", id=f"a{number}", waiter="w", agent_id="bot", tool="pay",
        requested_at=EPOCH, status="pending", expires_at=end,
    )  # fmt: skip


def status(store: MemoryStore, number: int) -> str:
    found = store.find(Approval, space("default"), f"a{number}")
    assert found is not None
    return found.status


async def test_each_ends_at_its_moment_whatever_the_order_they_came_in() -> None:
    async with running() as (store, _):
        await store.commit(Put(made(0, 60)), operation="test")
        await store.commit(Put(made(1, 10)), operation="test")
        await passes(9.9)
        assert [status(store, each) for each in (0, 1)] == ["pending", "pending"]
        await passes(0.2)
        assert [status(store, each) for each in (0, 1)] == ["pending", "expired"]
        await passes(50)
        assert status(store, 0) == "expired"


async def test_nothing_is_looked_through_while_nobody_waits() -> None:
    async with running() as (store, _):
        for number in range(3):
            await store.commit(Put(replace(made(number, 5), status="approved")), operation="test")
        await passes(1)
        before = store.lists
        await passes(3_600)
        assert store.lists == before
        assert status(store, 0) == "approved"


async def test_what_waited_before_a_restart_ends_too() -> None:
    before = CountingStore(KINDS)
    await before.commit(Put(made(0, 5)), operation="test")
    async with running(before) as (store, _):
        await passes(6)
        assert status(store, 0) == "expired"


async def test_a_clock_that_leaps_is_noticed_within_half_a_minute() -> None:
    async with running() as (store, clock):
        await store.commit(Put(made(0, 3_600)), operation="test")
        await passes(1)
        leap = clock.now
        clock.now = lambda: leap() + timedelta(hours=2)
        await passes(31)
        assert status(store, 0) == "expired"
