"""Open streams, and how they are told that the server goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from rune.errors import Unavailable

GOING = "the server is shutting down; connect again"


class Streams:
    """Streams that would go on for ever. When they are ended, each fails with Unavailable at once."""

    def __init__(self) -> None:
        self._open: set[asyncio.Timeout] = set()
        self._ended = False

    def __len__(self) -> int:
        return len(self._open)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Holds one stream; raises Unavailable inside when all are ended."""
        if self._ended:
            raise Unavailable(GOING)
        window = asyncio.timeout(None)
        try:
            async with window:
                self._open.add(window)
                yield
        except TimeoutError as error:
            if not window.expired():
                raise
            raise Unavailable(GOING) from error
        finally:
            self._open.discard(window)

    def end(self) -> None:
        """End all of them, and every later one as it begins."""
        self._ended = True
        now = asyncio.get_running_loop().time()
        for window in tuple(self._open):
            window.reschedule(now)
