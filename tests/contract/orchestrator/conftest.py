"""Every test of this folder runs against every store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rune.core.store.base import Store
from rune.core.store.memory import MemoryStore
from rune.core.store.sqlite import SqliteStore
from unit.orchestrator.plane import KINDS, Plane, new_plane


def memory(_folder: Path) -> Store:
    return MemoryStore(KINDS)


def sqlite(folder: Path) -> Store:
    return SqliteStore(folder / "state.db", KINDS)


@pytest.fixture(params=[memory, sqlite])
async def plane(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Plane]:
    """A whole orchestrator whose reconcilers run."""
    async with request.param(tmp_path) as store:
        plane = await new_plane(store)
        async with plane.running():
            yield plane
