"""The interface of an event store. Events are appended once, never changed, dropped when old.

Events of an organization stand in the order they arrived, and `position` counts them from 1. A position
is never used again, so it serves as a cursor: what comes in later, however old its timestamp, stands
behind everything that was there before. Times are aware datetimes; a range includes `since` and
excludes `until`. No call can see or count what is of another organization.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, Protocol, Self

import msgspec

from rune.core.events.event import Event

MAX_PAGE = 1_000
"""Events that one call returns at most."""

Step = Literal["minute", "hour", "day"]
Dimension = Literal["threat", "type", "agent", "tool"]


class Span(msgspec.Struct, frozen=True):
    """A time from `since` up to but not including `until`; empty when they are the wrong way round."""

    since: datetime
    until: datetime


class Appended(msgspec.Struct, frozen=True, gc=False):
    """What became of a batch: `accepted` counts all of it, `duplicates` those that were stored before."""

    accepted: int
    duplicates: int


class Stored(msgspec.Struct, frozen=True, gc=False):
    """An event and where it stands among those of its organization."""

    position: int
    event: Event


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which events are asked for; empty or None does not restrict. All that is given must hold."""

    agent_id: str = ""
    event_type: str = ""
    threat_type: str = ""
    blocked: bool | None = None
    since: datetime | None = None
    until: datetime | None = None

    def admits(self, event: Event) -> bool:
        """All of it holds of the event."""
        return (
            self.agent_id in {"", event.agent_id}
            and self.event_type in {"", event.event_type}
            and self.threat_type in {"", event.threat_type}
            and self.blocked in {None, event.blocked}
            and (self.since is None or event.timestamp >= self.since)
            and (self.until is None or event.timestamp < self.until)
        )


class Page(msgspec.Struct, frozen=True):
    """Events, newest arrival first. `before` continues the query; None when nothing more remains.

    A page may be short, even empty, and yet have a continuation: a query looks at a bounded number of
    events, so that a rare match in a large store costs many quick calls instead of one slow one.
    """

    events: Sequence[Stored]
    before: int | None


class Delivery(msgspec.Struct, frozen=True):
    """Events of one organization as a follower gets them, oldest first.

    `missed` counts the positions between the follower's and the first event that retention has dropped.
    """

    organization: str
    events: Sequence[Stored]
    missed: int


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """What happened in a time, in numbers. `threats` counts events with one, `risk_score` is the mean."""

    events: int
    blocked: int
    threats: int
    risk_score: float
    agents: int
    """Agents that sent an event in that time."""
    by_type: Mapping[str, int]
    by_threat: Mapping[str, int]


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a time series, from `start` on; `risk_score` is the mean of its events."""

    start: datetime
    events: int
    blocked: int
    threats: int
    risk_score: float


class Ranked(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a top list, and how many of its events were blocked."""

    name: str
    events: int
    blocked: int


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """What the events say about an agent. The counts are of all time, whatever retention has dropped."""

    agent_id: str
    framework: str
    """The newest that was named."""
    events: int
    blocked: int
    first_seen: datetime
    last_seen: datetime
    risk_score: float
    """Over the hour before `now`, weighted by age with a half-life of ten minutes; 0 after a silent hour."""


class Hour(msgspec.Struct, frozen=True, kw_only=True):
    """One hour of an agent; `risk_score` is the mean of its events."""

    start: datetime
    events: int
    blocked: int
    threats: int
    risk_score: float


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """How an agent behaves: its hours (those without an event are left out), and its mix in that time."""

    hours: Sequence[Hour]
    tools: Mapping[str, int]
    types: Mapping[str, int]
    threats: Mapping[str, int]


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """How long events are kept: whichever limit is reached first drops the oldest."""

    max_age: timedelta = timedelta(days=30)
    max_bytes: int = 8 * 1024**3
    """Of the whole store, all organizations and all that is kept beside the events."""


class EventStore(Protocol):
    """The verbs of an event store. All of them belong to one event loop.

    Everything raises Unavailable once the store is closed, and when the disk does not answer.
    """

    async def append(self, organization: str, events: Sequence[Event]) -> Appended:
        """Keep a batch, all or nothing; returns once it is durable and shows in every reading.

        An event whose id the organization already has is not stored again and counts as accepted, also
        when it comes twice in one batch. Raises Unavailable when the disk is full or sick (then nothing
        was stored: send it again), ResourceExhausted when too many batches wait already or the
        organization has too many agents, InvalidArgument for more than MAX_EVENTS. A caller that is
        cancelled does not know whether the batch is stored, but it is stored whole or not at all.
        """
        ...

    async def find(self, organization: str, event_id: str) -> Stored | None:
        """The event of this id, or None."""
        ...

    async def query(
        self, organization: str, wanted: Filter, *, limit: int = 50, before: int | None = None
    ) -> Page:
        """Events that match, newest arrival first, from those before a position (None: from the newest)."""
        ...

    async def tail(self, organization: str, after: int, limit: int = MAX_PAGE) -> Sequence[Stored]:
        """Events behind a position, oldest first; what retention has dropped is left out."""
        ...

    def follow(self, after: Mapping[str, int], *, only: str = "") -> AsyncIterator[Sequence[Delivery]]:
        """Every event of every organization, or of one, behind the positions named (0 for one that is not).

        What is new in all of them comes together, each event exactly once and in the order of its
        organization. Never ends by itself; raises Unavailable when the store closes. A slow reader costs
        the store nothing: it holds positions, no queue.
        """
        ...

    def position(self, organization: str) -> int:
        """The newest position of an organization, 0 when it has no events."""
        ...

    def positions(self) -> Mapping[str, int]:
        """The newest position of every organization that has events."""
        ...

    async def overview(self, organization: str, span: Span) -> Overview:
        """The numbers of a time, counted in whole minutes of UTC."""
        ...

    async def timeseries(
        self, organization: str, span: Span, *, step: Step, agent_id: str = ""
    ) -> Sequence[Point]:
        """One point for every step that the time touches, those without an event included, oldest first.

        Steps are whole minutes, hours or days of UTC. Raises InvalidArgument for more than 10,000 points.
        """
        ...

    async def top(
        self, organization: str, what: Dimension, span: Span, *, limit: int = 10
    ) -> Sequence[Ranked]:
        """The most frequent first, equals by name; events that have none of it are left out.

        Counted in whole minutes of UTC; tools in whole hours.
        """
        ...

    async def agents(self, organization: str, now: datetime, *, agent_id: str = "") -> Sequence[Agent]:
        """Every agent that has sent an event, or the one named, in the order of their ids."""
        ...

    async def baseline(self, organization: str, agent_id: str, span: Span) -> Baseline:
        """An agent's behaviour in whole hours of UTC."""
        ...

    async def activity(
        self, organization: str, agent_ids: Sequence[str], span: Span
    ) -> Mapping[str, Sequence[Point]]:
        """The hours of several agents at once: for each one named, what `timeseries` says of it."""
        ...

    async def trim(self, now: datetime) -> int:
        """Drop what is past the retention, at most a small step of it; returns how many events went.

        Call it again at once while it returns more than 0, and else after a minute. Counters, series and
        lists forget the dropped events; an agent's own counts do not.
        """
        ...

    async def check(self) -> Sequence[str]:
        """Count everything again from the events; returns a sentence for each counter that disagrees.

        Reads the whole store: for tests and for an operator in doubt.
        """
        ...

    async def close(self) -> None:
        """Finish what was accepted, then refuse everything. A second call does nothing."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc: object) -> None: ...
