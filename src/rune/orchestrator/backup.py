"""Backup over the API: an online copy of the store in a folder of the server's own, sent in pieces."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Final, Protocol

from rune.api.orchestrator import backup as api
from rune.core.call import Call
from rune.core.dispatch import Dispatcher
from rune.errors import ResourceExhausted, Unavailable

PIECE: Final = 256 << 10
PREFIX: Final = "backup-"


class Copies(Protocol):
    """A store that can be copied while it is written."""

    async def backup(self, to: Path) -> None:
        """Write everything into a new file, as it is at one moment."""
        ...


class Backup:
    """Copies the store for whoever may have everything; one at a time."""

    def __init__(self, store: Copies, folder: Path) -> None:
        self._store, self._folder = store, folder
        self._busy = False
        for stale in folder.glob(f"{PREFIX}*"):  # of a server that was killed in the middle
            shutil.rmtree(stale, ignore_errors=True)

    def register(self, dispatcher: Dispatcher) -> None:
        """Make this the handler of the operation."""
        dispatcher.handles(api.create)(self.copy)

    async def copy(self, call: Call, ask: api.BackupRequest) -> AsyncIterator[api.BackupResponse]:
        """The pieces, then their size and hash. The copy on this side is gone when the call ends."""
        if self._busy:
            raise ResourceExhausted(
                "another backup is under way: try again when it has ended", retry_after=10
            )
        self._busy = True
        try:
            with _scratch(self._folder) as scratch:
                path = Path(scratch) / "state.db"
                await self._store.backup(path)
                async for piece in _pieces(path):
                    yield piece
        finally:
            self._busy = False


def _scratch(folder: Path) -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix=PREFIX, dir=folder)
    except OSError as error:
        raise Unavailable(f"there is no room for a copy in {folder}: {error.strerror}") from error


async def _pieces(path: Path) -> AsyncIterator[api.BackupResponse]:
    digest, size = sha256(), 0
    with path.open("rb") as file:
        while data := await asyncio.to_thread(file.read, PIECE):
            digest.update(data)
            size += len(data)
            yield api.BackupResponse(data=data)
    yield api.BackupResponse(size=size, sha256=digest.hexdigest())
