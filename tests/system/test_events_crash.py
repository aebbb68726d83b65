"""An event store on disk keeps its word when its process is killed and when its disk is full."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from contract.events.samples import NOW, event
from promises import promise
from rune.core.events.base import Appended, Filter
from rune.core.events.sqlite import SqliteEvents
from rune.errors import Unavailable

pytestmark = [pytest.mark.system, pytest.mark.timeout(60)]

TESTS = Path(__file__).parents[1]
BATCH = 20


def writer(path: Path, run: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(TESTS / "system" / "events_writer.py"), str(path), str(run)]
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent / "src")])
    return subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": paths})


def killed_after(path: Path, run: int, acknowledged: int) -> list[tuple[str, str]]:
    """Run a writer, kill it hard after so many acknowledgements; returns organization and name of each."""
    with writer(path, run) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(acknowledged)]
        child.kill()
        lines += child.stdout.readlines()
    assert child.returncode == -9
    told = [line.decode().split() for line in lines]
    return [("default" if number == "1" else "acme", name) for number, name in told]


async def check(path: Path, acknowledged: list[tuple[str, str]]) -> None:
    """Every acknowledged batch is there, none is half there, and every counter says what the rows say."""
    async with SqliteEvents(path) as store:
        assert await store.check() == []
        for organization in ("default", "acme"):
            stored = [each async for each in every(store, organization)]
            names = {name for owner, name in acknowledged if owner == organization}
            assert {f"{name}-{n}" for name in names for n in range(BATCH)} <= set(stored)
            assert len(stored) == len(set(stored))
            assert len(stored) % BATCH == 0
            agents = await store.agents(organization, NOW)
            assert sum(agent.events for agent in agents) == len(stored)
            again = [event(f"{name}-{n}", ago=1) for name in sorted(names)[:5] for n in range(BATCH)]
            assert await store.append(organization, again) == Appended(len(again), len(again))


async def every(store: SqliteEvents, organization: str):  # noqa: ANN201 - an async generator of ids
    position = 0
    while events := await store.tail(organization, position):
        for stored in events:
            yield stored.event.event_id
        position = events[-1].position


@promise("events.durable")
@pytest.mark.parametrize("seed", range(4))
async def test_a_killed_store_has_lost_nothing_that_it_acknowledged(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    path = tmp_path / "events.db"
    acknowledged: list[tuple[str, str]] = []
    for run in range(2):  # the second run starts from what the first one left behind
        acknowledged += await asyncio.to_thread(killed_after, path, run, chance.randrange(1, 1_500))
        await check(path, acknowledged)


async def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    with writer(path, 0) as child:
        assert child.stdout is not None
        child.stdout.readline()
        child.send_signal(19)  # SIGSTOP: it lives and holds its lock
        with pytest.raises(Unavailable, match="held by another process"):
            await SqliteEvents(path).__aenter__()
        child.kill()
    async with SqliteEvents(path) as store:
        assert store.positions()


async def test_a_torn_end_of_the_log_costs_only_what_was_torn(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    await asyncio.to_thread(killed_after, path, 0, 200)
    wal = path.with_name("events.db-wal")
    os.truncate(wal, wal.stat().st_size * 2 // 3)
    async with SqliteEvents(path) as store:
        assert await store.check() == []
        assert await store.append("default", [event("after")]) == Appended(1, 0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Generator[Path]:
    """A file system of two megabytes."""
    mount = shutil.which("mount")
    folder = tmp_path / "disk"
    folder.mkdir()
    command = [mount or "", "-t", "tmpfs", "-o", "size=2m", "rune", folder]
    if mount is None or subprocess.run(command, check=False).returncode:
        pytest.skip("mounting a file system needs root")
    yield folder
    subprocess.run(["umount", folder], check=True)


@promise("events.full")
async def test_a_store_on_a_full_disk_says_so_and_goes_on_once_there_is_space(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 1_000_000)
    written = 0
    async with SqliteEvents(small_disk / "events.db") as store:
        failure = None
        while failure is None:
            batch = [event(f"{written}-{n}", metadata={"padding": "x" * 1_000}) for n in range(10)]
            try:
                await store.append("default", batch)
                written += 1
            except Unavailable as error:
                failure = error
        assert "cannot write events.db: database or disk is full" in failure.message
        assert written > 0
        assert len((await store.query("default", Filter(), limit=1_000)).events) == written * 10
        assert store.positions() == {"default": written * 10}
        ballast.unlink()
        assert await store.append("default", [event("after"), event("0-0")]) == Appended(2, 1)
        assert await store.check() == []
    async with SqliteEvents(small_disk / "events.db") as store:
        assert store.positions() == {"default": written * 10 + 1}
