"""The event store in memory: every answer is counted from the events themselves, there and then.

For tests and for trying things out; it holds what fits and forgets all of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import takewhile
from typing import Self

import msgspec

from rune.core.events import figures, layout
from rune.core.events.base import (
    MAX_PAGE,
    Agent,
    Appended,
    Baseline,
    Delivery,
    Dimension,
    Filter,
    Overview,
    Page,
    Point,
    Ranked,
    Retention,
    Span,
    Step,
    Stored,
)
from rune.core.events.event import Event, refuse_many
from rune.core.events.figures import added, mean
from rune.core.events.follow import Positions, bounded, follow
from rune.core.events.record import RISK, micros, pack
from rune.core.events.rollups import MINUTE, weight
from rune.core.events.streams import refuse_crowd


class Stream:
    """The events of one organization."""

    def __init__(self) -> None:
        self.kept: deque[Stored] = deque()
        self.newest = 0
        self.positions: dict[str, int] = {}
        self.agents: dict[str, Agent] = {}

    def add(self, event: Event) -> bool:
        """Whether the event is new."""
        if event.event_id in self.positions:
            return False
        self.newest += 1
        self.positions[event.event_id] = self.newest
        self.kept.append(Stored(self.newest, event))
        self.agents[event.agent_id] = _seen(self.agents.get(event.agent_id), event)
        return True

    def drop(self, cutoff: datetime) -> int:
        """Forget the oldest, as long as they are older than this; returns how many went."""
        gone = list(takewhile(lambda stored: stored.event.timestamp < cutoff, self.kept))
        for stored in gone:
            self.kept.popleft()
            del self.positions[stored.event.event_id]
        return len(gone)

    def within(self, first: int, end: int, *, minutes: int = 1, agent_id: str = "") -> list[Event]:
        """The events of some steps of so many minutes."""
        return [
            event
            for event in map(_event, self.kept)
            if first <= _step(event, minutes) < end and agent_id in {"", event.agent_id}
        ]


class MemoryEvents:
    """The whole interface without a disk. Only the age limits what it keeps."""

    def __init__(self, retention: Retention | None = None) -> None:
        self._retention = retention or Retention()
        self._streams: dict[str, Stream] = {}
        self._positions = Positions()
        self._open = False

    async def append(self, organization: str, events: Sequence[Event]) -> Appended:
        """Keep a batch, all or nothing."""
        self._refuse_closed()
        refuse_many(events)
        pack(events, b"")
        if not events:
            return Appended(0, 0)
        stream = self._streams.setdefault(organization, Stream())
        refuse_crowd(stream.agents.keys(), (event.agent_id for event in events))
        fresh = sum(map(stream.add, events))
        self._positions.move({organization: stream.newest})
        return Appended(len(events), len(events) - fresh)

    async def find(self, organization: str, event_id: str) -> Stored | None:
        """The event of this id, or None."""
        stream = self._stream(organization)
        position = stream.positions.get(event_id)
        return next((stored for stored in stream.kept if stored.position == position), None)

    async def query(
        self, organization: str, wanted: Filter, *, limit: int = 50, before: int | None = None
    ) -> Page:
        """Events that match, newest arrival first."""
        found = [
            stored
            for stored in reversed(self._stream(organization).kept)
            if (before is None or stored.position < before) and wanted.admits(stored.event)
        ]
        page = found[: bounded(limit)]
        return Page(page, page[-1].position if len(page) < len(found) else None)

    async def tail(self, organization: str, after: int, limit: int = MAX_PAGE) -> Sequence[Stored]:
        """Events behind a position, oldest first."""
        behind = [stored for stored in self._stream(organization).kept if stored.position > after]
        return behind[: bounded(limit)]

    def follow(self, after: Mapping[str, int], *, only: str = "") -> AsyncIterator[Sequence[Delivery]]:
        """Every event of every organization, or of one, behind the positions named, as they come."""
        self._refuse_closed()
        return follow(self._positions, self.tail, after, only=only)

    def position(self, organization: str) -> int:
        """The newest position of an organization."""
        self._refuse_closed()
        return self._positions.of(organization)

    def positions(self) -> Mapping[str, int]:
        """The newest position of every organization that has events."""
        self._refuse_closed()
        return self._positions.newest()

    async def overview(self, organization: str, span: Span) -> Overview:
        """The numbers of a time."""
        events = self._stream(organization).within(*figures.whole(span))
        count, blocked, threats, risk = _sums(events)
        return Overview(
            events=count,
            blocked=blocked,
            threats=threats,
            risk_score=mean(risk, count),
            agents=len({event.agent_id for event in events}),
            by_type=_counts(events, _type),
            by_threat=_counts(events, _threat),
        )

    async def timeseries(
        self, organization: str, span: Span, *, step: Step, agent_id: str = ""
    ) -> Sequence[Point]:
        """One point for every step that the time touches."""
        stream = self._stream(organization)
        first, end = figures.steps(span, step)
        minutes = figures.MINUTES_OF[step]
        events = stream.within(first, end, minutes=minutes, agent_id=agent_id)
        return figures.points(first, end, step=step, sums=_by_step(events, minutes))

    async def top(
        self, organization: str, what: Dimension, span: Span, *, limit: int = 10
    ) -> Sequence[Ranked]:
        """The most frequent first."""
        minutes = 60 if what == "tool" else 1
        events = self._stream(organization).within(*figures.whole(span, minutes), minutes=minutes)
        name = _NAMES[what]
        return figures.ranked(added((name(event), 1, int(event.blocked)) for event in events), limit)

    async def agents(self, organization: str, now: datetime, *, agent_id: str = "") -> Sequence[Agent]:
        """Every agent that has sent an event, or the one named."""
        stream = self._stream(organization)
        return [
            msgspec.structs.replace(agent, risk_score=_risk(stream, name, now))
            for name, agent in sorted(stream.agents.items())
            if agent_id in {"", name}
        ]

    async def baseline(self, organization: str, agent_id: str, span: Span) -> Baseline:
        """An agent's behaviour in whole hours."""
        stream = self._stream(organization)
        events = stream.within(*figures.whole(span, 60), minutes=60, agent_id=agent_id)
        if agent_id not in stream.agents:
            events = []
        return Baseline(
            hours=figures.hours(_by_step(events, 60)),
            types=_counts(events, _type),
            threats=_counts(events, _threat),
            tools=_counts(events, _tool),
        )

    async def activity(
        self, organization: str, agent_ids: Sequence[str], span: Span
    ) -> Mapping[str, Sequence[Point]]:
        """The hours of several agents at once."""
        return {
            name: await self.timeseries(organization, span, step="hour", agent_id=name)
            for name in filter(None, agent_ids)
        }

    async def trim(self, now: datetime) -> int:
        """Drop what is past the retention."""
        self._refuse_closed()
        return sum(stream.drop(now - self._retention.max_age) for stream in self._streams.values())

    async def check(self) -> Sequence[str]:
        """Nothing is counted ahead of being asked, so nothing can disagree."""
        self._refuse_closed()
        return ()

    async def close(self) -> None:
        """Refuse everything from now on."""
        self._open = False
        self._positions.close()

    async def __aenter__(self) -> Self:
        self._open = True
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def _stream(self, organization: str) -> Stream:
        self._refuse_closed()
        return self._streams.get(organization) or Stream()

    def _refuse_closed(self) -> None:
        if not self._open:
            raise layout.closed()


def _seen(before: Agent | None, event: Event) -> Agent:
    at, blocked = event.timestamp, int(event.blocked)
    if before is None:
        before = Agent(
            agent_id=event.agent_id,
            framework="",
            events=0,
            blocked=0,
            first_seen=at,
            last_seen=at,
            risk_score=0.0,
        )
    return msgspec.structs.replace(
        before,
        framework=event.framework or before.framework,
        events=before.events + 1,
        blocked=before.blocked + blocked,
        first_seen=min(before.first_seen, at),
        last_seen=max(before.last_seen, at),
    )


def _risk(stream: Stream, agent_id: str, now: datetime) -> float:
    minute = micros(now) // MINUTE
    weights = [
        (weight(minute - _step(event, 1)), _thousandths(event))
        for event in map(_event, stream.kept)
        if event.agent_id == agent_id
    ]
    return figures.weighted(sum(heavy * risk for heavy, risk in weights), sum(heavy for heavy, _ in weights))


def _sums(events: Iterable[Event]) -> list[int]:
    sums = [0, 0, 0, 0]
    for event in events:
        parts = (1, int(event.blocked), int(bool(event.threat_type)), _thousandths(event))
        sums = [one + other for one, other in zip(sums, parts, strict=True)]
    return sums


def _by_step(events: Iterable[Event], minutes: int) -> dict[int, list[int]]:
    steps: dict[int, list[Event]] = {}
    for event in events:
        steps.setdefault(_step(event, minutes), []).append(event)
    return {step: _sums(within) for step, within in steps.items()}


def _counts(events: Iterable[Event], name: Callable[[Event], str]) -> dict[str, int]:
    counts = added((name(event), 1, 0) for event in events)
    return {line.name: line.events for line in figures.ranked(counts, figures.MAX_RANKS)}


def _step(event: Event, minutes: int) -> int:
    return micros(event.timestamp) // (minutes * MINUTE)


def _thousandths(event: Event) -> int:
    return round(event.risk_score * RISK)


def _event(stored: Stored) -> Event:
    return stored.event


def _type(event: Event) -> str:
    return event.event_type


def _threat(event: Event) -> str:
    return event.threat_type


def _tool(event: Event) -> str:
    return event.tool.name if event.tool else ""


def _agent(event: Event) -> str:
    return event.agent_id


_NAMES: dict[Dimension, Callable[[Event], str]] = {
    "threat": _threat, "type": _type, "agent": _agent, "tool": _tool,
}  # fmt: skip
