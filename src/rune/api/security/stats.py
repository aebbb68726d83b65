"""Figures over the events of an organization."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from rune.api.fields import Count, Message, Total, UnixMillis
from rune.api.operation import SECURITY, Http, Operation, Rate

Hours = Annotated[
    int, Meta(ge=1, le=24 * 90, description="How far back, at most 90 days.", extra={"proto": "int32"})
]


class GetOverviewRequest(Message):
    """Over how many hours."""

    hours: Hours = 24


class Overview(Message):
    """An organization at a glance."""

    events: Total = 0
    blocked: Total = 0
    agents: Count = 0
    active_agents: Count = 0
    policies: Count = 0
    open_alerts: Count = 0
    critical_alerts: Count = 0
    """Open ones."""
    since: UnixMillis = None


class GetTimeseriesRequest(Message):
    """Over how many hours, in steps of how many minutes."""

    hours: Hours = 24
    step_minutes: Annotated[
        int, Meta(ge=1, le=1440, description="From 1 to 1440.", extra={"proto": "int32"})
    ] = 60


class TimeseriesPoint(Message):
    """The events from `at` up to the next step."""

    at: UnixMillis = None
    events: Total = 0
    blocked: Total = 0


class Timeseries(Message):
    """Every step, the oldest first; those without events too."""

    points: list[TimeseriesPoint] = []


class GetActivityRequest(Message):
    """Of which agents, over how many hours."""

    agent_ids: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=128)]],
        Meta(min_length=1, max_length=100, description="Their agentIds, at most 100."),
    ]
    hours: Annotated[
        int, Meta(ge=1, le=24 * 7, description="How far back, at most 7 days.", extra={"proto": "int32"})
    ] = 24


class AgentActivity(Message):
    """What an agent sent in each hour, the oldest first; the last one has only begun."""

    agent_id: str
    events: list[Total] = []
    blocked: list[Total] = []


class Activity(Message):
    """The agents in the order they were asked for."""

    agents: list[AgentActivity] = []


class GetTopThreatsRequest(Message):
    """Over how many hours, and how many threats at most."""

    hours: Hours = 24
    limit: Annotated[int, Meta(ge=1, le=100, description="From 1 to 100.", extra={"proto": "int32"})] = 10


class ThreatCount(Message):
    """How often a threat was found."""

    threat_type: str
    events: Total = 0
    blocked: Total = 0


class TopThreats(Message):
    """The threats, the most frequent first."""

    threats: list[ThreatCount] = []


overview = Operation(
    package=SECURITY,
    service="StatsService",
    resource="stats",
    verb="get",
    rate=Rate.READ,
    method="GetOverview",
    request=GetOverviewRequest,
    response=Overview,
    summary="See events, agents and alerts at a glance.",
    http=Http(verb="GET", path="/v1/stats/overview"),
    cli="events overview",
)
timeseries = Operation(
    package=SECURITY,
    service="StatsService",
    resource="stats",
    verb="get",
    rate=Rate.READ,
    method="GetTimeseries",
    request=GetTimeseriesRequest,
    response=Timeseries,
    summary="See how many events there were over time.",
    http=Http(verb="GET", path="/v1/stats/timeseries"),
    cli="events timeseries",
)
activity = Operation(
    package=SECURITY,
    service="StatsService",
    resource="stats",
    verb="get",
    rate=Rate.READ,
    method="GetActivity",
    request=GetActivityRequest,
    response=Activity,
    summary="See how many events each of some agents sent, hour by hour.",
    http=Http(verb="GET", path="/v1/stats/activity"),
    cli="events activity",
)
top_threats = Operation(
    package=SECURITY,
    service="StatsService",
    resource="stats",
    verb="get",
    rate=Rate.READ,
    method="GetTopThreats",
    request=GetTopThreatsRequest,
    response=TopThreats,
    summary="See which threats were found most often.",
    http=Http(verb="GET", path="/v1/stats/top-threats"),
    cli="events top-threats",
)
