"""Security events: what guarded agents report of their scans, tool calls and policy decisions."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from rune.api.fields import Count, JsonObject, JsonObjects, Message, Moment, Timestamp, Uint64
from rune.api.operation import SECURITY, Effect, Http, Operation, Rate, Streaming
from rune.api.security.words import AgentId, Cursor, Label, Limit, NextCursor, Tags

MOST_EVENTS = 1_000
MOST_BYTES = 5 << 20

EventId = Annotated[
    str,
    Meta(
        pattern=r"^[\x21-\x7e]{1,128}$(?!\n)",
        description="1 to 128 visible ASCII characters; the same id twice is one event.",
    ),
]
EventType = Annotated[
    str,
    Meta(
        pattern=r"^(scan|tool_call|tool_result|policy_violation|session|custom)$(?!\n)",
        description="One of scan, tool_call, tool_result, policy_violation, session and custom.",
    ),
]
Direction = Annotated[
    str, Meta(pattern=r"^(inbound|outbound)?$(?!\n)", description="inbound, outbound or empty.")
]
Risk = Annotated[float, Meta(ge=0, le=1, description="From 0 to 1.")]
Word = Annotated[str, Meta(max_length=128)]
Longer = Annotated[str, Meta(max_length=256)]
MaybeWord = Annotated[Word | None, Meta(extra={"json": "null"})]
Verdict = Annotated[
    Annotated[str, Meta(pattern=r"^(pass|flag|block)$(?!\n)")] | None,
    Meta(description="pass, flag or block.", extra={"json": "null"}),
]


class EventSdk(Message):
    """What sent the event."""

    SNAKE: ClassVar[bool] = True
    STRANGERS: ClassVar[str] = "more"

    name: Word = ""
    version: Word = ""
    more: JsonObject = {}
    """What came with it under other names."""


class EventTool(Message):
    """The tool that was called. Its arguments are told by a keyed hash, never themselves."""

    SNAKE: ClassVar[bool] = True
    STRANGERS: ClassVar[str] = "more"

    name: Word = ""
    arguments_hash: Longer = ""
    more: JsonObject = {}
    """What came with it under other names."""


class EventScan(Message):
    """What a scan found; places and rules, never the text."""

    SNAKE: ClassVar[bool] = True
    STRANGERS: ClassVar[str] = "more"

    risk_score: Risk = 0.0
    blocked: bool | None = None
    """Whether it was stopped; without it, whether one of the layers says `block`."""
    threat_type: MaybeWord = None
    """The threat that weighs most."""
    l1_result: Verdict = None
    l2_result: Verdict = None
    l3_result: Verdict = None
    layers_executed: Annotated[list[Word], Meta(max_length=16)] = []
    scan_latency_ms: Annotated[float, Meta(ge=0)] = 0.0
    pii_detected: bool = False
    secrets_detected: bool = False
    threats_detected: Annotated[JsonObjects, Meta(max_length=100)] = []
    """Each with type, rule, severity, confidence, layer and place."""
    more: JsonObject = {}
    """What came with it under other names."""


class EventPolicy(Message):
    """What the policies decided."""

    SNAKE: ClassVar[bool] = True
    STRANGERS: ClassVar[str] = "more"

    allowed: bool = True
    action: Word = "allow"
    policy: Word = ""
    policy_id: Word = ""
    policy_version: Count = 0
    rule: Word = ""
    severity: MaybeWord = None
    more: JsonObject = {}
    """What came with it under other names."""


class SecurityEvent(Message):
    """One event. What is sent under a name that is none of these is kept in `metadata`."""

    SNAKE: ClassVar[bool] = True
    STRANGERS: ClassVar[str] = "metadata"

    event_id: EventId
    timestamp: Moment
    """When it happened, in RFC 3339 with a time zone."""
    agent_id: AgentId
    event_type: EventType
    direction: Direction = ""
    session_id: Longer = ""
    trace_id: Longer = ""
    tags: Tags = []
    sdk: EventSdk | None = None
    framework: Word = ""
    tool: EventTool | None = None
    scan_result: EventScan | None = None
    policy_result: EventPolicy | None = None
    metadata: JsonObject = {}

    @property
    def verdict(self) -> str:
        """What became of it: blocked, flagged or allowed."""
        scan, policy = self.scan_result, self.policy_result
        if (scan and scan.blocked) or (policy and not policy.allowed):
            return "blocked"
        results = (scan.l1_result, scan.l2_result, scan.l3_result) if scan else ()
        return "flagged" if "flag" in results else "allowed"


class IngestEventsRequest(Message):
    """A batch of events; one that is not good refuses the batch and is named by its place in it."""

    events: Annotated[list[SecurityEvent], Meta(min_length=1, max_length=MOST_EVENTS)]


class IngestEventsResponse(Message):
    """The events are stored durably."""

    accepted: Count = 0
    """How many, counting those that were there already."""


class ListSecurityEventsRequest(Message):
    """Which events, the newest first."""

    agent_id: Label = ""
    event_type: Word = ""
    threat_type: Word = ""
    blocked: bool | None = None
    """Only those that were blocked, or only those that were not."""
    since: Timestamp = None
    """Not before this time."""
    until: Timestamp = None
    """Before this time."""
    limit: Limit = 50
    cursor: Cursor = ""


class ListSecurityEventsResponse(Message):
    """The events, newest first."""

    events: list[SecurityEvent] = []
    next_cursor: NextCursor = None


class TailEventsRequest(Message):
    """Which events, as they come in."""

    agent_id: Label = ""
    event_type: Word = ""
    threat_type: Word = ""
    blocked: bool | None = None
    """Only those that were blocked, or only those that were not."""
    resume: Uint64 = 0
    """Go on after this position; 0 begins with the next event that comes in."""


class TailEventsResponse(Message):
    """One event; the first answer has none, and says where the stream begins."""

    event: SecurityEvent | None = None
    revision: Uint64 = 0
    """The position to resume after."""


class GetEventRequest(Message):
    """Which event."""

    event_id: EventId


ingest = Operation(
    package=SECURITY,
    service="EventService",
    resource="events",
    method="IngestEvents",
    request=IngestEventsRequest,
    response=IngestEventsResponse,
    summary="Store security events; sent again, they are stored once.",
    verb="create",
    http=Http(verb="POST", path="/v1/events", body="*", status=202, most_bytes=MOST_BYTES),
    effect=Effect.RECORD,
    rate=Rate.EVENTS,
    counts="events",
)
list_ = Operation(
    package=SECURITY,
    service="EventService",
    resource="events",
    method="ListEvents",
    request=ListSecurityEventsRequest,
    response=ListSecurityEventsResponse,
    summary="List security events, the newest first.",
    verb="list",
    http=Http(verb="GET", path="/v1/events"),
    cli="events list",
    rate=Rate.READ,
)
tail = Operation(
    package=SECURITY,
    service="EventService",
    resource="events",
    method="TailEvents",
    request=TailEventsRequest,
    response=TailEventsResponse,
    summary="Follow security events as they come in, each once and in the order in which they were stored.",
    verb="watch",
    http=Http(verb="GET", path="/v1/stream/events"),
    streaming=Streaming.SERVER,
    rate=Rate.STREAM,
)
get = Operation(
    package=SECURITY,
    service="EventService",
    resource="events",
    method="GetEvent",
    request=GetEventRequest,
    response=SecurityEvent,
    summary="Get a security event.",
    verb="get",
    http=Http(verb="GET", path="/v1/events/{event_id}"),
    cli="events get {event_id}",
    rate=Rate.READ,
)
