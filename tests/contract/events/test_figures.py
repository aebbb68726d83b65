"""Counters, series, rankings and baselines say what the events say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from contract.events.samples import NOW, blocked, call, event
from promises import promise
from rune.core.events.base import EventStore, Ranked, Span, Step
from rune.core.events.event import Scan
from rune.errors import InvalidArgument

pytestmark = promise("events.counted")

HOUR = Span(NOW - timedelta(hours=1), NOW + timedelta(minutes=1))


@promise("events.counted")
async def test_an_overview_counts_a_time(store: EventStore) -> None:
    await store.append(
        "default", [blocked("a", risk=0.9), event("b", agent="mail"), call("c", "pay", ago=90)]
    )
    seen = await store.overview("default", HOUR)
    assert (seen.events, seen.blocked, seen.threats, seen.agents) == (2, 1, 1, 2)
    assert seen.risk_score == pytest.approx(0.45)
    assert dict(seen.by_type) == {"scan": 2}
    assert dict(seen.by_threat) == {"prompt_injection": 1}


async def test_an_overview_of_hours_is_the_sum_of_its_minutes(store: EventStore) -> None:
    await store.append("default", [event(str(n), ago=n) for n in range(300)])
    span = Span(NOW - timedelta(minutes=250), NOW - timedelta(minutes=10))
    assert (await store.overview("default", span)).events == 240


@pytest.mark.parametrize("step, points, filled", [("minute", 61, 4), ("hour", 2, 2), ("day", 1, 1)])
async def test_a_series_has_a_point_for_every_step(
    store: EventStore, step: Step, points: int, filled: int
) -> None:
    await store.append("default", [event(str(n), ago=n * 15) for n in range(4)])
    series = await store.timeseries("default", HOUR, step=step)
    assert len(series) == points
    assert sum(point.events for point in series) == 4
    assert len([point for point in series if point.events]) == filled
    assert all(later.start > earlier.start for earlier, later in pairwise(series))


async def test_a_series_of_one_agent_leaves_the_others_out(store: EventStore) -> None:
    await store.append("default", [event("a"), blocked("b", agent="mail"), event("c", agent="mail")])
    (point,) = [
        point
        for point in await store.timeseries("default", HOUR, step="hour", agent_id="mail")
        if point.events
    ]
    assert (point.events, point.blocked, point.threats) == (2, 1, 1)
    assert point.start == datetime(2026, 3, 4, 12, tzinfo=UTC)
    nobody = await store.timeseries("default", HOUR, step="hour", agent_id="nobody")
    assert [point.events for point in nobody] == [0, 0]


async def test_a_series_that_is_too_long_is_refused(store: EventStore) -> None:
    with pytest.raises(InvalidArgument, match="step: 10081 points of a minute, at most 10000"):
        await store.timeseries("default", Span(NOW - timedelta(minutes=10_081), NOW), step="minute")


async def test_the_most_frequent_come_first_and_equals_by_name(store: EventStore) -> None:
    await store.append(
        "default",
        [
            blocked("a", threat="ssrf"),
            blocked("b", threat="jailbreak", agent="mail"),
            event("c", scan_result=Scan(threat_type="jailbreak"), agent="mail"),
            blocked("d", threat="sql_injection"),
            call("e", "search"),
            call("f", "pay", ago=200),
        ],
    )
    assert list(await store.top("default", "threat", HOUR, limit=2)) == [
        Ranked(name="jailbreak", events=2, blocked=1), Ranked(name="sql_injection", events=1, blocked=1),
    ]  # fmt: skip
    assert [line.name for line in await store.top("default", "agent", HOUR)] == ["support", "mail"]
    assert [line.name for line in await store.top("default", "type", HOUR)] == ["scan", "tool_call"]
    assert list(await store.top("default", "tool", HOUR)) == [Ranked(name="search", events=1, blocked=0)]


async def test_an_agent_has_counts_and_the_newest_framework(store: EventStore) -> None:
    await store.append("default", [blocked("a", ago=50, framework="langchain"), event("b", ago=5)])
    await store.append("default", [event("c", ago=20, framework="openai"), event("d", agent="mail")])
    mail, support = await store.agents("default", NOW)
    assert (mail.agent_id, mail.events, mail.framework) == ("mail", 1, "")
    assert (support.events, support.blocked, support.framework) == (3, 1, "openai")
    assert support.first_seen == NOW - timedelta(minutes=50)
    assert support.last_seen == NOW - timedelta(minutes=5)
    assert list(await store.agents("default", NOW, agent_id="mail")) == [mail]
    assert list(await store.agents("default", NOW, agent_id="nobody")) == []


async def test_an_agents_risk_forgets_with_time(store: EventStore) -> None:
    await store.append("default", [blocked("a", risk=1.0, ago=10), event("b")])
    (now,) = await store.agents("default", NOW)
    assert now.risk_score == pytest.approx(1 / 3, abs=1e-4), "ten minutes halve the weight"
    (later,) = await store.agents("default", NOW + timedelta(minutes=49))
    assert later.risk_score == pytest.approx(1 / 3, abs=1e-4)
    (much_later,) = await store.agents("default", NOW + timedelta(hours=2))
    assert much_later.risk_score == 0


async def test_a_baseline_is_the_agents_hours_and_its_mix(store: EventStore) -> None:
    await store.append(
        "default", [call("a", "search"), call("b", "search", ago=60), call("c", "pay", ago=61)]
    )
    await store.append("default", [blocked("d", agent="mail"), blocked("e", ago=24 * 60)])
    week = Span(NOW - timedelta(days=7), NOW)
    base = await store.baseline("default", "support", week)
    assert [(hour.start.hour, hour.events, hour.blocked) for hour in base.hours] == [
        (12, 1, 1), (11, 2, 0), (12, 1, 0),
    ]  # fmt: skip
    assert (dict(base.tools), dict(base.types)) == ({"search": 2, "pay": 1}, {"tool_call": 3, "scan": 1})
    assert dict(base.threats) == {"prompt_injection": 1}
    assert (await store.baseline("default", "nobody", week)).hours == ()


async def test_the_hours_of_several_agents_come_at_once(store: EventStore) -> None:
    await store.append("default", [call("a", "pay"), call("b", "pay", ago=60), blocked("c", agent="mail")])
    await store.append("acme", [event("a"), event("b", agent="other")])
    told = await store.activity(
        "default", ["mail", "support", "nobody"], Span(NOW - timedelta(hours=2), NOW + timedelta(minutes=1))
    )
    assert {name: [(hour.events, hour.blocked) for hour in hours] for name, hours in told.items()} == {
        "mail": [(0, 0), (0, 0), (1, 1)],
        "support": [(0, 0), (1, 0), (1, 0)],
        "nobody": [(0, 0), (0, 0), (0, 0)],
    }


async def test_a_span_the_wrong_way_round_holds_nothing(store: EventStore) -> None:
    await store.append("default", [event("a")])
    backwards = Span(HOUR.until, HOUR.since)
    assert (await store.overview("default", backwards)).events == 0
    assert list(await store.timeseries("default", backwards, step="hour")) == []
    assert list(await store.top("default", "tool", backwards)) == []
