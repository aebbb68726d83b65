"""Events for the control plane. What is written here is all that leaves the process.

Neither texts nor argument values are part of it unless `capture_content` is on; arguments are told by a
keyed hash, so that equal calls can be recognized and none can be guessed.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from functools import lru_cache
from typing import Any, Protocol, cast

import msgspec

from rune.policy.action import VerdictAction
from rune.policy.model import SeverityName
from rune.policy.values import plain_arguments
from rune.shield.context import Context
from rune.shield.results import LayerResult, PolicyDecision, ScanResult
from rune.version import __version__

MAX_CAPTURED = 32_768
MAX_THREATS = 100
_BLOCK = 64
"""Bytes of a block of SHA-256."""
SDK = {"name": "runesec", "version": __version__}

_TOLD = ("type", "rule", "severity", "confidence", "layer", "start", "end", "category")

_SORTED = msgspec.json.Encoder(order="sorted")
_PLAIN = msgspec.json.Encoder()


class Hash(Protocol):
    """A hash of the standard library; its class has no public name."""

    def copy(self) -> Hash:
        """Another that goes on from here."""
        ...

    def update(self, data: bytes, /) -> None:
        """More to hash."""
        ...

    def digest(self) -> bytes:
        """The hash so far."""
        ...

    def hexdigest(self) -> str:
        """The same in hexadecimal digits."""
        ...


class ToldScan(msgspec.Struct):
    """What the control plane hears of a scan: places and rules, no text."""

    risk_score: float
    blocked: bool
    threat_type: str | None
    l1_result: LayerResult
    l2_result: str | None
    l3_result: str | None
    layers_executed: list[str]
    scan_latency_ms: float
    pii_detected: bool
    secrets_detected: bool
    threats_detected: list[dict[str, Any]]


class ToldPolicy(msgspec.Struct):
    """What the control plane hears of a decision; the explanation may quote an argument and stays here."""

    allowed: bool
    action: VerdictAction
    policy: str
    policy_id: str
    policy_version: int
    rule: str
    severity: SeverityName | None


class Event(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One event in the contract's own words."""

    event_id: str
    timestamp: datetime
    agent_id: str
    event_type: str
    direction: str = ""
    session_id: str = ""
    trace_id: str = ""
    tags: tuple[str, ...] = ()
    sdk: dict[str, str]
    framework: str = ""
    tool: dict[str, str] | None = None
    scan_result: ToldScan | None = None
    policy_result: ToldPolicy | None = None
    metadata: dict[str, Any] = {}


def event(event_type: str, direction: str, context: Context, *, event_id: str, at: datetime) -> Event:
    """An event that says when and by whom, and nothing yet of what."""
    return Event(
        event_id=event_id,
        timestamp=at,
        agent_id=context.agent_id,
        event_type=event_type,
        direction=direction,
        session_id=context.session_id,
        trace_id=context.trace_id,
        tags=context.tags,
        sdk=SDK,
        framework=context.framework,
    )


def told_scan(result: ScanResult) -> ToldScan:
    """A scan without its text; at most 100 of its findings."""
    return ToldScan(
        result.risk_score,
        result.blocked,
        result.threat_type,
        result.l1_result,
        result.l2_result,
        result.l3_result,
        result.layers_executed,
        result.scan_latency_ms,
        result.pii_detected,
        result.secrets_detected,
        [
            {name: threat[name] for name in _TOLD if name in threat}
            for threat in result.threats_detected[:MAX_THREATS]
        ],
    )


def told_policy(decision: PolicyDecision) -> ToldPolicy:
    """A decision without its explanation."""
    return ToldPolicy(
        decision.allowed,
        decision.action,
        decision.policy,
        decision.policy_id,
        decision.policy_version,
        decision.rule,
        decision.severity,
    )


def arguments_hash(salt: bytes, arguments: object) -> str:
    """A keyed hash of the arguments; the same for the same values in any order of keys."""
    first, second = _keyed(salt)
    inner, outer = first.copy(), second.copy()
    inner.update(_canonical(arguments))
    outer.update(inner.digest())
    return f"hs256:{outer.hexdigest()}"


@lru_cache(maxsize=4)
def _keyed(salt: bytes) -> tuple[Hash, Hash]:
    """The two halves of HMAC-SHA256 with the key in them: to begin anew each time takes thrice as long."""
    key = (salt if len(salt) <= _BLOCK else hashlib.sha256(salt).digest()).ljust(_BLOCK, b"\0")
    return hashlib.sha256(bytes(byte ^ 0x36 for byte in key)), hashlib.sha256(
        bytes(byte ^ 0x5C for byte in key)
    )


def captured_arguments(arguments: object) -> str:
    """The arguments as JSON text, cut to a bound; only for `capture_content`."""
    return _canonical(arguments).decode("utf-8", "replace")[:MAX_CAPTURED]


def encoded(event: Event) -> bytes:
    """The event as JSON; a text that is not Unicode loses its bad characters, not the event."""
    try:
        return _PLAIN.encode(event)
    except UnicodeEncodeError:
        return msgspec.json.encode(_mended(msgspec.to_builtins(event)))


def _canonical(arguments: object) -> bytes:
    plain = plain_arguments(arguments)
    try:
        return _SORTED.encode(plain)
    except UnicodeEncodeError:
        return json.dumps(plain, sort_keys=True).encode()
    except ValueError:
        return b"a number of thousands of digits"  # Python writes none


def _mended(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_mended(k): _mended(v) for k, v in cast("dict[object, object]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_mended(each) for each in cast("list[object]", value)]
    return value
