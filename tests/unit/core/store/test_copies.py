"""Copies of a store: whole however busy it is, checked before they are used, and never over what runs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from contract.stores.models import KINDS, Box
from promises import promise
from rune.core.store import copies
from rune.core.store.base import Put
from rune.core.store.sqlite import SqliteStore
from rune.errors import AlreadyExists, FailedPrecondition, Unavailable


async def filled(store: SqliteStore, count: int) -> None:
    """So many boxes and journal entries."""
    puts = [Put(Box(name=f"b{number}")) for number in range(count)]
    await asyncio.gather(*(store.commit(put) for put in puts))
    await asyncio.gather(*(store.append("audit", b"%d" % number) for number in range(count)))


@promise("backup.whole")
async def test_a_copy_that_is_made_while_others_write_is_whole(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "state.db", KINDS) as store:
        await filled(store, 3000)
        before = store.revision
        done = asyncio.Event()

        async def write_on() -> int:
            count = 0
            while not done.is_set():
                await store.commit(Put(Box(name=f"more{count}")))
                count += 1
            return count

        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(write_on())
            await store.backup(tmp_path / "copy.db")
            done.set()
        written = writing.result()
        assert store.revision == before + written
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600
    copies.check(tmp_path / "copy.db")
    copies.put_in_place(tmp_path / "copy.db", tmp_path / "new/state.db", aside=tmp_path / "aside")
    async with SqliteStore(tmp_path / "new/state.db", KINDS) as again:
        assert before <= again.revision <= before + written
        names = {box.name for box in again.list(Box)}
        assert len(names) == again.revision
        assert {f"b{number}" for number in range(3000)} <= names
        assert len(await again.read("audit", limit=5000)) == 3000


async def test_a_copy_goes_over_no_file(tmp_path: Path) -> None:
    (tmp_path / "copy.db").write_text("precious", encoding="utf-8")
    async with SqliteStore(tmp_path / "state.db", KINDS) as store:
        with pytest.raises(AlreadyExists, match="name another file"):
            await store.backup(tmp_path / "copy.db")
        with pytest.raises(Unavailable, match="cannot be written"):
            await store.backup(tmp_path / "nowhere/copy.db")
    assert (tmp_path / "copy.db").read_text(encoding="utf-8") == "precious"


async def test_a_restore_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with SqliteStore(path, KINDS) as store:
        await filled(store, 10)
        await store.backup(tmp_path / "copy.db")
        await store.commit(Put(Box(name="later")))
    copies.put_in_place(tmp_path / "copy.db", path, aside=tmp_path / "state.db.before")
    for file, count in ((path, 10), (tmp_path / "state.db.before", 11)):
        async with SqliteStore(file, KINDS) as store:
            assert len(store.list(Box)) == count


async def test_a_store_that_is_open_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with SqliteStore(path, KINDS) as store:
        await filled(store, 3)
        await store.backup(tmp_path / "copy.db")
        with pytest.raises(Unavailable, match="stop runed first"):
            copies.put_in_place(tmp_path / "copy.db", path, aside=tmp_path / "aside")
        await store.commit(Put(Box(name="later")))
        assert len(store.list(Box)) == 4


async def test_what_is_no_whole_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with SqliteStore(path, KINDS) as store:
        await filled(store, 500)
    copies.check(path)
    whole = path.read_bytes()
    for name, data, reason in (
        ("empty", b"", "is not a store of Rune"),
        ("text", b"hello" * 5000, "cannot be read as a store"),
        ("cut", whole[: len(whole) // 2], "damaged|cannot be read"),
        ("spoiled", whole[:8192] + b"\x55" * 20000 + whole[28192:], "damaged|cannot be read"),
    ):
        bad = tmp_path / name
        bad.write_bytes(data)
        with pytest.raises(FailedPrecondition, match=reason):
            copies.check(bad)
