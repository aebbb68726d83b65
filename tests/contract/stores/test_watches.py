"""What every store shows to those who watch it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from contract.stores.models import Box, Node
from promises import promise
from rune.core.store.base import Change, Delete, Key, Mutation, Put, Store
from rune.errors import AlreadyExists, OutOfRange, Unavailable

pytestmark = promise("stores.watches")


async def take(watch: AsyncIterator[Change], count: int) -> list[Change]:
    async with asyncio.timeout(5):
        return [await anext(watch) for _ in range(count)]


async def put(store: Store, *names: str) -> None:
    for name in names:
        await store.commit(Put(Box(name=name)))


async def test_a_change_tells_what_was_done_and_each_value_before_and_after(store: Store) -> None:
    key = Key("boxes", "prod", "a")
    await store.commit(Put(Box(name="a")), operation="boxes.create")
    await store.commit(Put(Box(name="a", size=2, revision=1)), Put(Node(name="n")), operation="boxes.grow")
    await store.commit(Delete(key), operation="boxes.delete")
    first, second = Box(name="a", revision=1), Box(name="a", size=2, revision=2)
    node = Mutation(Key("nodes", "", "n"), None, Node(name="n", revision=2))
    assert await take(store.watch(0), 3) == [
        Change(1, "boxes.create", (Mutation(key, None, first),)),
        Change(2, "boxes.grow", (Mutation(key, first, second), node)),
        Change(3, "boxes.delete", (Mutation(key, second, None),)),
    ]


@promise("watch.resume")
async def test_a_watch_gives_what_was_and_what_comes_in_order_and_once(store: Store) -> None:
    await put(store, "a", "b", "c")
    watch = store.watch(1)
    assert [change.revision for change in await take(watch, 2)] == [2, 3]
    following = asyncio.ensure_future(take(watch, 2))
    await asyncio.sleep(0)
    await asyncio.gather(*(put(store, name) for name in "de"))
    assert [change.revision for change in await following] == [4, 5]


async def test_a_watch_from_the_newest_revision_waits_for_the_next(store: Store) -> None:
    await put(store, "a")
    following = asyncio.ensure_future(take(store.watch(store.revision), 1))
    await asyncio.sleep(0)
    assert not following.done()
    await put(store, "b")
    assert (await following)[0].revision == 2


async def test_what_a_watch_shows_can_be_read(store: Store) -> None:
    async def reads_agree() -> bool:
        return all(store.revision >= change.revision for change in await take(store.watch(0), 20))

    watching = asyncio.ensure_future(reads_agree())
    await asyncio.gather(*(put(store, f"b{number}") for number in range(20)))
    assert await watching


async def test_a_refused_commit_is_no_change(store: Store) -> None:
    await put(store, "a")
    with pytest.raises(AlreadyExists):
        await put(store, "a")
    await put(store, "b")
    assert [change.revision for change in await take(store.watch(0), 2)] == [1, 2]


async def test_hundreds_of_watches_see_the_same(store: Store) -> None:
    watching = [asyncio.ensure_future(take(store.watch(0), 30)) for _ in range(200)]
    await asyncio.gather(*(put(store, f"b{number}") for number in range(30)))
    seen = await asyncio.gather(*watching)
    assert all([change.revision for change in each] == list(range(1, 31)) for each in seen)


@promise("watch.old", "weak-spot.25")
async def test_a_watch_older_than_the_kept_history_is_refused_at_once(small: Store) -> None:
    await put(small, *"abcde")
    assert (small.revision, small.oldest) == (5, 2)
    with pytest.raises(
        OutOfRange, match=r"changes after revision 1 are no longer kept \(oldest: 2\)"
    ) as caught:
        small.watch(1)
    assert caught.value.oldest == 2


async def test_a_watch_may_start_at_the_oldest_revision(small: Store) -> None:
    await put(small, *"abcde")
    assert [change.revision for change in await take(small.watch(small.oldest), 3)] == [3, 4, 5]


async def test_a_watch_from_the_future_is_refused(store: Store) -> None:
    await put(store, "a")
    with pytest.raises(OutOfRange, match="revision 2 is in the future, the newest is 1"):
        store.watch(2)


@promise("weak-spot.21")
async def test_a_reader_that_falls_behind_the_kept_history_is_told_so(small: Store) -> None:
    watch = small.watch(0)
    await put(small, *"abc")
    assert (await take(watch, 1))[0].revision == 1
    await put(small, *"def")
    with pytest.raises(OutOfRange, match="list again"):
        await take(watch, 1)


@promise("watch.slow")
async def test_a_slow_reader_does_not_slow_the_others(small: Store) -> None:
    slow, quick = small.watch(0), small.watch(0)
    for name in "abcdef":
        await put(small, name)
        await take(quick, 1)
    with pytest.raises(OutOfRange):
        await take(slow, 1)


async def test_a_watch_that_waits_ends_when_the_store_closes(store: Store) -> None:
    following = asyncio.ensure_future(take(store.watch(0), 1))
    await asyncio.sleep(0)
    await store.close()
    with pytest.raises(Unavailable, match="the store is closed"):
        await following


async def test_a_watch_gives_what_is_left_before_it_says_that_the_store_closed(store: Store) -> None:
    await put(store, "a", "b")
    watch = store.watch(0)
    await store.close()
    assert len(await take(watch, 2)) == 2
    with pytest.raises(Unavailable):
        await take(watch, 1)


async def test_a_cancelled_watch_can_go_on(store: Store) -> None:
    watch = store.watch(0)
    waiting = asyncio.ensure_future(take(watch, 1))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    await put(store, "a")
    assert (await take(watch, 1))[0].revision == 1


async def test_a_watch_of_a_long_history_lets_others_run(store: Store) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    await asyncio.gather(*(put(store, f"b{number}") for number in range(900)))
    counting = asyncio.ensure_future(count())
    await take(store.watch(0), 900)
    counting.cancel()
    assert turns >= 3
