"""The newest changes, and the watches that read them. A watch is a position in here, not a queue."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Self

from rune.core.store.base import Change
from rune.errors import Closed, OutOfRange

TURN = 256
"""How many kept changes a watch hands out before it lets the rest of the event loop run."""


class History:
    """A bounded run of consecutive changes, up to the newest revision."""

    def __init__(self, limit: int) -> None:
        if limit < 1:
            message = f"a store keeps at least 1 change, not {limit}"
            raise ValueError(message)
        self.limit = limit
        self.revision = 0
        self._kept: dict[int, Change] = {}
        self._moved = asyncio.Event()
        self._closed = False

    @property
    def oldest(self) -> int:
        """The oldest revision that a watch may start after."""
        return self.revision - len(self._kept)

    def publish(self, changes: Sequence[Change]) -> None:
        """Add the next changes, forget the oldest past the limit, and wake every watch once."""
        for change in changes:
            self.revision = change.revision
            self._kept[change.revision] = change
            self._kept.pop(change.revision - self.limit, None)
        self._wake()

    def watch(self, after: int) -> Watch:
        """A watch of what follows `after`; raises OutOfRange for a revision that is not in here."""
        if self._closed:
            raise closed()
        if after > self.revision:
            message = f"revision {after} is in the future, the newest is {self.revision}: list again"
            raise OutOfRange(message, oldest=self.oldest)
        self._refuse_lost(after)
        return Watch(self, after)

    async def next(self, after: int) -> Change:
        """The change that follows `after`; waits for it when it is not there yet."""
        while after == self.revision:
            if self._closed:
                raise closed()
            await self._moved.wait()
        self._refuse_lost(after)
        return self._kept[after + 1]

    def close(self) -> None:
        """End every watch, each after it has read what is kept."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    def _refuse_lost(self, after: int) -> None:
        if after < self.oldest:
            message = (
                f"the changes after revision {after} are no longer kept (oldest: {self.oldest}): list again"
            )
            raise OutOfRange(message, oldest=self.oldest)


class Watch:
    """An iterator over changes. Dropping it is enough to end it: nothing else knows of it."""

    __slots__ = ("_history", "_position")

    def __init__(self, history: History, after: int) -> None:
        self._history = history
        self._position = after

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change:
        if self._position % TURN == 0:
            await asyncio.sleep(0)
        change = await self._history.next(self._position)
        self._position = change.revision
        return change


def closed() -> Closed:
    """What everything raises that is asked of a closed store."""
    return Closed("the store is closed")
