"""Vitals and what is read again: trouble is told once, with its reason, and passes by itself."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from planes import turn
from rune.core.clock import ManualClock
from rune.core.reload import Reload
from rune.core.rights import KINDS
from rune.core.roles import seed
from rune.core.store.memory import MemoryStore
from rune.core.store.sqlite import SqliteStore
from rune.core.vitals import Vitals
from rune.errors import FailedPrecondition, Unavailable


async def test_a_store_that_answers_is_well(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "state.db", KINDS) as store:
        vitals = Vitals(store)
        await vitals.look()
        assert vitals.trouble == ""


async def test_a_store_whose_file_was_moved_away_is_in_trouble_until_it_is_back(tmp_path: Path) -> None:
    told: list[bool] = []

    async def listener(well: bool) -> None:
        told.append(well)

    path = tmp_path / "state.db"
    async with SqliteStore(path, KINDS) as store:
        vitals = Vitals(store)
        vitals.on_change(listener)
        path.rename(tmp_path / "elsewhere")
        await vitals.look()
        assert "does not answer" in vitals.trouble
        (tmp_path / "elsewhere").rename(path)
        await vitals.look()
        assert vitals.trouble == ""
    assert told == [False, True]


async def test_a_store_that_could_not_write_is_tried_before_it_is_called_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with SqliteStore(tmp_path / "state.db", KINDS) as store:
        vitals, asked = Vitals(store), list[bool]()
        probe = store._file.probe  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - the disk is made to fail here

        def watched(*, write: bool) -> None:
            asked.append(write)
            probe(write=write)

        monkeypatch.setattr(store._file, "probe", watched)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as above
        with monkeypatch.context() as patch, caplog.at_level(logging.CRITICAL):
            patch.setattr(store._file, "write", _full)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as above
            with pytest.raises(Unavailable):
                await seed(store, ManualClock())
        await vitals.look()
        await vitals.look()
        assert asked == [True, False]


def _full(batch: object) -> list[int]:
    raise OSError("no space left")


async def test_a_closed_store_is_in_trouble() -> None:
    store = MemoryStore(KINDS)
    await store.close()
    vitals = Vitals(store)
    await vitals.look()
    assert vitals.trouble == "the store is closed"
    await turn()


def test_what_cannot_be_read_again_does_not_stop_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []

    def bad() -> None:
        raise FailedPrecondition("the key does not fit")

    reload = Reload()
    reload.add("certificates", bad)
    reload.add("log level", lambda: done.append("level"))
    with caplog.at_level(logging.INFO):
        reload.run()
    assert done == ["level"]
    assert [record.message for record in caplog.records] == [
        "not reloaded, what was there stays in use",
        "reloaded",
    ]
