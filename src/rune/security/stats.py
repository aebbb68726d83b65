"""Handlers of figures over events; they come from counters that the event store keeps."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from rune.api.security import stats as api
from rune.core.call import Call
from rune.core.clock import Clock
from rune.core.dispatch import Dispatcher
from rune.core.events.base import EventStore, Point, Span
from rune.core.events.base import Step as Size
from rune.core.store.base import Store
from rune.errors import InvalidArgument, Violation
from rune.security.agents import Agents
from rune.security.kinds import Alert, Policy, space

MOST_POINTS: Final = 1_500
"""A day in minutes; more is no picture."""
_MINUTES: Final[tuple[tuple[Size, int], ...]] = (("day", 1440), ("hour", 60), ("minute", 1))


class Stats:
    """The figures of an organization."""

    def __init__(self, store: Store, events: EventStore, agents: Agents, *, clock: Clock) -> None:
        self._store = store
        self._events = events
        self._agents = agents
        self._clock = clock

    def register(self, dispatcher: Dispatcher) -> None:
        """Make these the handlers of the operations."""
        dispatcher.handles(api.overview)(self.overview)
        dispatcher.handles(api.timeseries)(self.timeseries)
        dispatcher.handles(api.activity)(self.activity)
        dispatcher.handles(api.top_threats)(self.top_threats)

    async def overview(self, call: Call, ask: api.GetOverviewRequest) -> api.Overview:
        """Everything at a glance."""
        organization, now = call.principal.organization, self._clock.now()
        since = now - timedelta(hours=ask.hours)
        numbers = await self._events.overview(organization, Span(since, now))
        agents = await self._agents.all(organization)
        alerts = [each for each in self._store.list(Alert, space(organization)) if each.status == "open"]
        return api.Overview(
            events=numbers.events,
            blocked=numbers.blocked,
            agents=len(agents),
            active_agents=sum(agent.status == "active" for agent in agents),
            policies=sum(policy.active for policy in self._store.list(Policy, space(organization))),
            open_alerts=len(alerts),
            critical_alerts=sum(alert.severity == "critical" for alert in alerts),
            since=since,
        )

    async def timeseries(self, call: Call, ask: api.GetTimeseriesRequest) -> api.Timeseries:
        """Steps that are not whole minutes, hours or days of UTC are put together from smaller ones."""
        if ask.hours * 60 // ask.step_minutes > MOST_POINTS:
            few = f"makes more than {MOST_POINTS} points of {ask.hours} hours: take longer steps"
            raise InvalidArgument.of([Violation("step_minutes", few)])
        size, minutes = next(each for each in _MINUTES if ask.step_minutes % each[1] == 0)
        now = self._clock.now()
        since = now - timedelta(hours=ask.hours)
        if ask.hours * 60 // minutes > 10_000:  # noqa: PLR2004 - what an event store gives at once
            raise InvalidArgument.of([Violation("step_minutes", "is too fine for so long: take whole hours")])
        points = await self._events.timeseries(call.principal.organization, Span(since, now), step=size)
        together = ask.step_minutes // minutes
        return api.Timeseries(
            points=[_sum(points[at : at + together]) for at in range(0, len(points), together)]
        )

    async def activity(self, call: Call, ask: api.GetActivityRequest) -> api.Activity:
        """Hours are those of UTC; an agent that is not known sent nothing."""
        now = self._clock.now()
        span = Span(now - timedelta(hours=ask.hours - 1), now + timedelta(microseconds=1))
        found = await self._events.activity(call.principal.organization, ask.agent_ids, span)
        return api.Activity(
            agents=[
                api.AgentActivity(
                    agent_id=name,
                    events=[point.events for point in found[name]],
                    blocked=[point.blocked for point in found[name]],
                )
                for name in ask.agent_ids
            ]
        )

    async def top_threats(self, call: Call, ask: api.GetTopThreatsRequest) -> api.TopThreats:
        """The most frequent first."""
        now = self._clock.now()
        span = Span(now - timedelta(hours=ask.hours), now)
        found = await self._events.top(call.principal.organization, "threat", span, limit=ask.limit)
        return api.TopThreats(
            threats=[
                api.ThreatCount(threat_type=each.name, events=each.events, blocked=each.blocked)
                for each in found
            ]
        )


def _sum(points: Sequence[Point]) -> api.TimeseriesPoint:
    return api.TimeseriesPoint(
        at=points[0].start,
        events=sum(point.events for point in points),
        blocked=sum(point.blocked for point in points),
    )
