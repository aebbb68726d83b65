"""What a security event is, and the one place that reads one from outside: the API and every store share it.

Reading is lenient where a loss would hurt more than an oddity: fields we do not know are kept in
`metadata`, and a time that cannot be right (the sender's clock is wrong) is replaced by the time of
receipt, with the sender's own under `metadata.reported_timestamp`. Everything else that is wrong
refuses the whole batch and says which event and which field.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import Meta

from rune.errors import InvalidArgument, Violation

MAX_EVENTS = 1_000
"""Events in a batch."""

MAX_BATCH_BYTES = 5 * 1024 * 1024
"""Bytes of a batch as JSON."""

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
Verdict = Literal["pass", "flag", "block"]

Id = Annotated[str, Meta(min_length=1, max_length=128)]
Name = Annotated[str, Meta(max_length=128)]
Text = Annotated[str, Meta(max_length=256)]
Fraction = Annotated[float, Meta(ge=0, le=1)]


class Sdk(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The library that sent the event."""

    name: Name = ""
    version: Name = ""


class Tool(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The tool that was called; its arguments are known by a keyed hash only."""

    name: Name = ""
    arguments_hash: Text = ""


class Scan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a scan found: places and rules, no text."""

    risk_score: Fraction = 0.0
    blocked: bool = False
    threat_type: Name | None = None
    l1_result: Verdict | None = None
    l2_result: Verdict | None = None
    l3_result: Verdict | None = None
    layers_executed: Annotated[tuple[Name, ...], Meta(max_length=16)] = ()
    scan_latency_ms: Annotated[float, Meta(ge=0)] = 0.0
    pii_detected: bool = False
    secrets_detected: bool = False
    threats_detected: Annotated[tuple[dict[str, Any], ...], Meta(max_length=100)] = ()


class Policy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the policies decided."""

    allowed: bool = True
    action: Name | None = None
    policy: Name | None = None
    policy_id: Name | None = None
    policy_version: int | str | None = None
    rule: Name | None = None
    severity: Name | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One security event. Only the first four fields are required; `event_id` is unique in its organization."""

    event_id: Id
    timestamp: Annotated[datetime, Meta(tz=True)]
    agent_id: Id
    event_type: EventType
    direction: Direction = ""
    session_id: Text = ""
    trace_id: Text = ""
    tags: Annotated[tuple[Name, ...], Meta(max_length=64)] = ()
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
        return (scan is not None and scan.blocked) or (policy is not None and not policy.allowed)

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
