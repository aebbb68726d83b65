"""The log of the event store is folded into the file beside the writer, and begins again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from unittest import mock

import apsw

from contract.events.samples import event
from rune.core.events import folding
from rune.core.events.sqlite import SqliteEvents

PADDING = {"padding": "x" * 1_000}


async def fill(store: SqliteEvents, count: int) -> None:
    for number in range(count):
        await store.append("default", [event(f"{number}-{n}", metadata=PADDING) for n in range(20)])


async def test_a_log_that_is_long_enough_is_folded_and_does_not_grow_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    with mock.patch.object(folding, "PAGES", 50):
        async with SqliteEvents(path) as store:
            await fill(store, 150)
            log = path.with_name("events.db-wal").stat().st_size
            assert log < path.stat().st_size / 2
            assert len(await store.tail("default", 0, 1_000)) == 1_000
            assert await store.check() == []


async def test_a_log_that_cannot_be_folded_is_kept_and_nothing_is_lost(tmp_path: Path) -> None:
    async with asyncio.timeout(30):
        with (
            mock.patch.object(folding, "PAGES", 10),
            mock.patch.object(folding, "fold", side_effect=apsw.FullError("no room")) as tried,
        ):
            async with SqliteEvents(tmp_path / "events.db") as store:
                await fill(store, 20)
        assert tried.call_count > 1
        async with SqliteEvents(tmp_path / "events.db") as store:
            assert store.position("default") == 400
