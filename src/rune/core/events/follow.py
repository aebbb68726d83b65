"""How far every organization is, and those who wait for it to get further."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

from rune.core.events.base import MAX_PAGE, Delivery, Stored
from rune.errors import Unavailable

Tail = Callable[[str, int, int], Awaitable[Sequence[Stored]]]


class Positions:
    """The newest position of each organization; belongs to one event loop."""

    def __init__(self) -> None:
        self._newest: dict[str, int] = {}
        self._moved = asyncio.Event()
        self._closed = False

    def newest(self) -> dict[str, int]:
        """A copy, without those that have nothing yet."""
        return {name: position for name, position in self._newest.items() if position}

    def move(self, newest: Mapping[str, int]) -> None:
        """These organizations are so far now; wakes everybody who waits."""
        self._newest.update(newest)
        self._wake()

    def close(self) -> None:
        """End every wait with Unavailable."""
        self._closed = True
        self._wake()

    async def wait(self) -> None:
        """Until something has moved since this was called; raises Unavailable when the store closes."""
        if not self._closed:
            await self._moved.wait()
        if self._closed:
            raise Unavailable("the event store is closed")

    def _wake(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()


async def follow(positions: Positions, tail: Tail, after: Mapping[str, int]) -> AsyncIterator[Delivery]:
    """Deliveries of all organizations in turns, so that a busy one does not hold up the others."""
    seen = dict(after)
    while True:
        behind = [name for name, newest in positions.newest().items() if newest > seen.get(name, 0)]
        if not behind:
            await positions.wait()
        for name in behind:
            newest = positions.newest()[name]
            events = await tail(name, seen.get(name, 0), MAX_PAGE)
            first, last = (events[0].position, events[-1].position) if events else (newest + 1, newest)
            yield Delivery(name, events, missed=first - seen.get(name, 0) - 1)
            seen[name] = last


def bounded(limit: int) -> int:
    """How many events one call returns: at least one, at most a page."""
    return min(max(limit, 1), MAX_PAGE)
