"""Writes resources with many concurrent committers, prints each that is acknowledged, and gets killed."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from contract.stores.models import KINDS, Box
from contract.stores.test_scribes import Clerk
from rune.core.store.base import Put
from rune.core.store.sqlite import SqliteStore

COMMITTERS = 64
RESOURCES = 10_000


async def main(path: Path) -> None:
    async with SqliteStore(path, KINDS, history=RESOURCES * 2) as store:
        store.employ(Clerk())
        first = store.revision

        async def work(committer: int) -> None:
            for number in range(RESOURCES // COMMITTERS):
                box = Box(name=f"{first}-{committer}-{number}", labels={"padding": "x" * 100})
                twin = Put(Box(namespace="twin", name=box.name))
                revision = await store.commit(Put(box), twin, operation=box.name)
                # One write call: what reached the pipe was acknowledged, and the kill tears no line.
                os.write(1, f"{revision} {box.name}\n".encode())

        await asyncio.gather(*(work(committer) for committer in range(COMMITTERS)))


asyncio.run(main(Path(sys.argv[1])))
