"""Behaviour that is unlike an agent's own is found, with its numbers; ordinary behaviour is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rune.core.clock import ManualClock
from rune.core.events.base import Hour
from rune.core.events.event import read
from rune.core.events.memory import MemoryEvents
from rune.core.store.memory import MemoryStore
from rune.security import organizations
from rune.security.baselines import LEAST_HOURS, Anomaly, anomalies
from rune.security.kinds import KINDS, Alert
from rune.security.watchman import Watchman

START = datetime(2026, 3, 2, tzinfo=UTC)
USUAL = {"search": 90, "read": 10}


def hour(number: int, events: int = 30, blocked: int = 0) -> Hour:
    start = START + timedelta(hours=number)
    return Hour(start=start, events=events, blocked=blocked, threats=0, risk_score=0.0)


def week(**fields: int) -> list[Hour]:
    """Office hours of five days."""
    return [hour(day * 24 + at, **fields) for day in range(5) for at in range(8, 18)]


def found(
    present: Hour, tools: dict[str, int] | None = None, past: list[Hour] | None = None
) -> list[Anomaly]:
    given_past = week() if past is None else past
    return anomalies(present, given_past, tools=tools or {"search": 27, "read": 3}, usual_tools=USUAL)


def test_an_hour_like_the_others_is_no_anomaly() -> None:
    assert found(hour(5 * 24 + 10, events=32)) == []


def test_far_more_events_than_usual_are_one() -> None:
    (anomaly,) = found(hour(5 * 24 + 10, events=90))
    assert (anomaly.metric, anomaly.value, anomaly.usual) == ("rate", 90, 30)
    assert anomaly.score > anomaly.threshold
    assert anomaly.words == "90 events this hour, usually 30.0"


def test_far_more_blocks_than_usual_are_one() -> None:
    (anomaly,) = found(hour(5 * 24 + 10, events=40, blocked=10))
    assert anomaly.metric == "block_rate"
    assert anomaly.value == 0.25


def test_tools_that_were_never_called_are_one() -> None:
    (anomaly,) = found(hour(5 * 24 + 10), tools={"send_money": 25, "search": 5})
    assert anomaly.metric == "tool_mix"
    assert "'send_money'" in anomaly.words


def test_an_hour_of_the_day_at_which_the_agent_always_slept_is_one() -> None:
    (anomaly,) = found(hour(5 * 24 + 3))
    assert anomaly.metric == "time_of_day"
    assert "03:00 UTC" in anomaly.words


def test_of_an_agent_that_is_hardly_known_nothing_is_said() -> None:
    assert found(hour(200, events=10_000), past=week()[: LEAST_HOURS - 1]) == []


@given(
    events=st.integers(0, 10**6), share=st.floats(0, 1), tools=st.dictionaries(st.text(), st.integers(0, 99))
)
def test_whatever_an_hour_holds_the_numbers_are_numbers(
    events: int, share: float, tools: dict[str, int]
) -> None:
    for anomaly in found(hour(130, events=events, blocked=int(events * share)), tools=tools):
        assert anomaly.score >= anomaly.threshold
        assert anomaly.words


async def test_the_watchman_raises_one_alert_an_hour_with_the_numbers() -> None:
    clock = ManualClock(START)
    store, events = MemoryStore(KINDS), MemoryEvents()
    async with store, events:
        await organizations.seed(store, clock)
        for number in range(48):
            await _append(events, clock.now(), number, 25)
            clock.advance(3600)
        await _append(events, clock.now(), 48, 400)
        watchman = Watchman(store, events, clock=clock)
        await watchman.round()
        await watchman.round()
        (alert,) = store.list(Alert)
    assert (alert.alert_type, alert.rule, alert.occurrences) == ("behavioral_anomaly", "rate", 1)
    assert alert.details["value"] == 400
    assert alert.title == "Behavioral anomaly detected on bot: 400 events this hour, usually 25.0"


async def _append(events: MemoryEvents, at: datetime, hour: int, count: int) -> None:
    made: list[dict[str, Any]] = [
        {"event_id": f"{hour}-{n}", "timestamp": at.isoformat(), "agent_id": "bot", "event_type": "scan"}
        for n in range(count)
    ]
    await events.append("default", read(made, at))
