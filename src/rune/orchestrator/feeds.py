"""Feeds: several async iterators read at the same time, never more than one item ahead of who asks."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Feeds(Generic[T]):
    """Iterators by key. Whoever opens feeds closes them: that ends every iterator."""

    def __init__(self) -> None:
        self._items: dict[str, AsyncIterator[T]] = {}
        self._steps: dict[str, asyncio.Future[T | None]] = {}
        self._arrived: deque[str] = deque()
        self._woken = asyncio.Event()

    def __contains__(self, key: object) -> bool:
        return key in self._items

    def __len__(self) -> int:
        return len(self._items)

    def open(self, key: str, items: AsyncIterator[T]) -> None:
        """Begin to read; the key must not be open."""
        self._items[key] = items
        self.more(key)

    def more(self, key: str) -> None:
        """Read the next item of a feed whose last one was taken."""
        step = asyncio.ensure_future(_next(self._items[key]))
        self._steps[key] = step
        step.add_done_callback(lambda step: self._arrive(key, step))

    async def take(self, seconds: float | None = None) -> tuple[str, T | None] | None:
        """What arrived first, with its key; an item of None is the end of that feed, which is closed then.

        Returns None when nothing arrives in so many seconds; raises what a feed raised.
        """
        while not self._arrived:
            self._woken.clear()
            try:
                async with asyncio.timeout(seconds):
                    await self._woken.wait()
            except TimeoutError:
                return None
        key = self._arrived.popleft()
        item = self._steps.pop(key).result()
        if item is None:
            del self._items[key]
        return key, item

    async def end(self, key: str) -> None:
        """Close one feed; what it has ready is lost. One that is not open is fine."""
        items, step = self._items.pop(key, None), self._steps.pop(key, None)
        if key in self._arrived:
            self._arrived.remove(key)
        if step is not None:
            step.cancel()
            await asyncio.gather(step, return_exceptions=True)
        if isinstance(items, AsyncGenerator):
            await items.aclose()

    async def close(self) -> None:
        """Close every feed."""
        for step in self._steps.values():
            step.cancel()
        for key in list(self._items):
            await self.end(key)

    def _arrive(self, key: str, step: asyncio.Future[T | None]) -> None:
        if self._steps.get(key) is step:
            self._arrived.append(key)
            self._woken.set()


async def _next(items: AsyncIterator[T]) -> T | None:
    return await anext(items, None)
