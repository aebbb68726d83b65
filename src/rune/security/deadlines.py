"""Deadlines: when which call has waited for too long, the next one first."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from rune.core.clock import Clock

LEAP: Final = 30.0
"""Seconds after which the time of day is looked at again, since it may leap where a timer does not."""

Who = tuple[str, str]
"""Namespace and id."""


class Deadlines:
    """Moments, and what each is about. Waiting for the next costs nothing while there is none."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[datetime, Who]] = []
        self._known: set[tuple[datetime, Who]] = set()
        self._changed = asyncio.Event()

    def add(self, found: Iterable[tuple[datetime, Who]]) -> None:
        """Keeps them until they are due; those that are kept already are not kept twice."""
        for each in found:
            if each not in self._known:
                self._known.add(each)
                heapq.heappush(self._heap, each)
                self._changed.set()

    def look(self) -> None:
        """Have the time of day looked at now."""
        self._changed.set()

    async def due(self) -> list[Who]:
        """Waits until there are some that are due, and forgets them."""
        while True:
            self._changed.clear()
            now = self._clock.now()
            found: list[Who] = []
            while self._heap and self._heap[0][0] <= now:
                first = heapq.heappop(self._heap)
                self._known.discard(first)
                found.append(first[1])
            if found:
                return found
            left = min((self._heap[0][0] - now).total_seconds(), LEAP) if self._heap else None
            try:
                async with asyncio.timeout(left):
                    await self._changed.wait()
            except TimeoutError:
                continue
