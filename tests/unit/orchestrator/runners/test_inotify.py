"""Whoever waits for a change in a folder is woken, also when news of it were lost."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from rune.orchestrator.runners.inotify import Inotify

QUEUE = Path("/proc/sys/fs/inotify/max_queued_events")


@pytest.fixture
async def inotify() -> AsyncGenerator[Inotify]:
    found = Inotify()
    yield found
    found.close()


async def test_a_folder_that_is_gone_is_one_that_nobody_will_be_woken_for(
    inotify: Inotify, tmp_path: Path
) -> None:
    with inotify.watch(tmp_path / "removed") as watch:
        assert watch.closed


async def test_everybody_looks_again_when_the_kernel_had_no_room_for_its_news(
    inotify: Inotify, tmp_path: Path
) -> None:
    chatty, quiet = tmp_path / "chatty", tmp_path / "quiet"
    for folder in (chatty, quiet):
        folder.mkdir()
    files = [os.open(chatty / name, os.O_WRONLY | os.O_CREAT) for name in "ab"]
    with inotify.watch(chatty), inotify.watch(quiet) as watch:
        for _ in range(int(QUEUE.read_text()) // 2 + 1):
            for file in files:
                os.write(file, b"x")
        (quiet / "line").touch()
        async with asyncio.timeout(5):
            await watch.changed.wait()
    for file in files:
        os.close(file)
