"""A change and its record in the audit log: one transaction, and nothing recorded that did not happen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from planes import caller, plane
from promises import promise
from rune.api.orchestrator import admin, services
from rune.api.orchestrator.namespaces import Namespace
from rune.api.orchestrator.services import ScaleServiceRequest, ServiceResponse
from rune.core.audit import Audit
from rune.core.call import DEED, Call, Deed
from rune.core.clock import ManualClock
from rune.core.rights import KINDS
from rune.core.store.base import Put, Store
from rune.core.store.file import File
from rune.core.store.memory import MemoryStore
from rune.core.store.sqlite import SqliteStore
from rune.errors import AlreadyExists, Conflict, PermissionDenied, Unavailable

Work = Callable[[Store, Call], Awaitable[None]]
MINE = services.scale.permission


def made(name: str = "a") -> Put:
    """A resource that a handler makes."""
    return Put(Namespace(name=name))


class World:
    """A dispatcher whose handler of `scale_service` does what a test wants, and an audit log."""

    def __init__(self, store: MemoryStore, audit: Audit, call: Callable[[], Awaitable[object]]) -> None:
        self.store, self.audit, self.call = store, audit, call

    async def outcomes(self) -> list[str]:
        """Of the records of the operation, the oldest first; and the log is whole."""
        assert (await self.audit.verify()).problem == ""
        found = [record async for _, record in self.audit.newest()]
        return [each.outcome for each in reversed(found) if each.operation == services.scale.name]


@asynccontextmanager
async def world(work: Work, *, by: str = "") -> AsyncGenerator[World]:
    """The world, with somebody who may scale unless another asks."""
    clock = ManualClock()
    async with plane(clock, MemoryStore((*KINDS, Namespace))) as p:
        audit = Audit(p.store, clock)
        await audit.begin()
        p.heard.record = audit.record
        root = await p.bootstrap()
        ann = (await p.token(root, "ann")).secret

        @p.dispatcher.handles(services.scale)
        async def scale(call: Call, ask: ScaleServiceRequest) -> ServiceResponse:
            await work(p.store, call)
            return ServiceResponse()

        ask = ScaleServiceRequest(name="api", scale=1)
        token = ann if by == "ann" else root
        yield World(p.store, audit, lambda: p.call(services.scale, ask, by=token))


@promise("audit.atomic")
async def test_a_change_is_recorded_in_its_own_commit_and_only_once() -> None:
    async def work(store: Store, call: Call) -> None:
        before = await store.span("audit")
        await store.commit(made(), operation=MINE)
        assert (await store.span("audit")).last == before.last + 1
        await store.commit(made("b"), operation=MINE)

    async with world(work) as it:
        await it.call()
        assert await it.outcomes() == ["ok"]


async def test_what_is_decided_anew_after_a_conflict_is_recorded_once() -> None:
    async def work(store: Store, call: Call) -> None:
        await store.commit(made(), operation="somebody.else")
        with pytest.raises(AlreadyExists):
            await store.commit(made(), operation=MINE)
        await store.commit(made("b"), operation=MINE)

    async with world(work) as it:
        await it.call()
        assert await it.outcomes() == ["ok"]


async def test_a_change_that_was_refused_is_recorded_as_that_alone() -> None:
    async def work(store: Store, call: Call) -> None:
        await store.commit(made(), operation="on.the.way")
        await store.commit(made(), operation=MINE)

    async with world(work) as it:
        with pytest.raises(AlreadyExists):
            await it.call()
        assert await it.outcomes() == ["ALREADY_EXISTS"]


async def test_a_handler_that_fails_after_its_change_leaves_both_records() -> None:
    async def work(store: Store, call: Call) -> None:
        await store.commit(made(), operation=MINE)
        raise Conflict("too late")

    async with world(work) as it:
        with pytest.raises(Conflict):
            await it.call()
        assert await it.outcomes() == ["ok", "ABORTED"]


async def test_a_change_of_nothing_in_the_store_is_recorded_at_its_end() -> None:
    async def work(store: Store, call: Call) -> None:
        await store.commit(made(), operation="another.name")

    async with world(work) as it:
        await it.call()
        assert await it.outcomes() == ["ok"]


async def test_a_caller_without_the_right_is_recorded_and_nothing_is_changed() -> None:
    async def work(store: Store, call: Call) -> None:
        await store.commit(made(), operation=MINE)

    async with world(work, by="ann") as it:
        with pytest.raises(PermissionDenied):
            await it.call()
        assert await it.outcomes() == ["PERMISSION_DENIED"]
        assert it.store.find(Namespace, "", "a") is None


async def test_what_a_handler_left_running_says_nothing_of_the_call() -> None:
    left: list[asyncio.Task[None]] = []

    async def later(store: Store) -> None:
        deed = DEED.get()
        assert deed is not None
        while not deed.is_told:
            await store.probe()
            await asyncio.sleep(0)  # noqa: TID251 - a turn of the loop, not a wait
        await store.commit(made("late"), operation=MINE)

    async def work(store: Store, call: Call) -> None:
        left.append(asyncio.ensure_future(later(store)))

    async with world(work) as it:
        await it.call()
        await left[0]
        assert await it.outcomes() == ["ok"]


async def test_a_caller_that_leaves_while_its_change_is_written_is_in_the_log() -> None:
    started = asyncio.Event()

    async def work(store: Store, call: Call) -> None:
        await store.commit(made(), operation=MINE)
        started.set()
        await asyncio.Event().wait()

    async with world(work) as it:
        task = asyncio.ensure_future(it.call())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await it.outcomes() == ["ok"]


async def test_a_disk_that_fails_takes_neither_the_change_nor_its_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    async with SqliteStore(tmp_path / "state.db", (*KINDS, Namespace)) as store:
        audit = Audit(store, clock)
        await audit.begin()

        def full(self: File, batch: object) -> list[int]:
            raise OSError("the disk is full")

        deed = Deed(Call(operation=admin.create_user, caller=caller()), admin.UserCreateRequest(name="ann"))
        DEED.set(deed)
        with monkeypatch.context() as patch:
            patch.setattr(File, "write", full)
            with pytest.raises(Unavailable):
                await store.commit(made(), operation=admin.create_user.permission)
        assert not deed.is_told
        await store.commit(made(), operation=admin.create_user.permission)
        assert deed.is_told
        assert [record.outcome async for _, record in audit.newest()] == ["ok"]
        assert (await audit.verify()).problem == ""
