"""Every test of this folder runs against every store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from contract.stores.models import KINDS
from rune.core.store.base import Store
from rune.core.store.memory import MemoryStore
from rune.core.store.sqlite import SqliteStore


def memory(_folder: Path, history: int) -> Store:
    return MemoryStore(KINDS, history=history)


def sqlite(folder: Path, history: int) -> Store:
    return SqliteStore(folder / "state.db", KINDS, history=history)


@pytest.fixture(params=[memory, sqlite])
def new(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[int], Store]:
    """A function that makes an empty store which keeps so many changes."""
    return lambda history: request.param(tmp_path, history)


@pytest.fixture
async def store(new: Callable[[int], Store]) -> AsyncIterator[Store]:
    async with new(1000) as opened:
        yield opened


@pytest.fixture
async def small(new: Callable[[int], Store]) -> AsyncIterator[Store]:
    """A store that keeps the last 3 changes only."""
    async with new(3) as opened:
        yield opened
