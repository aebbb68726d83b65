"""What a security event is, and the one place that reads one from outside: the API and every store share it.

Reading is lenient where a loss would hurt more than an oddity: fields we do not know are kept in
`metadata`, and a time that cannot be right (the sender's clock is wrong) is replaced by the time of
receipt, with the sender's own under `metadata.reported_timestamp`. Everything else that is wrong
refuses the whole batch and says which event and which field.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import Meta

from rune.errors import InvalidArgument, Violation

MAX_EVENTS = 1_000
"""Events in a batch."""

MAX_EVENT_BYTES = 256 * 1024
"""Bytes of one event as JSON, so that one reader of a page never holds more than a page's worth of these."""

AHEAD = timedelta(minutes=5)
"""How far a sender's clock may be ahead of ours."""

BEHIND = timedelta(days=30)
"""How late an event may be: agents that were cut off deliver what they spooled."""

REPORTED = "reported_timestamp"
"""Where the sender's own time is kept when it was not believed."""

EventType = Literal["scan", "tool_call", "tool_result", "policy_violation", "session", "custom"]
Direction = Literal["", "inbound", "outbound"]

Id = Annotated[str, Meta(min_length=1, max_length=128)]
Name = Annotated[str, Meta(max_length=128)]
Tag = Annotated[str, Meta(min_length=1, max_length=128)]
Verdict = Literal["pass", "flag", "block"]
Text = Annotated[str, Meta(max_length=256)]
Fraction = Annotated[float, Meta(ge=0, le=1)]


class Part(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """What events are made of. Unknown fields are found by refusing them, then moved to `metadata`.

    Stores keep a part by position: a new field goes to the end and has a default. What was read from JSON
    holds no cycles, so the garbage collector need not look at it.
    """


class Sdk(Part, frozen=True):
    """The library that sent the event."""

    name: Name = ""
    version: Name = ""


class Tool(Part, frozen=True):
    """The tool that was called; its arguments are known by a keyed hash only."""

    name: Name = ""
    arguments_hash: Text = ""


class Scan(Part, frozen=True):
    """What a scan found: places and rules, no text."""

    risk_score: Fraction = 0.0
    blocked: bool | None = None
    """None, as older senders have it, leaves the answer to the layers."""
    threat_type: Name | None = None
    l1_result: Verdict | None = None
    l2_result: Verdict | None = None
    l3_result: Verdict | None = None
    layers_executed: Annotated[tuple[Name, ...], Meta(max_length=16)] = ()
    scan_latency_ms: Annotated[float, Meta(ge=0)] = 0.0
    pii_detected: bool = False
    secrets_detected: bool = False
    threats_detected: Annotated[tuple[dict[str, Any], ...], Meta(max_length=100)] = ()

    @property
    def has_blocked(self) -> bool:
        """What it says itself, or else what one of its layers says."""
        if self.blocked is not None:
            return self.blocked
        return "block" in (self.l1_result, self.l2_result, self.l3_result)


class Policy(Part, frozen=True):
    """What the policies decided."""

    allowed: bool = True
    action: Name | None = None
    policy: Name | None = None
    policy_id: Name | None = None
    policy_version: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    rule: Name | None = None
    severity: Name | None = None


class Event(Part, frozen=True, kw_only=True):
    """One security event. Four fields are required; `event_id` is unique in its organization."""

    event_id: Id
    timestamp: Annotated[datetime, Meta(tz=True)]
    agent_id: Id
    event_type: EventType
    direction: Direction = ""
    session_id: Text = ""
    trace_id: Text = ""
    tags: Annotated[tuple[Tag, ...], Meta(max_length=64)] = ()
    sdk: Sdk | None = None
    framework: Name = ""
    tool: Tool | None = None
    scan_result: Scan | None = None
    policy_result: Policy | None = None
    metadata: dict[str, Any] = {}

    @property
    def blocked(self) -> bool:
        """Whether something was stopped: a scan blocked it, or a policy did not allow it."""
        scan, policy = self.scan_result, self.policy_result
        return (policy is not None and not policy.allowed) or (scan is not None and scan.has_blocked)

    @property
    def risk_score(self) -> float:
        """The scan's score, 0 without a scan."""
        return 0.0 if self.scan_result is None else self.scan_result.risk_score

    @property
    def threat_type(self) -> str:
        """What the scan calls the threat, or else the first of those it lists; empty when there is none."""
        scan = self.scan_result
        if scan is None:
            return ""
        if scan.threat_type:
            return scan.threat_type
        first = scan.threats_detected[0].get("type") if scan.threats_detected else None
        return first[:128] if isinstance(first, str) else ""


_FIELDS = {
    "": frozenset(Event.__struct_fields__),
    "sdk": frozenset(Sdk.__struct_fields__),
    "tool": frozenset(Tool.__struct_fields__),
    "scan_result": frozenset(Scan.__struct_fields__),
    "policy_result": frozenset(Policy.__struct_fields__),
}


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    events: Annotated[list[Event], Meta(min_length=1, max_length=MAX_EVENTS)]


_body = msgspec.json.Decoder(_Body).decode
_pack = msgspec.msgpack.Encoder().encode

MAX_VIOLATIONS = 10
"""Bad events that one error describes."""


def read_body(body: bytes) -> list[Event] | None:
    """The events of a JSON object `{"events": […]}` in one go, or None where `read` has to have its say.

    It forgives nothing and explains nothing: what it takes, `read` takes in the same way. Of a name that is
    given twice in one object the last counts. Times are as they were sent: see `in_time`.
    """
    try:
        events = _body(body).events
        ids = "".join([event.event_id for event in events])
        if ids.isascii() and ids.isprintable() and " " not in ids and all(map(_is_plain, events)):
            return events
    except (msgspec.DecodeError, ValueError, OverflowError, RecursionError):
        pass
    return None


def in_time(events: Sequence[Event], now: datetime) -> list[Event]:
    """The events, those whose time cannot be right with the time of receipt."""
    oldest, newest = now - BEHIND, now + AHEAD
    return [event if oldest <= event.timestamp <= newest else _in_time(event, now) for event in events]


def read(items: Sequence[object], now: datetime) -> list[Event]:
    """The events in plain data (what JSON decodes to). Raises InvalidArgument that names index and field."""
    refuse_many(items)
    events: list[Event] = []
    wrong: list[Violation] = []
    for index, item in enumerate(items):
        try:
            events.append(_in_time(_event(item), now))
        except (ValueError, OverflowError, RecursionError) as error:
            wrong.append(_violation(index, error))
            if len(wrong) == MAX_VIOLATIONS:
                break
    if wrong:
        raise InvalidArgument.of(wrong)
    return events


def refuse_many(items: Sequence[object]) -> None:
    """Raises InvalidArgument for more than MAX_EVENTS."""
    if len(items) > MAX_EVENTS:
        raise _refused("events", f"{len(items)} in one batch, at most {MAX_EVENTS}: send smaller batches")


def _event(item: object) -> Event:
    if isinstance(item, dict):
        item = _known(cast("dict[str, Any]", item))
    event = msgspec.convert(item, Event)
    if not _fits(event):
        raise ValueError(_unfit(event))
    return event


def _known(item: dict[str, Any]) -> dict[str, Any]:
    """The same event with its unknown fields moved to `metadata`, those of a part as `part.field`."""
    known = {name: value for name, value in item.items() if name in _FIELDS[""]}
    strange = {name: value for name, value in item.items() if name not in _FIELDS[""]}
    for part, fields in _FIELDS.items():
        inner = known.get(part)
        if isinstance(inner, dict):
            values = cast("dict[str, Any]", inner)
            known[part] = {name: value for name, value in values.items() if name in fields}
            strange |= {f"{part}.{name}": value for name, value in values.items() if name not in fields}
    metadata = known.get("metadata", {})
    if strange and isinstance(metadata, dict):
        known["metadata"] = _merged(cast("dict[str, Any]", metadata), strange)
    return known


def _merged(metadata: dict[str, Any], strange: dict[str, Any]) -> dict[str, Any]:
    """Both; an unknown field whose name is taken gets an underscore, so that neither is lost."""
    merged = dict(metadata)
    for name, value in strange.items():
        free = name
        while free in merged:
            free += "_"
        merged[free] = value
    return merged


def _fits(event: Event) -> bool:
    scan = event.scan_result
    is_open = event.metadata or (scan is not None and scan.threats_detected)  # may be of any size
    return (
        event.event_id.isprintable()
        and event.agent_id.isprintable()
        and (not is_open or len(_pack(event)) <= MAX_EVENT_BYTES)
    )


def _is_plain(event: Event) -> bool:
    """As `_fits`, where the id was looked at already: most events hold nothing of any size."""
    scan = event.scan_result
    is_open = event.metadata or (scan is not None and scan.threats_detected)
    return _fits(event) if is_open else event.agent_id.isprintable()


def _unfit(event: Event) -> str:
    if not event.event_id.isprintable():
        return "Control characters are not allowed - at `$.event_id`"
    if not event.agent_id.isprintable():
        return "Control characters are not allowed - at `$.agent_id`"
    return f"More than {MAX_EVENT_BYTES} bytes"


def _in_time(event: Event, now: datetime) -> Event:
    """The event itself, or with the time of receipt where its own cannot be right."""
    if now - BEHIND <= event.timestamp <= now + AHEAD:
        return event
    metadata = _merged(event.metadata, {REPORTED: event.timestamp.isoformat()})
    return msgspec.structs.replace(event, timestamp=now, metadata=metadata)


def _violation(index: int, error: Exception) -> Violation:
    """In our words and places: msgspec says `… - at `$.tool.name``."""
    reason, _, place = str(error).partition(" - at `$")
    field = place.rstrip("`")
    _, missing, name = reason.partition("Object missing required field `")
    if missing:
        field, reason = f"{field}.{name.rstrip('`')}", "is required"
    return Violation(f"events[{index}]{field}", reason)


def _refused(field: str, description: str) -> InvalidArgument:
    return InvalidArgument.of([Violation(field, description)])
