"""Deletions of namespaces that take long, in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from rune.api.orchestrator import namespaces as api
from rune.api.orchestrator.namespaces import Namespace, NamespaceDeletion
from rune.core.store.memory import MemoryStore
from rune.errors import DeadlineExceeded
from rune.orchestrator.namespaces import DELETE_WAIT
from unit.orchestrator.plane import KINDS, LoopClock, new_plane

pytestmark = pytest.mark.looptime


async def test_a_deletion_that_takes_too_long_says_what_is_left_and_may_be_asked_again() -> None:
    plane = await new_plane(clock=LoopClock())
    async with plane.running():
        await plane.serve("api", "shop")
        await plane.copy_of("api", "shop")
        plane.runner.unreachable = "the engine is away"
        start = asyncio.get_running_loop().time()
        ask = api.DeleteNamespaceRequest(name="shop", force=True)
        with pytest.raises(DeadlineExceeded, match=r"1 service \(api\) are still being ended"):
            await plane.call(api.delete, ask)
        assert asyncio.get_running_loop().time() - start == pytest.approx(DELETE_WAIT, abs=1)
        assert plane.store.get(Namespace, "", "shop").deletion is NamespaceDeletion.FORCED
        plane.runner.unreachable = ""
        await plane.call(api.delete, api.DeleteNamespaceRequest(name="shop"))  # it waits on, force or not
        assert plane.store.find(Namespace, "", "shop") is None


async def test_a_deletion_survives_a_burst_that_its_reconciler_cannot_follow() -> None:
    plane = await new_plane(MemoryStore(KINDS, history=2), clock=LoopClock())
    async with plane.running():
        for number in range(5):
            await plane.serve(f"s{number}", "shop")
        await plane.call(api.delete, api.DeleteNamespaceRequest(name="shop", force=True))
    assert [item for kind in KINDS for item in plane.store.list(kind, "shop")] == []
