"""What reaches the disk before a commit is acknowledged: a kill cannot show it, a power cut would."""

# apsw's stubs name collections.abc.Buffer, which Python 3.11 lacks:
# pyright: reportUnknownMemberType=false, reportUnknownParameterType=false

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from contract.stores.models import KINDS, Box
from contract.stores.test_scribes import Clerk
from rune.core.store.base import Put
from rune.core.store.sqlite import SqliteStore


class Spied(apsw.VFSFile):
    """A file that tells what is done to it."""

    def __init__(self, name: str | apsw.URIFilename | None, flags: list[int], seen: list[str]) -> None:
        super().__init__("unix", name, flags)
        self.seen = seen if flags[0] & apsw.SQLITE_OPEN_WAL else []

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - the name that apsw calls
        self.seen.append("write")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802 - the name that apsw calls
        self.seen.append("sync")
        super().xSync(flags)


class Spy(apsw.VFS):
    """A file system that keeps what was done to write-ahead logs."""

    def __init__(self) -> None:
        super().__init__("spy", "unix", makedefault=True)
        self.seen: list[str] = []

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - the name that apsw calls
        return Spied(name, flags, self.seen)


@pytest.fixture
def disk() -> Iterator[list[str]]:
    """What was done to the log of any store, in order."""
    spy = Spy()
    yield spy.seen
    spy.unregister()


async def test_a_commit_is_synced_before_it_is_acknowledged(tmp_path: Path, disk: list[str]) -> None:
    async with SqliteStore(tmp_path / "state.db", KINDS) as store:
        for name in "abc":
            disk.clear()
            await store.commit(Put(Box(name=name)))
            assert disk[-1] == "sync"
            assert "write" in disk


async def test_an_append_is_synced_before_it_is_acknowledged(tmp_path: Path, disk: list[str]) -> None:
    async with SqliteStore(tmp_path / "state.db", KINDS) as store:
        disk.clear()
        await store.append("audit", b"x")
        assert disk[-1] == "sync"


async def test_many_commits_share_one_sync(tmp_path: Path, disk: list[str]) -> None:
    async with SqliteStore(tmp_path / "state.db", KINDS) as store:
        await store.commit(Put(Box(name="first")))
        disk.clear()
        await asyncio.gather(*(store.commit(Put(Box(name=f"b{number}"))) for number in range(100)))
        assert disk.count("sync") == 1


async def test_a_commit_and_what_is_said_of_it_share_one_sync(tmp_path: Path, disk: list[str]) -> None:
    async with SqliteStore(tmp_path / "state.db", KINDS) as store:
        store.employ(Clerk())
        disk.clear()
        await store.commit(Put(Box(name="a")), operation="made a")
        assert disk.count("sync") == 1
