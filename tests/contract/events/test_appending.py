"""What comes in is kept once, whole, and for its own organization only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from unittest import mock

import pytest

from contract.events.samples import NOW, blocked, call, event
from promises import promise
from rune.core.events import streams
from rune.core.events.base import Appended, EventStore, Filter, Retention
from rune.core.events.event import MAX_EVENTS, Scan, Sdk
from rune.errors import InvalidArgument, ResourceExhausted, Unavailable

pytestmark = promise("events.stored")

UUID = "6f1c2d3e-4a5b-4c6d-8e7f-901122334455"


async def ids(store: EventStore, organization: str = "default") -> list[str]:
    return [stored.event.event_id for stored in await store.tail(organization, 0)]


async def test_an_event_comes_back_as_it_was(store: EventStore) -> None:
    scan = Scan(
        risk_score=0.123456, l1_result="flag", l2_result="pass", layers_executed=("l1", "l2"),
        scan_latency_ms=1.5, pii_detected=True, threats_detected=({"type": "jailbreak", "start": 3},),
    )  # fmt: skip
    sent = call(
        UUID, "search", ago=1 / 3, direction="outbound", session_id="s", trace_id="t", tags=("prod", "eu"),
        sdk=Sdk(name="runesec", version="1"), framework="crewai", scan_result=scan,
        metadata={"note": "x", "nested": {"list": [1, None, 2.5]}},
    )  # fmt: skip
    await store.append("default", [sent])
    (stored,) = await store.tail("default", 0)
    assert (stored.position, stored.event) == (1, sent)


@pytest.mark.parametrize(
    "event_id",
    [UUID, UUID.upper(), UUID.replace("-", ""), "0123456789abcdef", "é" * 128, "{" + UUID[1:], " " * 36],
)
async def test_an_id_is_kept_letter_by_letter_whatever_its_form(store: EventStore, event_id: str) -> None:
    await store.append("default", [event(event_id), event("another")])
    found = await store.find("default", event_id)
    assert found is not None
    assert found.event.event_id == event_id


@promise("events.once")
async def test_an_event_that_is_sent_again_is_accepted_and_stored_once(store: EventStore) -> None:
    assert await store.append("default", [event("a"), event("b")]) == Appended(2, 0)
    assert await store.append("default", [event("b", ago=5), event("c")]) == Appended(2, 1)
    assert await ids(store) == ["a", "b", "c"]
    (agent,) = await store.agents("default", NOW)
    assert agent.events == 3


async def test_an_event_that_comes_twice_in_one_batch_is_stored_once(store: EventStore) -> None:
    assert await store.append("default", [event("a"), event("a"), event("b")]) == Appended(3, 1)
    assert await ids(store) == ["a", "b"]


async def test_the_same_event_sent_by_many_at_once_is_stored_once(store: EventStore) -> None:
    outcomes = await asyncio.gather(*(store.append("default", [event("a")]) for _ in range(20)))
    assert sum(outcome.duplicates for outcome in outcomes) == 19
    assert await ids(store) == ["a"]


async def test_the_same_id_in_two_organizations_is_two_events(store: EventStore) -> None:
    await store.append("acme", [event("a", agent="acme-agent")])
    assert await store.append("default", [event("a")]) == Appended(1, 0)
    assert store.positions() == {"acme": 1, "default": 1}


async def test_an_organization_sees_nothing_of_another(store: EventStore) -> None:
    await store.append("acme", [blocked("a"), blocked("b")])
    assert await store.tail("default", 0) == []
    assert await store.find("default", "a") is None
    assert await store.agents("default", NOW) == []
    assert not (await store.query("default", Filter(agent_id="support"))).events
    assert not (await store.query("acm", Filter())).events


async def test_appends_at_the_same_time_keep_the_order_of_their_calls(store: EventStore) -> None:
    await asyncio.gather(*(store.append("default", [event(f"{n}-{m}") for m in range(3)]) for n in range(30)))
    assert await ids(store) == [f"{n}-{m}" for n in range(30) for m in range(3)]


async def test_a_batch_that_is_too_large_is_refused_whole(store: EventStore) -> None:
    with pytest.raises(InvalidArgument, match="1001 in one batch, at most 1000"):
        await store.append("default", [event(str(n)) for n in range(MAX_EVENTS + 1)])
    assert store.positions() == {}


async def test_an_event_that_cannot_be_stored_refuses_its_batch(store: EventStore) -> None:
    with pytest.raises(InvalidArgument, match="an event cannot be stored"):
        await store.append("default", [event("a"), event("b", metadata={"n": 2**70})])
    assert await ids(store) == []


async def test_a_batch_with_too_many_agents_is_refused_and_its_neighbours_are_not(store: EventStore) -> None:
    with mock.patch.object(streams, "MAX_AGENTS", 2):
        await store.append("default", [event("a", agent="one"), event("b", agent="two")])
        crowd = [event("c", agent="one"), event("d", agent="three")]
        outcomes = await asyncio.gather(
            store.append("default", crowd),
            store.append("default", [event("e", agent="two")]),
            store.append("acme", [event("f", agent="three")]),
            return_exceptions=True,
        )
    assert isinstance(outcomes[0], ResourceExhausted)
    assert outcomes[0].message == "the organization has 2 agents and may have 2: use fewer agent ids"
    assert outcomes[1:] == [Appended(1, 0), Appended(1, 0)]
    assert await ids(store) == ["a", "b", "e"]


async def test_nothing_is_appended_for_an_empty_batch(store: EventStore) -> None:
    assert await store.append("default", []) == Appended(0, 0)
    assert store.positions() == {}


async def test_a_closed_store_refuses_everything(new: Callable[[Retention], EventStore]) -> None:
    async with new(Retention()) as store:
        await store.append("default", [event()])
    for refused in (
        store.append("default", [event("b")]), store.tail("default", 0), store.find("default", "e1"),
        store.agents("default", NOW), store.trim(NOW), store.check(), store.query("default", Filter()),
    ):  # fmt: skip
        with pytest.raises(Unavailable, match="the event store is closed"):
            await refused
    with pytest.raises(Unavailable, match="the event store is closed"):
        store.positions()
    await store.close()


async def test_what_was_accepted_before_closing_is_finished(new: Callable[[Retention], EventStore]) -> None:
    store = await new(Retention()).__aenter__()
    async with asyncio.TaskGroup() as group:
        appends = [group.create_task(store.append("default", [event(str(n))])) for n in range(5)]
        await asyncio.sleep(0)
        group.create_task(store.close())
    assert [append.result() for append in appends] == [Appended(1, 0)] * 5


async def test_only_what_is_old_is_trimmed(new: Callable[[Retention], EventStore]) -> None:
    async with new(Retention(max_age=timedelta(minutes=10))) as store:
        await store.append("default", [event(str(n), ago=20 - n) for n in range(20)])
        await store.append("acme", [event("new"), event("late", ago=60)])
        assert await store.trim(NOW - timedelta(minutes=10)) == 0
        while await store.trim(NOW):
            pass
        assert await ids(store) == [str(n) for n in range(10, 20)]
        assert await ids(store, "acme") == ["new", "late"], "what stands behind a younger one waits for it"
        assert await store.check() == type(await store.check())()
        (agent,) = await store.agents("default", NOW)
        assert agent.events == 20
        assert await store.append("default", [event("3")]) == Appended(1, 0), "it was forgotten"
        assert store.positions()["default"] == 21
