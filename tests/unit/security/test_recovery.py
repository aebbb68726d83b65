"""What works beside the plane goes on after a store that could not write for a while, as on a full disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from rune.api.orchestrator.guard import QuarantineWhen, ServiceAgent
from rune.api.orchestrator.services import Service
from rune.core.clock import EPOCH
from rune.core.events.event import read
from rune.core.events.memory import MemoryEvents
from rune.core.records import Record
from rune.core.store.base import Put, Write
from rune.core.store.memory import MemoryStore
from rune.daemon.assembly import KINDS
from rune.errors import Unavailable
from rune.security import organizations
from rune.security.approvals import Approvals
from rune.security.detection import Detection
from rune.security.kinds import Alert, Approval, Registration, space
from rune.security.pages import Cursors
from rune.security.rounds import rounds
from rune.security.workloads import Workloads
from world import LoopClock

pytestmark = pytest.mark.looptime


class FullDisk(MemoryStore):
    """Cannot write while it is full; counts what it refused."""

    is_full = False
    refused = 0

    async def commit(self, *writes: Write, operation: str = "") -> int:
        """As usual, while there is room."""
        if self.is_full:
            self.refused += 1
            raise Unavailable("the store cannot write: the disk is full")
        return await super().commit(*writes, operation=operation)


class Notes:
    """Keeps nothing."""

    async def note(self, record: Record) -> None:
        """Heard."""


@asynccontextmanager
async def world() -> AsyncGenerator[tuple[FullDisk, MemoryEvents, LoopClock]]:
    clock = LoopClock()
    async with FullDisk(KINDS) as store, MemoryEvents() as events:
        await organizations.seed(store, clock)
        yield store, events, clock


async def until(said: Callable[[], bool]) -> None:
    """In virtual time."""
    async with asyncio.timeout(60):
        while not said():
            await passes(0.1)


async def passes(seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await asyncio.Event().wait()
    except TimeoutError:
        return


async def full_for_a_while(store: FullDisk, act: Callable[[], Awaitable[object]] | None = None) -> None:
    """The disk is full until a write was refused, and has room again."""
    store.is_full = True
    if act is not None:
        await act()
    await until(lambda: store.refused > 0)
    store.is_full = False


async def test_detection_raises_what_it_could_not_write() -> None:
    async with world() as (store, events, clock), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(Detection(store, events, clock=clock).run())
        plain = {
            "event_id": "e1", "timestamp": EPOCH.isoformat(), "agent_id": "bot", "event_type": "scan",
            "scan_result": {"risk_score": 0.95, "threat_type": "jailbreak"},
        }  # fmt: skip
        await full_for_a_while(store, lambda: events.append("default", read([plain], EPOCH)))
        await until(lambda: bool(store.list(Alert)))
        running.cancel()


async def test_an_agent_is_guarded_once_its_quarantine_can_be_written() -> None:
    async with world() as (store, _, clock), asyncio.TaskGroup() as tasks:
        wanted = ServiceAgent(id="bot", quarantine=QuarantineWhen.ON_CRITICAL)
        await store.commit(Put(Service(namespace="default", name="web", agent=wanted)))
        store.is_full = True
        running = tasks.create_task(Workloads(store, Notes(), clock=clock).run())
        await full_for_a_while(store)
        await until(lambda: store.find(Registration, space("default"), "bot") is not None)
        running.cancel()


async def test_a_call_that_waited_too_long_ends_once_that_can_be_written() -> None:
    async with world() as (store, _, clock), asyncio.TaskGroup() as tasks:
        made = Approval(
            organization="default", id="a1", waiter="w", agent_id="bot", tool="pay", requested_at=EPOCH,
            expires_at=EPOCH + timedelta(seconds=5),
        )  # fmt: skip
        await store.commit(Put(made))
        running = tasks.create_task(Approvals(store, Cursors("00" * 32), clock=clock).run())
        await full_for_a_while(store)
        await until(lambda: store.list(Approval)[0].status == "expired")
        running.cancel()


async def test_rounds_go_on_after_one_that_could_not_write() -> None:
    seen: list[int] = []

    async def look() -> None:
        seen.append(len(seen))
        if len(seen) == 1:
            raise Unavailable("the store cannot write: the disk is full")

    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(rounds(look, every=1.0, of="tests"))
        await until(lambda: len(seen) > 1)
        running.cancel()
