"""An event store in a list, for tests of what stands above one: simple, and counted anew at every question."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Self

from rune.core.events.base import (
    Agent,
    Appended,
    Baseline,
    Delivery,
    Dimension,
    Filter,
    Hour,
    Overview,
    Page,
    Point,
    Ranked,
    Step,
    Stored,
)
from rune.core.events.event import Event

SIZES: dict[Step, timedelta] = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
}


class ListedEvents:
    """Keeps events until the test ends."""

    def __init__(self) -> None:
        self._events: dict[str, list[Stored]] = {}
        self._changed = asyncio.Event()

    async def append(self, organization: str, events: Sequence[Event]) -> Appended:
        held = self._events.setdefault(organization, [])
        known = {each.event.event_id for each in held}
        before = len(held)
        for event in events:
            if event.event_id not in known:
                known.add(event.event_id)
                held.append(Stored(len(held) + 1, event))
        self._changed.set()
        self._changed = asyncio.Event()
        return Appended(accepted=len(events), duplicates=len(events) - (len(held) - before))

    async def find(self, organization: str, event_id: str) -> Stored | None:
        return next((each for each in self._of(organization) if each.event.event_id == event_id), None)

    async def query(
        self, organization: str, wanted: Filter, *, limit: int = 50, before: int | None = None
    ) -> Page:
        every = [each for each in reversed(self._of(organization)) if before is None or each.position < before]
        found = [each for each in every if matches(each.event, wanted)]
        more = len(found) > limit
        return Page(events=found[:limit], before=found[limit - 1].position if more else None)

    async def tail(self, organization: str, after: int, limit: int = 1000) -> Sequence[Stored]:
        return [each for each in self._of(organization) if each.position > after][:limit]

    async def follow(self, after: Mapping[str, int]) -> AsyncIterator[Delivery]:
        at = dict(after)
        while True:
            changed = self._changed
            for organization in list(self._events):
                events = await self.tail(organization, at.get(organization, 0))
                if events:
                    at[organization] = events[-1].position
                    yield Delivery(organization=organization, events=events, missed=0)
            await changed.wait()

    def positions(self) -> Mapping[str, int]:
        return {organization: len(events) for organization, events in self._events.items()}

    async def overview(self, organization: str, since: datetime, until: datetime) -> Overview:
        events = self._between(organization, since, until)
        return Overview(
            events=len(events),
            blocked=sum(each.blocked for each in events),
            threats=sum(bool(each.threat_type) for each in events),
            risk_score=sum(each.risk_score for each in events) / max(len(events), 1),
            agents=len({each.agent_id for each in events}),
            by_type=Counter(each.event_type for each in events),
            by_threat=Counter(each.threat_type for each in events if each.threat_type),
        )

    async def timeseries(
        self, organization: str, since: datetime, until: datetime, *, step: Step, agent_id: str = ""
    ) -> Sequence[Point]:
        start = since.replace(minute=0 if step != "minute" else since.minute, second=0, microsecond=0)
        points: list[Point] = []
        while start < until:
            events = self._between(organization, start, start + SIZES[step])
            blocked = sum(each.blocked for each in events)
            points.append(Point(start=start, events=len(events), blocked=blocked, threats=0, risk_score=0.0))
            start += SIZES[step]
        return points

    async def top(
        self, organization: str, what: Dimension, since: datetime, until: datetime, *, limit: int = 10
    ) -> Sequence[Ranked]:
        events = [each for each in self._between(organization, since, until) if each.threat_type]
        counts = Counter(each.threat_type for each in events)
        return [Ranked(name=name, events=count, blocked=0) for name, count in counts.most_common(limit)]

    async def agents(self, organization: str, now: datetime, *, agent_id: str = "") -> Sequence[Agent]:
        names = sorted({each.event.agent_id for each in self._of(organization)})
        return [self._agent(organization, name, now) for name in names if agent_id in ("", name)]

    def _agent(self, organization: str, name: str, now: datetime) -> Agent:
        events = [each.event for each in self._of(organization) if each.event.agent_id == name]
        recent = [each.risk_score for each in events if each.timestamp > now - timedelta(hours=1)]
        return Agent(
            agent_id=name,
            framework=next((each.framework for each in reversed(events) if each.framework), ""),
            events=len(events),
            blocked=sum(each.blocked for each in events),
            first_seen=min(each.timestamp for each in events),
            last_seen=max(each.timestamp for each in events),
            risk_score=sum(recent) / max(len(recent), 1),
        )

    async def baseline(
        self, organization: str, agent_id: str, since: datetime, until: datetime
    ) -> Baseline:
        events = [each for each in self._between(organization, since, until) if each.agent_id == agent_id]
        hours: dict[datetime, list[Event]] = {}
        for each in events:
            hours.setdefault(each.timestamp.replace(minute=0, second=0, microsecond=0), []).append(each)
        return Baseline(
            hours=[
                Hour(
                    start=start,
                    events=len(found),
                    blocked=sum(each.blocked for each in found),
                    threats=0,
                    risk_score=0.0,
                )
                for start, found in sorted(hours.items())
            ],
            tools=Counter(each.tool.name for each in events if each.tool),
            types=Counter(str(each.event_type) for each in events),
            threats=Counter(each.threat_type for each in events if each.threat_type),
        )

    async def trim(self, now: datetime) -> int:
        return 0

    async def check(self) -> Sequence[str]:
        return []

    async def close(self) -> None:
        """Nothing is open."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def _of(self, organization: str) -> list[Stored]:
        return self._events.get(organization, [])

    def _between(self, organization: str, since: datetime, until: datetime) -> list[Event]:
        return [
            each.event for each in self._of(organization) if since <= each.event.timestamp < until
        ]


def matches(event: Event, wanted: Filter) -> bool:
    """The filter asks for this event."""
    return (
        wanted.agent_id in ("", event.agent_id)
        and wanted.event_type in ("", event.event_type)
        and wanted.threat_type in ("", event.threat_type)
        and wanted.blocked in (None, event.blocked)
        and (wanted.since is None or event.timestamp >= wanted.since)
        and (wanted.until is None or event.timestamp < wanted.until)
    )
