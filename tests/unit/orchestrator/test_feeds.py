"""Feeds are read one item ahead, and closed whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from rune.orchestrator.feeds import Feeds


class Counted:
    """Numbers, how many were given out, and whether the end was reached."""

    def __init__(self, count: int) -> None:
        self.given = 0
        self.closed = False
        self._count = count

    async def items(self) -> AsyncGenerator[int]:
        try:
            for number in range(1, self._count + 1):
                self.given = number
                yield number
        finally:
            self.closed = True


async def test_items_come_with_their_key_and_the_end_is_told() -> None:
    feeds: Feeds[int] = Feeds()
    feeds.open("a", Counted(1).items())
    assert await feeds.take() == ("a", 1)
    assert "a" in feeds
    feeds.more("a")
    assert await feeds.take() == ("a", None)
    assert not feeds
    assert await feeds.take(seconds=0.01) is None


async def test_nothing_is_read_ahead_of_who_asks() -> None:
    feeds: Feeds[int] = Feeds()
    numbers = Counted(100)
    feeds.open("a", numbers.items())
    await feeds.take()
    assert await feeds.take(seconds=0.01) is None
    assert numbers.given == 1
    await feeds.close()
    assert numbers.closed


async def test_one_feed_may_end_while_others_go_on() -> None:
    feeds: Feeds[int] = Feeds()
    ended, other = Counted(9), Counted(9)
    feeds.open("ended", ended.items())
    feeds.open("other", other.items())
    await feeds.take()
    await feeds.end("ended")
    await feeds.end("ended")
    assert ended.closed
    assert not other.closed
    await feeds.close()
    assert other.closed


async def test_a_failure_is_raised_and_the_rest_can_be_closed() -> None:
    async def broken() -> AsyncGenerator[int]:
        raise ValueError("broken")
        yield 1

    feeds: Feeds[int] = Feeds()
    other = Counted(9)
    feeds.open("broken", broken())
    feeds.open("other", other.items())
    with pytest.raises(ValueError, match="broken"):
        await feeds.take()
    await feeds.close()
    assert other.closed


async def test_a_feed_that_waits_is_interrupted() -> None:
    left = asyncio.Event()

    async def waiting() -> AsyncGenerator[int]:
        try:
            await asyncio.Event().wait()
            yield 1
        finally:
            left.set()

    feeds: Feeds[int] = Feeds()
    feeds.open("a", waiting())
    assert await feeds.take(seconds=0.01) is None
    await feeds.close()
    assert left.is_set()
