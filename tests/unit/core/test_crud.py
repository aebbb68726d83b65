"""Changes with care: decided anew when somebody else was quicker, whatever they did."""

from __future__ import annotations

import pytest

from rune.api.orchestrator.configmaps import Configmap
from rune.core.crud import change, put
from rune.core.store.base import Delete, Write
from rune.core.store.memory import MemoryStore
from rune.errors import NotFound


async def test_a_change_is_decided_anew_when_what_it_deletes_has_gone_meanwhile() -> None:
    async with MemoryStore([Configmap]) as store:
        for name in ("main", "other"):
            await store.commit(put(Configmap(name=name, namespace="default")))
        main, other = (store.get(Configmap, "default", name) for name in ("main", "other"))
        turns: list[list[Write]] = [
            [put(main, version=2), Delete(other.key, other.revision)],
            [put(main, version=3)],
        ]
        await store.commit(Delete(other.key, other.revision))
        found = await change(
            store, lambda: store.get(Configmap, "default", "main"), lambda _: turns.pop(0), operation="test"
        )
        assert (found.version, turns) == (3, [])


async def test_a_change_of_what_is_gone_says_so() -> None:
    async with MemoryStore([Configmap]) as store:
        with pytest.raises(NotFound):
            await change(store, lambda: store.get(Configmap, "default", "main"), lambda _: [])
