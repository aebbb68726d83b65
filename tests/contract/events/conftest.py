"""Every test of this folder runs against every event store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from rune.core.events.base import EventStore, Retention
from rune.core.events.memory import MemoryEvents
from rune.core.events.sqlite import SqliteEvents


def memory(_folder: Path, retention: Retention) -> EventStore:
    return MemoryEvents(retention)


def sqlite(folder: Path, retention: Retention) -> EventStore:
    return SqliteEvents(folder / "events.db", retention)


@pytest.fixture(params=[memory, sqlite])
def new(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Retention], EventStore]:
    """A function that makes an empty store which keeps events so long."""
    return lambda retention: request.param(tmp_path, retention)


@pytest.fixture
async def store(new: Callable[[Retention], EventStore]) -> AsyncIterator[EventStore]:
    async with new(Retention()) as opened:
        yield opened
