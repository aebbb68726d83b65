"""A store on disk keeps its word when its process is killed, its files are torn, and its disk is full."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Generator
from pathlib import Path

import pytest

from contract.stores.models import KINDS, Box
from contract.stores.test_scribes import said
from rune.core.store.base import Change, Put
from rune.core.store.sqlite import SqliteStore
from rune.errors import FailedPrecondition, Unavailable

pytestmark = [pytest.mark.system, pytest.mark.timeout(60)]

TESTS = Path(__file__).parents[1]
HISTORY = 20_000


def writer(path: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(TESTS / "system" / "store_writer.py"), str(path)]
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent / "src")])
    return subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": paths})


def killed_after(path: Path, acknowledged: int) -> dict[str, int]:
    """Run a writer, kill it hard after so many acknowledgements; returns all that it had printed by then."""
    with writer(path) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(acknowledged)]
        child.kill()
        lines += child.stdout.readlines()
    assert child.returncode == -9
    return {name: int(revision) for revision, name in (line.decode().split() for line in lines)}


async def log(store: SqliteStore) -> list[Change]:
    watch: AsyncIterator[Change] = store.watch(store.oldest)
    return [await anext(watch) for _ in range(store.revision - store.oldest)]


async def check(path: Path, acknowledged: dict[str, int]) -> None:
    """Nothing acknowledged is lost, nothing is half there, the log tells how all of it came about."""
    async with SqliteStore(path, KINDS, history=HISTORY) as store:
        assert {name: store.get(Box, "prod", name).revision for name in acknowledged} == acknowledged
        for each in store.list(Box, "prod"):
            assert store.get(Box, "twin", each.name).revision == each.revision
        assert len(store.list(Box, "twin")) == len(store.list(Box, "prod"))
        assert sorted(await said(store)) == [each.name for each in store.list(Box, "prod")]
        changes = await log(store)
        assert [change.revision for change in changes] == list(range(1, store.revision + 1))
        told = {mutation.key: mutation.after for change in changes for mutation in change.mutations}
        assert told == {box.key: box for box in store.list(Box)}


@pytest.mark.parametrize("seed", range(4))
async def test_a_killed_store_has_lost_nothing_that_it_acknowledged(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    path = tmp_path / "state.db"
    acknowledged: dict[str, int] = {}
    for _ in range(2):  # the second run starts from what the first one left behind
        acknowledged |= await asyncio.to_thread(killed_after, path, chance.randrange(1, 4_000))
        await check(path, acknowledged)


async def test_the_lock_of_a_killed_process_does_not_block(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with writer(path) as child:
        assert child.stdout is not None
        child.stdout.readline()
        child.send_signal(19)  # SIGSTOP: it lives and holds its lock
        with pytest.raises(Unavailable, match="in use by another process"):
            await SqliteStore(path, KINDS).__aenter__()
        child.kill()
    async with SqliteStore(path, KINDS) as store:
        assert store.revision >= 1


async def left_behind(folder: Path) -> tuple[Path, dict[str, int]]:
    """A store whose process was killed, so that much of it is in its write-ahead log only."""
    path = folder / "state.db"
    acknowledged = await asyncio.to_thread(killed_after, path, 500)
    assert path.with_name("state.db-wal").stat().st_size > 0
    return path, acknowledged


async def test_a_torn_end_of_the_log_costs_only_what_was_torn(tmp_path: Path) -> None:
    path, acknowledged = await left_behind(tmp_path)
    wal = path.with_name("state.db-wal")
    os.truncate(wal, wal.stat().st_size * 2 // 3)
    async with SqliteStore(path, KINDS, history=HISTORY) as store:
        kept = {name: revision for name, revision in acknowledged.items() if revision <= store.revision}
        assert len(kept) > 0
    await check(path, kept)


async def test_a_truncated_file_is_refused_not_half_loaded(tmp_path: Path) -> None:
    path, _ = await left_behind(tmp_path)
    async with SqliteStore(path, KINDS, history=HISTORY):
        pass  # folds the log into the file
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(FailedPrecondition, match="is damaged"):
        await SqliteStore(path, KINDS, history=HISTORY).__aenter__()


async def test_a_log_without_its_file_is_not_taken_for_a_new_store(tmp_path: Path) -> None:
    path, _ = await left_behind(tmp_path)
    path.unlink()
    with pytest.raises(FailedPrecondition, match=r"state\.db-wal is there without the file"):
        await SqliteStore(path, KINDS).__aenter__()
    assert path.with_name("state.db-wal").stat().st_size > 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Generator[Path]:
    """A file system of one megabyte."""
    mount = shutil.which("mount")
    folder = tmp_path / "disk"
    folder.mkdir()
    if (
        mount is None
        or subprocess.run([mount, "-t", "tmpfs", "-o", "size=1m", "rune", folder], check=False).returncode
    ):
        pytest.skip("mounting a file system needs root")
    yield folder
    subprocess.run(["umount", folder], check=True)


async def test_a_store_on_a_full_disk_goes_on_once_there_is_space(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 600_000)
    written = 0
    async with SqliteStore(small_disk / "state.db", KINDS) as store:
        failure = None
        while failure is None:
            try:
                await store.commit(Put(Box(name=f"b{written}", labels={"padding": "x" * 10_000})))
                written += 1
            except Unavailable as error:
                failure = error
        assert failure.message == "the store cannot write: database or disk is full"
        assert written > 0
        assert store.revision == len(store.list(Box)) == written
        ballast.unlink()
        assert await store.commit(Put(Box(name="after"))) == written + 1
    async with SqliteStore(small_disk / "state.db", KINDS) as store:
        assert len(store.list(Box)) == written + 1
