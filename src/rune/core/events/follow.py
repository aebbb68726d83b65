"""How far every organization is, and those who wait for it to get further."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

from rune.core.events.base import MAX_PAGE, Delivery, Stored
from rune.errors import Closed

Tail = Callable[[str, int, int], Awaitable[Sequence[Stored]]]


class Positions:
    """The newest position of each organization; belongs to one event loop."""

    def __init__(self) -> None:
        self._newest: dict[str, int] = {}
        self._moved = asyncio.Event()
        self._closed = False

    def of(self, organization: str) -> int:
        """Of one; 0 when it has nothing yet."""
        return self._newest.get(organization, 0)

    def newest(self) -> dict[str, int]:
        """A copy, without those that have nothing yet."""
        return {name: position for name, position in self._newest.items() if position}

    def move(self, newest: Mapping[str, int]) -> None:
        """These organizations are so far now; wakes everybody who waits."""
        self._newest.update(newest)
        self._wake()

    def close(self) -> None:
        """End every wait with Closed."""
        self._closed = True
        self._wake()

    async def wait(self) -> None:
        """Until something has moved since this was called; raises Closed when the store closes."""
        if not self._closed:
            await self._moved.wait()
        if self._closed:
            raise Closed("the event store is closed")

    def _wake(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()


class Recent:
    """The events that came last, as they came: who follows closely needs no disk.

    Holds so many at most, and so many bytes: how large an event is, is for an agent to say.
    """

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._held = self._bytes = 0
        self._order: deque[tuple[str, int]] = deque()
        self._pieces: dict[str, deque[Sequence[Stored]]] = {}

    def add(self, organization: str, events: Sequence[Stored], size: int) -> None:
        """Events that have just become durable, in the order of their positions; `size` in bytes."""
        if not events:
            return
        self._pieces.setdefault(organization, deque()).append(events)
        self._order.append((organization, size))
        self._held += len(events)
        self._bytes += size
        while self._held > self._most or self._bytes > self._most_bytes:
            self._forget(*self._order.popleft())

    def behind(self, organization: str, after: int) -> Sequence[Stored] | None:
        """Everything behind a position, or None when a part of it is no longer here."""
        pieces = self._pieces.get(organization)
        if not pieces or pieces[0][0].position > after + 1:
            return None
        found: deque[Sequence[Stored]] = deque()
        for piece in reversed(pieces):
            if piece[-1].position <= after:
                break
            found.appendleft(piece)
        return [each for piece in found for each in piece if each.position > after]

    def clear(self) -> None:
        """Forget everything: retention has begun to drop events."""
        self._held = self._bytes = 0
        self._order.clear()
        self._pieces.clear()

    def _forget(self, organization: str, size: int) -> None:
        pieces = self._pieces[organization]
        self._held -= len(pieces.popleft())
        self._bytes -= size
        if not pieces:
            del self._pieces[organization]


async def follow(
    positions: Positions, tail: Tail, after: Mapping[str, int], *, only: str = ""
) -> AsyncIterator[Sequence[Delivery]]:
    """What is new in every organization, a bounded part of each, so that a busy one holds up no other."""
    seen = dict(after)
    while True:
        newest_of = {only: positions.of(only)} if only else positions.newest()
        behind = [name for name, newest in newest_of.items() if newest > seen.get(name, 0)]
        if not behind:
            await positions.wait()
            continue
        deliveries: list[Delivery] = []
        for name in behind:
            newest, before = positions.of(name), seen.get(name, 0)
            events = await tail(name, before, MAX_PAGE)
            first, seen[name] = (events[0].position, events[-1].position) if events else (newest + 1, newest)
            deliveries.append(Delivery(name, events, missed=first - before - 1))
        yield deliveries


def bounded(limit: int) -> int:
    """How many events one call returns: at least one, at most a page."""
    return min(max(limit, 1), MAX_PAGE)
