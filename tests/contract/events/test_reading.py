"""Pages, tails and followers show every event once, whatever comes in meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

from contract.events.samples import NOW, blocked, call, event
from promises import promise
from rune.core.events.base import MAX_PAGE, Delivery, EventStore, Filter, Retention
from rune.errors import Unavailable

pytestmark = promise("events.read")


async def found(store: EventStore, wanted: Filter) -> list[str]:
    return [stored.event.event_id for stored in (await store.query("default", wanted)).events]


@pytest.fixture
async def filled(store: EventStore) -> EventStore:
    await store.append("default", [event("a", ago=50), blocked("b", ago=40), call("c", "search", ago=30)])
    await store.append("default", [call("d", "pay", allowed=False, ago=20, agent="mail")])
    await store.append("default", [blocked("e", threat="jailbreak", ago=10, agent="mail")])
    return store


@pytest.mark.parametrize(
    "wanted, expected",
    [
        (Filter(), "edcba"),
        (Filter(agent_id="mail"), "ed"),
        (Filter(agent_id="nobody"), ""),
        (Filter(event_type="tool_call"), "dc"),
        (Filter(event_type="session"), ""),
        (Filter(threat_type="jailbreak"), "e"),
        (Filter(blocked=True), "edb"),
        (Filter(blocked=False), "ca"),
        (Filter(blocked=True, agent_id="mail", event_type="tool_call"), "d"),
        (Filter(since=NOW - timedelta(minutes=30)), "edc"),
        (Filter(until=NOW - timedelta(minutes=30)), "ba"),
        (Filter(since=NOW - timedelta(minutes=40), until=NOW - timedelta(minutes=10)), "dcb"),
        (Filter(since=NOW), ""),
    ],
)
async def test_a_query_finds_what_matches_all_that_is_asked(
    filled: EventStore, wanted: Filter, expected: str
) -> None:
    assert await found(filled, wanted) == list(expected)


async def test_pages_neither_repeat_nor_skip_while_events_come_in(store: EventStore) -> None:
    await store.append("default", [event(str(n)) for n in range(10)])
    page = await store.query("default", Filter(), limit=4)
    seen = [stored.event.event_id for stored in page.events]
    while page.before is not None:
        await store.append("default", [event(f"new-{len(seen)}"), event(f"old-{len(seen)}", ago=999)])
        page = await store.query("default", Filter(), limit=4, before=page.before)
        seen += [stored.event.event_id for stored in page.events]
    assert seen == [str(n) for n in reversed(range(10))]


async def test_the_last_page_has_no_continuation_even_when_it_is_full(store: EventStore) -> None:
    await store.append("default", [event(str(n)) for n in range(4)])
    assert (await store.query("default", Filter(), limit=4)).before is None
    assert (await store.query("default", Filter(agent_id="support"), limit=3)).before == 2
    assert not (await store.query("default", Filter(), before=1)).events


async def test_a_page_is_bounded(store: EventStore) -> None:
    for part in range(3):
        await store.append("default", [event(f"{part}-{n}") for n in range(500)])
    assert len((await store.query("default", Filter(), limit=9_999)).events) == MAX_PAGE
    assert len(await store.tail("default", 0, 9_999)) == MAX_PAGE
    assert len(await store.tail("default", 1_499, 0)) == 1


async def test_a_tail_goes_on_behind_its_position(filled: EventStore) -> None:
    assert [stored.event.event_id for stored in await filled.tail("default", 3)] == ["d", "e"]
    assert [stored.position for stored in await filled.tail("default", -5, 2)] == [1, 2]
    assert list(await filled.tail("default", 99)) == []


async def test_a_follower_gets_what_is_there_and_what_comes(store: EventStore) -> None:
    await store.append("default", [event("a"), event("b")])
    async with asyncio.timeout(5):
        follower = store.follow({"default": 1})
        (first,) = await anext(follower)
        assert ids(first) == ["b"]
        waiting = asyncio.ensure_future(anext(follower))
        await store.append("acme", [event("c")])
        (second,) = await waiting
    assert (second.organization, ids(second), second.missed) == ("acme", ["c"], 0)


async def test_a_follower_of_one_organization_hears_of_no_other(store: EventStore) -> None:
    await store.append("acme", [event("a")])
    async with asyncio.timeout(5):
        follower = store.follow({}, only="default")
        waiting = asyncio.ensure_future(anext(follower))
        await store.append("acme", [event("b")])
        await store.append("default", [event("c")])
        (only,) = await waiting
    assert (only.organization, ids(only), only.missed) == ("default", ["c"], 0)


def ids(delivery: Delivery) -> list[str]:
    return [stored.event.event_id for stored in delivery.events]


async def test_followers_see_each_event_once_and_in_order_while_many_append(store: EventStore) -> None:
    async def read() -> list[int]:
        positions: list[int] = []
        async for (delivery,) in store.follow({}):
            positions += [stored.position for stored in delivery.events]
            if len(positions) == 400:
                break
        return positions

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        readers = [group.create_task(read()) for _ in range(3)]
        for n in range(40):
            group.create_task(store.append("default", [event(f"{n}-{m}") for m in range(10)]))
    assert [reader.result() for reader in readers] == [list(range(1, 401))] * 3


async def test_a_follower_is_told_how_many_events_retention_took(
    new: Callable[[Retention], EventStore],
) -> None:
    async with new(Retention(max_age=timedelta(minutes=10))) as store, asyncio.timeout(5):
        await store.append("default", [event("a", ago=30), event("b", ago=20), event("c")])
        while await store.trim(NOW):
            pass
        (delivery,) = await anext(store.follow({}))
        assert (ids(delivery), delivery.missed) == (["c"], 2)
        await store.append("default", [event("d", ago=30)])
        follower = store.follow({"default": 3})
        while await store.trim(NOW + timedelta(minutes=30)):
            pass
        (delivery,) = await anext(follower)
        assert (ids(delivery), delivery.missed) == ([], 1)


async def test_a_follower_ends_with_the_store(new: Callable[[Retention], EventStore]) -> None:
    async with new(Retention()) as store:
        waiting = asyncio.ensure_future(anext(store.follow({})))
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        with pytest.raises(Unavailable, match="closed"):
            await waiting
