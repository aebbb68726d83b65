"""A batch that is read in one go is the same request as one that is read field by field."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from rune.api import wirejson
from rune.api.security.events import IngestEventsRequest
from rune.api.validate import _worth, refuse_unsupported  # pyright: ignore[reportPrivateUsage] - empty in a fresh server
from rune.core.events.event import in_time
from rune.errors import InvalidArgument
from rune.security.events import Batch, read_batch, shown, taken

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LEAST: dict[str, Any] = {
    "event_id": "e1", "timestamp": "2026-03-01T00:00:00Z", "agent_id": "bot", "event_type": "scan",
}  # fmt: skip
WORDS = ("", "bot", "a b", "é", "a\nb", "block", "maybe", "inbound", "scan", "x" * 129)
scalars = st.sampled_from((*WORDS, None, True, 0, 1, -1, 0.5, 2**31, 2**70))
scans = st.dictionaries(
    st.sampled_from(("risk_score", "blocked", "threat_type", "l1_result", "layers_executed", "odd")), scalars
)
policies = st.dictionaries(
    st.sampled_from(("allowed", "action", "policy_version", "severity", "rule", "odd")), scalars
)
changes = st.dictionaries(
    st.sampled_from((*LEAST, "direction", "tags", "host", "metadata")), scalars, max_size=2
)


@given(changes, st.none() | scans, st.none() | policies)
def test_what_is_read_in_one_go_is_read_in_the_same_way_field_by_field(
    change: dict[str, Any], scan: dict[str, Any] | None, policy: dict[str, Any] | None
) -> None:
    item = {**LEAST, **change, "scan_result": scan, "policy_result": policy}
    body = msgspec.json.encode({"events": [item]}) if _fits(item) else b""
    quick = read_batch(body)
    if quick is None:
        return
    try:
        slow = taken(wirejson.decode(IngestEventsRequest, body).events, NOW)
    except InvalidArgument as refusal:
        raise AssertionError(f"taken in one go, but {refusal}") from refusal
    fast = in_time(quick.events, NOW)
    assert list(map(shown, fast)) == list(map(shown, slow))
    assert [each.blocked for each in fast] == [each.blocked for each in slow]


def _fits(item: dict[str, Any]) -> bool:
    """The encoder of the test takes no integers of more than 64 bits."""
    parts: tuple[dict[str, Any], ...] = (item, item["scan_result"] or {}, item["policy_result"] or {})
    return all(value != 2**70 for value in itertools.chain.from_iterable(part.values() for part in parts))


def test_the_first_batch_of_a_server_is_taken_like_every_other() -> None:
    _worth.clear()
    batch = read_batch(msgspec.json.encode({"events": [LEAST]}))
    assert isinstance(batch, Batch)
    refuse_unsupported(batch, IngestEventsRequest)
