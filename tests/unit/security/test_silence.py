"""An agent that falls silent is told of once, when that is unlike it, also over a restart of the server."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from promises import promise
from rune.api.orchestrator.services import Service
from rune.core.clock import ManualClock
from rune.core.events.base import Hour
from rune.core.events.event import read
from rune.core.events.memory import MemoryEvents
from rune.core.store.base import Put
from rune.core.store.memory import MemoryStore
from rune.security import meeting, organizations
from rune.security.baselines import LEAST_HOURS, longest_pause
from rune.security.kinds import KINDS, Alert, Registration, space
from rune.security.silence import Silence

START = datetime(2026, 3, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
FROM_NINE_TO_FIVE = [day * 24 + at for day in range(9) if day % 7 < 5 for at in range(9, 17)]


@dataclass
class World:
    """A server without doors, whose time is the test's."""

    clock: ManualClock
    store: MemoryStore
    events: MemoryEvents
    silence: Silence
    number: int = 0

    async def send(self, count: int = 2) -> None:
        """Events of the agent, now, and what detection writes of them."""
        now = self.clock.now()
        self.number += 1
        made: list[dict[str, Any]] = [
            {
                "event_id": f"{self.number}-{n}",
                "timestamp": now.isoformat(),
                "agent_id": "bot",
                "event_type": "scan",
            }
            for n in range(count)
        ]
        batch = read(made, now)
        await self.events.append("default", batch)
        await self.store.commit(*meeting.writes(self.store, "default", batch, now=now))

    async def work(self, hours: Sequence[int], count: int = 2) -> None:
        """Send in these hours, counted from now on; ends in the last one."""
        for before, hour in pairwise([0, *hours]):
            self.clock.advance((hour - before) * 3600)
            await self.send(count)

    async def after(self, **time: float) -> list[Alert]:
        """The alerts after a round at that time from now."""
        self.clock.advance(timedelta(**time).total_seconds())
        await self.silence.round()
        return list(self.store.list(Alert))

    def restart(self) -> None:
        """The server forgets what is not written."""
        self.silence = Silence(self.store, self.events, clock=self.clock)


@asynccontextmanager
async def world() -> AsyncGenerator[World]:
    clock = ManualClock(START)
    store, events = MemoryStore([*KINDS, Service]), MemoryEvents()
    async with store, events:
        await organizations.seed(store, clock)
        yield World(clock, store, events, Silence(store, events, clock=clock))


@promise("security.silence")
async def test_an_agent_that_works_around_the_clock_is_missed_after_two_hours() -> None:
    async with world() as w:
        await w.work(range(30))
        assert await w.after(minutes=119) == []
        (alert,) = await w.after(minutes=1)
    assert (alert.alert_type, alert.severity, alert.occurrences) == ("agent_silent", "high", 1)
    assert alert.title == "Silence detected on bot: nothing since 2026-03-03 05:00 UTC"
    assert alert.details == {
        "silent_since": [round((START + 29 * HOUR).timestamp() * 1000)],
        "longest_pause_seconds": 7200,
    }


async def test_a_busy_agent_is_missed_after_a_quarter_of_an_hour() -> None:
    async with world() as w:
        await w.work(range(26), count=60)
        assert await w.after(minutes=14) == []
        assert len(await w.after(minutes=2)) == 1


async def test_nothing_is_remembered_of_an_agent_that_is_back() -> None:
    async with world() as w:
        await w.work(range(48))
        await w.after(hours=3)
        assert vars(w.silence)["_pauses"]
        await w.send()
        await w.after(minutes=1)
        assert not vars(w.silence)["_pauses"]


async def test_nights_and_weekends_are_no_silence_and_a_missed_day_is_one() -> None:
    async with world() as w:
        for before, hour in pairwise([0, *FROM_NINE_TO_FIVE]):
            for _ in range(hour - before):
                assert await w.after(hours=1) == []
            await w.send()
        assert await w.after(hours=64) == []
        assert len(await w.after(hours=2)) == 1


async def test_one_silence_is_told_once_whatever_becomes_of_its_alert_and_the_server() -> None:
    async with world() as w:
        await w.work(range(30))
        (alert,) = await w.after(hours=3)
        await w.store.commit(Put(replace(alert, status="resolved")))
        w.restart()
        (same,) = await w.after(hours=5)
        assert (same.status, same.occurrences) == ("resolved", 1)
        await w.send()
        w.restart()
        assert len(await w.after(hours=3)) == 2


async def test_another_silence_counts_while_the_alert_is_open() -> None:
    async with world() as w:
        await w.work(range(30))
        await w.after(hours=3)
        await w.work(range(30))
        (alert,) = await w.after(hours=3)
    assert alert.occurrences == 2
    assert len(alert.details["silent_since"]) == 2


async def test_a_silence_that_somebody_took_for_ordinary_is_one_from_then_on() -> None:
    async with world() as w:
        await w.work(range(8 * 24))
        (alert,) = await w.after(hours=5)
        await w.store.commit(Put(replace(alert, status="false_positive")))
        await w.send()
        assert len(await w.after(hours=5)) == 1
        assert len(await w.after(hours=2)) == 2


async def test_agents_have_time_to_come_back_to_a_server_that_was_away() -> None:
    async with world() as w:
        await w.work(range(30))
        w.clock.advance(6 * 3600)
        w.restart()
        assert await w.after(minutes=119) == []
        assert len(await w.after(minutes=1)) == 1


async def test_who_was_made_silent_is_not_missed() -> None:
    async with world() as w:
        await w.work(range(30))
        said = w.store.get(Registration, space("default"), "bot")
        await w.store.commit(Put(replace(said, quarantined=True)))
        assert await w.after(hours=9) == []
        said = w.store.get(Registration, space("default"), "bot")
        service = Service(name="bot", namespace="default", scale=0)
        await w.store.commit(Put(replace(said, quarantined=False, service="default/bot")), Put(service))
        assert await w.after(hours=1) == []
        found = w.store.get(Service, "default", "bot")
        await w.store.commit(Put(replace(found, scale=1)))
        assert len(await w.after(hours=1)) == 1


async def test_the_log_tells_when_an_agent_becomes_inactive_and_active_again() -> None:
    async with world() as w:
        await w.send()
        await w.after(minutes=16)
        assert w.store.get(Registration, space("default"), "bot").silent
        revision = w.store.revision
        await w.after(minutes=16)
        assert w.store.revision == revision
        await w.send()
        assert not w.store.get(Registration, space("default"), "bot").silent


def hours_of(minutes: Sequence[int]) -> list[Hour]:
    starts = sorted({minute // 60 for minute in minutes})
    return [
        Hour(start=START + each * HOUR, events=1, blocked=0, threats=0, risk_score=0.0) for each in starts
    ]


@given(minutes=st.lists(st.integers(0, 8 * 24 * 60), min_size=2, max_size=200, unique=True).map(sorted))
def test_no_pause_that_an_agent_ever_made_is_longer_than_what_is_unlike_it(minutes: list[int]) -> None:
    pause = longest_pause(hours_of(minutes))
    if pause is not None:
        assert max(later - earlier for earlier, later in pairwise(minutes)) * 60 < pause.total_seconds()


def test_of_an_agent_that_is_hardly_known_no_silence_is_told() -> None:
    assert longest_pause(hours_of([n * 60 for n in range(LEAST_HOURS - 1)])) is None
    assert longest_pause(hours_of([n * 120 for n in range(LEAST_HOURS + 9)])) is None
