"""Agents: somebody's AI agents, registered by hand or by the first event that names them."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from rune.api.common import WatchFrom
from rune.api.fields import MaybeText, Message, Total, UnixMillis
from rune.api.operation import SECURITY, Effect, Http, Operation, Rate
from rune.api.security.words import (
    WATCH,
    AgentId,
    Cursor,
    Label,
    Limit,
    NextCursor,
    ShownId,
    Tags,
    Updated,
    Watched,
)

Reason = Annotated[str, Meta(max_length=500, description="Why, in words that the audit log keeps.")]


class Agent(Message):
    """An agent and what is known of it."""

    id: ShownId
    agent_id: AgentId
    name: Label = ""
    framework: Label = ""
    status: Label = "active"
    """active, inactive after 15 minutes of silence, or quarantined."""
    tags: Tags = []
    risk_score: float = 0.0
    """From 0 to 1: of the events of the last hour, the newer ones weighing more."""
    event_count: Total = 0
    block_count: Total = 0
    last_seen: UnixMillis = None
    service: str | None = None
    """The workload that it is, as `namespace/name`, where Rune runs it."""
    quarantine_reason: str | None = None
    """Why it is in quarantine, where it is."""


class ListAgentsRequest(Message):
    """Which agents."""

    status: Annotated[
        str,
        Meta(
            pattern=r"^(active|inactive|quarantined)?$(?!\n)",
            description="active, inactive or quarantined; empty for any.",
        ),
    ] = ""
    limit: Limit = 50
    cursor: Cursor = ""


class ListAgentsResponse(Message):
    """The agents of the organization, by agentId."""

    agents: list[Agent] = []
    next_cursor: NextCursor = None


class WatchAgentsRequest(WatchFrom):
    """From where on."""


class WatchAgentsResponse(Watched):
    """One change of who an agent is or how it stands; its figures are those of the moment, no change alone.
    An item without an agent ends what there was at the start.
    """

    agent: Agent | None = None


class GetAgentRequest(Message):
    """Which agent, by its agentId."""

    agent_id: AgentId


class RegisterAgentRequest(Message):
    """The agent to register."""

    agent_id: AgentId
    name: Label = ""
    """What people call it; its agentId unless given."""
    framework: Label = ""
    tags: Tags = []


class RegisterAgentResponse(Message):
    """The agent was registered."""

    id: str
    agent_id: str


class UpdateAgentRequest(Message):
    """What to change; what is absent stays."""

    agent_id: AgentId
    name: Label | None = None
    framework: Label | None = None
    tags: Tags | None = None
    quarantined: bool | None = None
    """True cuts it off: its own API keys are refused until it is false again."""


class AgentDetails(Message):
    """An agent, and its baseline."""

    agent: Agent
    registered_at: UnixMillis = None
    baseline_hours: Total = 0
    """Hours of the last seven days in which it was active; anomalies are looked for from 24 on."""
    events_per_hour: float = 0.0
    block_rate: float = 0.0
    """Of its events in those hours, the share that was blocked."""
    service: MaybeText = None
    """The workload that it is, as `namespace/name`, where Rune runs it."""
    quarantined_at: UnixMillis = None
    quarantined_by: MaybeText = None
    """Somebody's name, or `policy`."""
    quarantine_alert: MaybeText = None
    """The alert that led to it."""


class QuarantineAgentRequest(Message):
    """Which agent, and why."""

    agent_id: AgentId
    reason: Reason = "by hand"


class ReleaseAgentRequest(Message):
    """Which agent, and why it is harmless."""

    agent_id: AgentId
    reason: Reason = ""


class QuarantineResponse(Message):
    """How the agent is now."""

    agent_id: AgentId
    quarantined: bool
    reason: MaybeText = None
    service: MaybeText = None
    """The workload whose copies are stopped or cut off, or run again."""
    keys: Total = 0
    """API keys of its own, which are refused while it is in quarantine."""


list_ = Operation(
    package=SECURITY,
    service="AgentService",
    resource="agents",
    method="ListAgents",
    request=ListAgentsRequest,
    response=ListAgentsResponse,
    summary="List the registered agents.",
    verb="list",
    http=Http(verb="GET", path="/v1/agents"),
    cli="agents list",
    rate=Rate.READ,
    watch="watch_agents",
)
watch = Operation(
    package=SECURITY,
    service="AgentService",
    resource="agents",
    method="WatchAgents",
    request=WatchAgentsRequest,
    response=WatchAgentsResponse,
    summary="Watch agents: what there is, then every registration, change, quarantine and silence.",
    verb="watch",
    **WATCH,
)
get = Operation(
    package=SECURITY,
    service="AgentService",
    resource="agents",
    method="GetAgent",
    request=GetAgentRequest,
    response=AgentDetails,
    summary="Get an agent.",
    verb="get",
    http=Http(verb="GET", path="/v1/agents/{agent_id}"),
    cli="agents get {agent_id}",
    rate=Rate.READ,
)
register = Operation(
    package=SECURITY,
    service="AgentService",
    resource="agents",
    method="RegisterAgent",
    request=RegisterAgentRequest,
    response=RegisterAgentResponse,
    summary="Register a new agent.",
    verb="create",
    http=Http(verb="POST", path="/v1/agents", body="*", status=201),
    cli="agents register {agent_id}",
    effect=Effect.CHANGE,
    rate=Rate.WRITE,
)
update = Operation(
    package=SECURITY,
    service="AgentService",
    resource="agents",
    method="UpdateAgent",
    request=UpdateAgentRequest,
    response=Updated,
    summary="Change what is known of an agent, or quarantine it.",
    verb="update",
    http=Http(verb="POST", path="/v1/agents/update", body="*"),
    cli="agents update {agent_id}",
    effect=Effect.SETTLE,
    rate=Rate.WRITE,
)
quarantine = Operation(
    package=SECURITY,
    service="AgentService",
    resource="agents",
    method="QuarantineAgent",
    request=QuarantineAgentRequest,
    response=QuarantineResponse,
    summary="Put an agent into quarantine: its keys are refused, its workload is stopped or cut off.",
    verb="update",
    http=Http(verb="POST", path="/v1/agents/{agent_id}/quarantine", body="*"),
    cli="agents quarantine {agent_id}",
    effect=Effect.SETTLE,
    rate=Rate.WRITE,
    reason="reason",
)
release = Operation(
    package=SECURITY,
    service="AgentService",
    resource="agents",
    method="ReleaseAgent",
    request=ReleaseAgentRequest,
    response=QuarantineResponse,
    summary="Release an agent from quarantine: its keys are good again, its workload runs again.",
    verb="update",
    http=Http(verb="POST", path="/v1/agents/{agent_id}/release", body="*"),
    cli="agents release {agent_id}",
    effect=Effect.SETTLE,
    rate=Rate.WRITE,
    reason="reason",
)
