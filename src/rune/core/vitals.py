"""Vitals: whether the store can still be written and read, asked again and again, for `/healthz`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from rune.core.store.base import Store
from rune.errors import RuneError

logger = logging.getLogger(__name__)

PERIOD: Final = 2.0
"""Seconds between two looks; /healthz itself never waits for the disk."""
PATIENCE: Final = 5.0
"""Seconds that the store has to answer."""


Listener = Callable[[bool], Awaitable[None]]


class Vitals:
    """Knows what is wrong with a store, at most a few seconds late."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.trouble = ""
        """Why the store is out of reach; empty while it is not."""
        self._told: list[Listener] = []

    def on_change(self, listener: Listener) -> None:
        """Have it told whenever the store goes out of reach (False) or is back (True)."""
        self._told.append(listener)

    async def run(self) -> None:
        """Look, until it is cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(PERIOD)

    async def look(self) -> None:
        """Ask the store once."""
        before, self.trouble = self.trouble, await self._asked()
        if self.trouble and not before:
            logger.error("the store is out of reach", extra={"reason": self.trouble})
        elif before and not self.trouble:
            logger.info("the store is back")
        if bool(before) is not bool(self.trouble):
            for listener in self._told:
                await listener(not self.trouble)

    async def _asked(self) -> str:
        try:
            async with asyncio.timeout(PATIENCE):
                await self._store.probe()
        except TimeoutError:
            return f"the store has not answered for {PATIENCE:g} s"
        except RuneError as error:
            return error.message
        return ""
