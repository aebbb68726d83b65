"""Appends batches of events from many tasks, prints each batch that is acknowledged, and gets killed."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import timedelta
from pathlib import Path

from contract.events.samples import NOW, blocked, call
from rune.core.events.base import Retention
from rune.core.events.sqlite import SqliteEvents

CALLERS = 16
BATCHES = 2_000
BATCH = 20


async def main(path: Path, run: str) -> None:
    async with SqliteEvents(path, Retention(max_age=timedelta(minutes=30))) as store:

        async def work(caller: int) -> None:
            for number in range(BATCHES // CALLERS):
                name = f"{run}-{caller}-{number}"
                events = [
                    call(f"{name}-{n}", f"tool-{n % 3}", agent=f"agent-{caller}", ago=n * 2 % 29)
                    if n % 4
                    else blocked(f"{name}-{n}", agent=f"agent-{caller}", ago=n)
                    for n in range(BATCH)
                ]
                await store.append("default" if caller % 2 else "acme", events)
                # One write call: what reached the pipe was acknowledged, and the kill tears no line.
                os.write(1, f"{caller % 2} {name}\n".encode())

        async def trim() -> None:
            for _ in range(BATCHES):  # the ancient ones only, so that nothing acknowledged has to go
                await store.append("ancient", [call(f"{run}-ancient-{_}", "tool", ago=999)])
                await store.trim(NOW)

        await asyncio.gather(trim(), *(work(caller) for caller in range(CALLERS)))


asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
