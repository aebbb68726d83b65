"""Folding SQLite's log into its file beside the writer, so that no commit waits for it.

A folding in a thread of its own takes everything that was committed when it began, while the writer goes
on. The writer then folds the little that came meanwhile, and its next transaction begins the log anew.
"""
# apsw's stubs name collections.abc.Buffer, which Python 3.11 lacks:
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apsw

from rune.core.events import layout

logger = logging.getLogger(__name__)

PAGES = 4_000
"""Of the log, about 16 MB, from which on it is folded."""


class Folding:
    """One folding at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"folds {path.name}")
        self._connection: apsw.Connection | None = None
        self._busy: asyncio.Future[None] | None = None

    async def open(self) -> None:
        """The file has to be there."""
        loop = asyncio.get_running_loop()
        self._connection = await loop.run_in_executor(self._thread, layout.folder, self._path)

    async def close(self) -> None:
        """Let a folding end. A second call does nothing."""
        if self._busy is not None:
            await asyncio.wait([self._busy])
        if self._connection is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._connection.close)
            self._connection = None
        self._thread.shutdown(wait=False)

    def start(self, pages: int, *, finish: Callable[[], None], then: ThreadPoolExecutor) -> None:
        """Fold a log of so many pages if that is worth it, unless a folding is under way."""
        if pages >= PAGES and self._busy is None and self._connection is not None:
            self._busy = asyncio.ensure_future(self._fold(self._connection, finish, then))

    async def _fold(
        self, connection: apsw.Connection, finish: Callable[[], None], then: ThreadPoolExecutor
    ) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._thread, fold, connection)
            await loop.run_in_executor(then, finish)
        except apsw.Error as error:  # the log keeps everything, and the next commit tries again
            logger.warning("the log of events is not folded", extra={"reason": str(error)})
        finally:
            self._busy = None


def fold(connection: apsw.Connection) -> None:
    """As much as readers allow."""
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
