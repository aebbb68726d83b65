"""Pulls that take longer than anybody waits: they go on, and whoever asks again hears how they went."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from rune.errors import FailedPrecondition
from rune.orchestrator.runners.base import Pulling, Workload
from rune.orchestrator.runners.docker import images
from rune.orchestrator.runners.docker.images import Images

WORKLOAD = Workload(instance="a", image="web:1")


class Registry:
    """An Engine whose pulls end when the test says so, with these words."""

    def __init__(self, *words: bytes) -> None:
        self.words = words
        self.gate = asyncio.Event()
        self.pulls = 0

    @asynccontextmanager
    async def stream(self, *_: object, **__: object) -> AsyncGenerator[object]:
        self.pulls += 1
        yield SimpleNamespace(content=SimpleNamespace(iter_any=self._words))

    async def _words(self) -> AsyncIterator[bytes]:
        await self.gate.wait()
        for word in self.words:
            yield word + b"\n"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "PATIENCE", 0.01)


def pulled_from(registry: Registry) -> Images:
    return Images(cast("Any", registry))


async def settled(found: Images) -> None:
    """Every pull has ended."""
    async with asyncio.timeout(5):
        await asyncio.wait(list(found._pulls.values()))  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - there is no other sign


async def test_a_long_pull_is_on_its_way_and_done_for_the_next_who_asks() -> None:
    registry = Registry(b"{}")
    found = pulled_from(registry)
    for _ in range(2):
        with pytest.raises(Pulling, match="image 'web:1' is being pulled"):
            await found.pull(WORKLOAD)
    registry.gate.set()
    await settled(found)
    await found.pull(WORKLOAD)
    assert registry.pulls == 1
    await found.pull(WORKLOAD)
    assert registry.pulls == 2
    await found.close()


async def test_a_failure_that_nobody_waited_for_is_told_to_the_next_who_asks() -> None:
    registry = Registry(b'{"error": "no such tag"}')
    found = pulled_from(registry)
    with pytest.raises(Pulling):
        await found.pull(WORKLOAD)
    registry.gate.set()
    await settled(found)
    with pytest.raises(FailedPrecondition, match="no such tag"):
        await found.pull(WORKLOAD)
    assert registry.pulls == 1
    await found.close()
