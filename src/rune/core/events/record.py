"""Events in the form they are stored in: what is searched or counted as plain values, the rest packed.

Packing happens on the caller's side, before the writer thread sees the event, and costs about as much
as encoding it once. Positional msgpack has no field names in it; fields may be added at the end only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import msgspec

from rune.core.events.event import Event, EventType, Policy, Scan, Sdk, Tool
from rune.errors import InvalidArgument

Packed = tuple[bytes | str, int, int, str, str, str, str, int, int, bytes, str]
"""Key, digest, microseconds, agent, type, threat, tool, blocked, risk in thousandths, body, framework."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
RISK = 1000
"""Scores are added up as whole thousandths, so that sums do not depend on the order."""

UUID = len("00000000-0000-0000-0000-000000000000")
HYPHENS = (8, 13, 18, 23)
"""Their places in a UUID."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Any]).decode
_astuple = msgspec.structs.astuple
_LAYERS = Scan.__struct_fields__.index("layers_executed")
_THREATS = Scan.__struct_fields__.index("threats_detected")
_blake2b = hashlib.blake2b
_DIGEST = (1 << 63) - 1


def pack(events: Sequence[Event], salt: bytes) -> list[Packed]:
    """A batch ready for the writer; raises InvalidArgument for an event that was not made by `event.read`."""
    try:
        return _pack(events, packed_keys([event.event_id for event in events]), salt)
    except (ValueError, OverflowError, TypeError) as error:
        raise InvalidArgument(f"an event cannot be stored: {error}") from error


def weight(rows: Sequence[Packed]) -> int:
    """The bytes of what may be of any size in them."""
    return sum(len(row[9]) for row in rows)


def _pack(events: Sequence[Event], keys: Sequence[bytes | str], salt: bytes) -> list[Packed]:
    """Every event passes through here, so nothing is looked up or called that need not be."""
    rows: list[Packed] = []
    for key, mark, event in zip(keys, digests(keys, salt), events, strict=True):
        scan, policy, tool, sdk = event.scan_result, event.policy_result, event.tool, event.sdk
        framework = event.framework
        body = (
            event.direction,
            event.session_id,
            event.trace_id,
            event.tags,
            sdk and _astuple(sdk),
            framework,
            tool and _astuple(tool),
            scan and _astuple(scan),
            policy and _astuple(policy),
            event.metadata or None,
        )
        rows.append(
            (
                key,
                mark,
                (event.timestamp - EPOCH) // MICROSECOND,
                event.agent_id,
                event.event_type,
                event.threat_type if scan else "",
                tool.name if tool else "",
                int(event.blocked),
                round(scan.risk_score * RISK) if scan else 0,
                _encode(body),
                framework,
            )
        )
    return rows


def unpacked(key: bytes | str, at: int, *, agent: str, type: EventType, body: bytes) -> Event:
    """The event as it was packed."""
    direction, session, trace, tags, sdk, framework, tool, scan, policy, metadata, *_ = _decode(body)
    return Event(
        event_id=unpacked_key(key),
        timestamp=moment(at),
        agent_id=agent,
        event_type=type,
        direction=direction,
        session_id=session,
        trace_id=trace,
        tags=tuple(tags),
        sdk=sdk and Sdk(*sdk),
        framework=framework,
        tool=tool and Tool(*tool),
        scan_result=_scan(scan),
        policy_result=policy and Policy(*policy),
        metadata=metadata or {},
    )


def packed_keys(event_ids: Sequence[str]) -> Sequence[bytes | str]:
    """The key of each; mostly all are UUIDs, which one look at all of them together tells."""
    text, count = "".join(event_ids), len(event_ids)
    if len(text) == UUID * count and all(text[place::UUID] == "-" * count for place in HYPHENS):
        bare = text.replace("-", "")
        try:
            raw = bytes.fromhex(bare)
        except ValueError:
            raw = b""
        if raw.hex() == bare and len(raw) == 16 * count and {len(each) for each in event_ids} == {UUID}:
            return [raw[place : place + 16] for place in range(0, len(raw), 16)]
    return [packed_key(event_id) for event_id in event_ids]


def packed_key(event_id: str) -> bytes | str:
    """A UUID in its usual form as 16 bytes, any other id as it is; no two ids have the same key."""
    if len(event_id) != UUID:
        return event_id
    bare = event_id.replace("-", "")
    try:
        key = bytes.fromhex(bare)
    except ValueError:
        return event_id
    return key if key.hex() == bare and event_id[8:24:5] == "----" else event_id


def unpacked_key(key: bytes | str) -> str:
    """The id of a key."""
    if isinstance(key, str):
        return key
    bare = key.hex()
    return f"{bare[:8]}-{bare[8:12]}-{bare[12:16]}-{bare[16:20]}-{bare[20:]}"


def digest(key: bytes | str, salt: bytes) -> int:
    """63 bits that stand for a key of one organization; the salt is secret, so nobody can make two meet."""
    return digests([key], salt)[0]


def digests(keys: Sequence[bytes | str], salt: bytes) -> list[int]:
    """The digest of each: of a UUID the middle of its product with a secret number, a universal hash."""
    factor = _factor(salt)
    return [
        int.from_bytes(key) * factor >> 128 & _DIGEST if isinstance(key, bytes) else _digest(key, salt)
        for key in keys
    ]


def _digest(key: str, salt: bytes) -> int:
    return int.from_bytes(_blake2b(salt + key.encode(), digest_size=8).digest(), "little") >> 1


@lru_cache(maxsize=1024)
def _factor(salt: bytes) -> int:
    """An odd number of 191 bits."""
    return int.from_bytes(_blake2b(salt, digest_size=24).digest()) >> 1 | 1


def micros(at: datetime) -> int:
    """Microseconds since 1970."""
    return (at - EPOCH) // MICROSECOND


def moment(at: int) -> datetime:
    """The aware datetime, in UTC, of so many microseconds."""
    return EPOCH + timedelta(microseconds=at)


def _scan(values: list[Any] | None) -> Scan | None:
    if values is None:
        return None
    values[_LAYERS] = tuple(values[_LAYERS])
    values[_THREATS] = tuple(values[_THREATS])
    return Scan(*values)
