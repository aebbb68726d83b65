"""What only the store on disk does: batches, restarts, locks, and files that are not what they should be."""

from __future__ import annotations

import asyncio
import gc
import resource
import sqlite3
import stat
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import ClassVar

import pytest

from contract.stores.models import KINDS, Box, Node, Stray, at
from rune.core.store import file, sqlite
from rune.core.store.base import Delete, Entry, Key, Put, Resource
from rune.core.store.sqlite import SqliteStore
from rune.errors import AlreadyExists, FailedPrecondition, ResourceExhausted, RuneError, Unavailable


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "state.db"


def sql(path: Path, statement: str) -> list[tuple[object, ...]]:
    """What somebody else does to the file of a store that is closed."""
    with closing(sqlite3.connect(path)) as db, db:
        return db.execute(statement).fetchall()


async def filled(path: Path, *writes: Put) -> None:
    async with SqliteStore(path, (*KINDS, Stray)) as store:
        await store.commit(*writes)


async def opening(path: Path) -> RuneError:
    """The failure to open a store."""
    with pytest.raises(RuneError) as caught:
        async with SqliteStore(path, KINDS):
            pass
    return caught.value


async def test_a_restart_brings_everything_back(path: Path) -> None:
    async with SqliteStore(path, KINDS) as store:
        await store.commit(Put(Box(name="a")), Put(Node(name="n")), operation="first")
        await store.commit(Put(Box(name="a", size=2, revision=1, labels={"é": "☃\x00"})), operation="second")
        await store.commit(Delete(Key("nodes", "", "n")), operation="third")
        await store.append("audit", b"one")
        boxes, watch = store.list(Box), store.watch(0)
        changes = [await anext(watch) for _ in range(3)]
    async with SqliteStore(path, KINDS) as store:
        assert (store.revision, store.oldest) == (3, 0)
        assert (store.list(Box), store.list(Node)) == (boxes, ())
        watch = store.watch(0)
        assert [await anext(watch) for _ in range(3)] == changes
        assert await store.append("audit", b"two") == 2
        assert list(await store.read("audit")) == [Entry(1, b"one"), Entry(2, b"two")]
        assert await store.commit(Put(Node(name="n"))) == 4


async def test_a_watch_resumes_across_a_restart_at_its_revision(path: Path) -> None:
    async with SqliteStore(path, KINDS, history=3) as store:
        for name in "abcde":
            await store.commit(Put(Box(name=name)))
    async with SqliteStore(path, KINDS, history=3) as store:
        assert store.oldest == 2
        watch = store.watch(3)
        await store.commit(Put(Box(name="f")))
        assert [(await anext(watch)).revision for _ in range(3)] == [4, 5, 6]


async def test_the_log_in_the_file_stays_bounded(path: Path) -> None:
    async with SqliteStore(path, KINDS, history=10) as store:
        for burst in range(8):
            await asyncio.gather(*(store.commit(Put(Box(name=f"{burst}-{n}"))) for n in range(100)))
    ((kept, newest),) = sql(path, "SELECT count(*), max(revision) FROM changes")
    assert newest == 800
    assert isinstance(kept, int)
    assert 10 <= kept <= 10 + 100 + 100


async def test_the_file_and_its_folder_are_private(path: Path) -> None:
    async with SqliteStore(path, KINDS) as store:
        await store.commit(Put(Box(name="a")))
        modes = {
            each.name: stat.S_IMODE(each.stat().st_mode) for each in (path.parent, *path.parent.iterdir())
        }
    assert modes == {"data": 0o700, "state.db": 0o600, "state.db-wal": 0o600}


async def test_a_file_that_others_could_read_is_made_private_again(path: Path) -> None:
    await filled(path)
    path.chmod(0o644)
    await filled(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_second_store_on_the_same_file_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "PATIENCE", 10)
    async with SqliteStore(path, KINDS) as store:
        failure = await opening(path)
        assert isinstance(failure, Unavailable)
        assert "state.db is in use by another process" in failure.message
        await store.commit(Put(Box(name="a")))
    async with SqliteStore(path, KINDS) as store:
        assert store.revision == 1


async def test_a_file_of_a_newer_rune_is_refused(path: Path) -> None:
    await filled(path)
    sql(path, "PRAGMA user_version = 9")
    failure = await opening(path)
    assert isinstance(failure, FailedPrecondition)
    assert "was written by a newer Rune (schema 9, this one knows 1)" in failure.message


async def test_the_database_of_another_program_is_refused_and_left_alone(path: Path) -> None:
    path.parent.mkdir()
    sql(path, "CREATE TABLE theirs (id)")
    assert "is not a store of Rune" in (await opening(path)).message
    assert sql(path, "SELECT name FROM sqlite_schema") == [("theirs",)]


async def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database, whatever its name says" * 100)
    failure = await opening(path)
    assert isinstance(failure, FailedPrecondition)
    assert "is damaged or no SQLite file" in failure.message


async def test_a_path_that_cannot_be_a_file_is_refused(path: Path) -> None:
    path.mkdir(parents=True)
    failure = await opening(path)
    assert isinstance(failure, Unavailable)
    assert "state.db cannot be opened" in failure.message


async def test_a_kind_that_is_not_registered_is_refused_by_name(path: Path) -> None:
    await filled(path, Put(Stray()))
    failure = await opening(path)
    assert isinstance(failure, FailedPrecondition)
    assert "holds strays stray, a kind this Rune does not know" in failure.message


async def test_a_resource_that_does_not_fit_its_class_is_refused_by_name(path: Path) -> None:
    await filled(path, Put(Box(name="a")))
    sql(path, """UPDATE resources SET value = '{"name": "a", "size": "big"}'""")
    failure = await opening(path)
    assert isinstance(failure, FailedPrecondition)
    assert "holds boxes prod/a, which this Rune cannot read: Expected `float`, got `str`" in failure.message


async def test_a_log_with_a_gap_is_refused(path: Path) -> None:
    async with SqliteStore(path, KINDS) as store:
        for name in "abc":
            await store.commit(Put(Box(name=name)))
    sql(path, "DELETE FROM changes WHERE revision = 2")
    assert "its log has a gap" in (await opening(path)).message


async def test_a_log_that_ends_before_the_resources_is_refused(path: Path) -> None:
    await filled(path, Put(Box(name="a")))
    sql(path, "DELETE FROM changes")
    assert "its log has a gap" in (await opening(path)).message


async def test_two_classes_of_one_kind_are_refused(path: Path) -> None:
    class Crate(Box, frozen=True, kw_only=True):
        pass

    with pytest.raises(ValueError, match="Crate and Box share the kind 'boxes'"):
        SqliteStore(path, (Box, Crate))


def test_a_store_that_keeps_no_change_is_refused(path: Path) -> None:
    with pytest.raises(ValueError, match="at least 1 change, not 0"):
        SqliteStore(path, KINDS, history=0)


async def test_a_store_that_was_not_opened_refuses_everything(path: Path) -> None:
    store = SqliteStore(path, KINDS)
    with pytest.raises(Unavailable):
        await store.commit(Put(Box(name="a")))
    with pytest.raises(Unavailable):
        store.list(Box)
    await store.close()
    assert not path.exists()


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many changes each transaction wrote."""
    sizes: list[int] = []
    write = file.File.write

    def counted(self: file.File, batch: file.Batch) -> list[int]:
        sizes.append(len(batch.changes) + len(batch.records))
        return write(self, batch)

    monkeypatch.setattr(file.File, "write", counted)
    return sizes


async def test_all_who_commit_at_the_same_time_share_one_transaction(path: Path, batches: list[int]) -> None:
    async def work(committer: int) -> None:
        for number in range(5):
            await store.commit(Put(Box(name=f"{committer}-{number}")))
            await store.append("audit", b"x")

    async with SqliteStore(path, KINDS) as store:
        await asyncio.gather(*(work(committer) for committer in range(64)))
    assert batches == [64] * 10


async def test_a_batch_is_bounded(path: Path, batches: list[int]) -> None:
    async with SqliteStore(path, KINDS) as store:
        await asyncio.gather(*(store.append("audit", b"x") for _ in range(sqlite.BATCH + 1)))
    assert batches == [sqlite.BATCH, 1]


async def test_a_batch_of_refusals_writes_nothing(path: Path, batches: list[int]) -> None:
    async with SqliteStore(path, KINDS) as store:
        await store.commit(Put(Box(name="a")))
        with pytest.raises(AlreadyExists):
            await store.commit(Put(Box(name="a")))
    assert batches == [1]


async def test_a_commit_cancelled_before_its_batch_does_not_happen(path: Path, batches: list[int]) -> None:
    async with SqliteStore(path, KINDS) as store:
        commit = asyncio.ensure_future(store.commit(Put(Box(name="a"))))
        asyncio.get_running_loop().call_soon(commit.cancel)
        await asyncio.wait([commit])
        assert commit.cancelled()
        await store.commit(Put(Box(name="a")))
    assert batches == [1]


async def test_a_commit_cancelled_under_way_happens(path: Path, batches: list[int]) -> None:
    async with SqliteStore(path, KINDS) as store:
        commit = asyncio.ensure_future(store.commit(Put(Box(name="a"))))
        while not batches:
            await asyncio.sleep(0)
        commit.cancel()
        with pytest.raises(AlreadyExists):
            await store.commit(Put(Box(name="a")))
        assert commit.cancelled()
        assert store.get(Box, "prod", "a").revision == 1


async def test_more_writers_than_may_wait_are_sent_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BACKLOG", 3)
    async with SqliteStore(path, KINDS) as store:
        appends = (store.append("audit", b"x") for _ in range(5))
        outcomes = await asyncio.gather(*appends, return_exceptions=True)
    assert outcomes[:3] == [1, 2, 3]
    assert all(isinstance(outcome, ResourceExhausted) for outcome in outcomes[3:])


@contextmanager
def full_disk(path: Path, *, room: int) -> Generator[None]:
    """No file of this process may grow past the store's log and a little room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = path.with_name(path.name + "-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room", [0, 5_000, 50_000])
async def test_a_full_disk_fails_the_commit_and_nothing_else(path: Path, room: int) -> None:
    async with SqliteStore(path, KINDS) as store:
        await store.commit(Put(Box(name="a")))
        before, watch = store.list(Box), store.watch(1)
        with full_disk(path, room=room):
            labels = {"big": "x" * 200_000}
            commits = (store.commit(Put(at(Box(name=name), labels=labels))) for name in "bcd")
            outcomes = await asyncio.gather(*commits, store.append("audit", b"x"), return_exceptions=True)
            assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
            assert str(outcomes[0]).startswith("the store cannot write: ")
            assert (store.list(Box), store.revision) == (before, 1)
        assert await store.commit(Put(Box(name="b"))) == 2
        assert (await anext(watch)).mutations[0].after == Box(name="b", revision=2)
        assert list(await store.read("audit")) == []
    async with SqliteStore(path, KINDS) as store:
        assert [box.name for box in store.list(Box)] == ["a", "b"]


async def test_a_failed_batch_leaves_no_unread_failure_behind(path: Path) -> None:
    async with SqliteStore(path, KINDS) as store:
        with full_disk(path, room=0):
            commit = asyncio.ensure_future(store.commit(Put(Box(name="a", labels={"x": "y" * 100_000}))))
            await asyncio.sleep(0)
            commit.cancel()
            await asyncio.wait([commit])
            await store.commit()
        assert await store.append("audit", b"x") == 1
    gc.collect()


async def test_a_journal_on_a_damaged_page_is_unavailable(path: Path) -> None:
    async with SqliteStore(path, KINDS) as store:
        await store.append("audit", b"x" * 10_000)
    ((page,),) = sql(path, "SELECT rootpage FROM sqlite_schema WHERE name = 'records'")
    assert isinstance(page, int)
    data = bytearray(path.read_bytes())
    data[(page - 1) * 4096 : page * 4096] = b"\xff" * 4096
    path.write_bytes(data)
    async with SqliteStore(path, KINDS) as store:
        with pytest.raises(Unavailable, match="the store cannot read: database disk image is malformed"):
            await store.read("audit")
        with pytest.raises(Unavailable, match="the store cannot write: database disk image is malformed"):
            await store.append("audit", b"y")
        assert await store.commit(Put(Box(name="a"))) == 1


class Shelf(Resource, frozen=True, kw_only=True):
    """A box as a later release might have it."""

    KIND: ClassVar[str] = "boxes"

    name: str
    namespace: str = "prod"
    height: int = 3
    doors: tuple[str, ...] = ()

    @property
    def key(self) -> Key:
        return Key(self.KIND, self.namespace, self.name)


async def test_fields_that_came_or_went_with_a_release_are_tolerated(path: Path) -> None:
    await filled(path, Put(Box(name="a", size=7)))
    async with SqliteStore(path, (Shelf, Node)) as store:
        assert store.get(Shelf, "prod", "a") == Shelf(name="a", revision=1)
        await store.commit(Put(Shelf(name="b", doors=("left",))))
    async with SqliteStore(path, KINDS) as store:
        assert [box.name for box in store.list(Box)] == ["a", "b"]
