"""What comes from outside is read leniently where it can be, and refused with its place where it cannot."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rune.core.events.event import MAX_EVENTS, REPORTED, Event, in_time, read, read_body
from rune.errors import InvalidArgument
from rune.shield import events as shield_events
from rune.shield.results import PolicyDecision, ScanResult

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FULL: dict[str, Any] = {
    "event_id": "evt_abc123",
    "timestamp": "2025-12-31T23:59:00Z",
    "agent_id": "my-agent",
    "event_type": "tool_call",
    "direction": "outbound",
    "scan_result": {
        "risk_score": 0.95, "l1_result": "block", "threats_detected": [{"type": "prompt_injection"}],
    },
}  # fmt: skip

Reader = Callable[[list[Any]], list[Event]]


def plain(items: list[Any]) -> list[Event]:
    return read(items, NOW)


def json(items: list[Any]) -> list[Event]:
    events = read_body(msgspec.json.encode({"events": items}))
    return read(items, NOW) if events is None else in_time(events, NOW)


@pytest.fixture(params=[plain, json])
def reader(request: pytest.FixtureRequest) -> Reader:
    return request.param


def test_the_published_example_is_read(reader: Reader) -> None:
    (event,) = reader([FULL])
    assert (event.agent_id, event.threat_type, event.risk_score) == ("my-agent", "prompt_injection", 0.95)
    assert event.blocked
    assert event.metadata == {}


def test_four_fields_are_enough(reader: Reader) -> None:
    least = {name: FULL[name] for name in ("event_id", "timestamp", "agent_id", "event_type")}
    (event,) = reader([least])
    assert (event.blocked, event.risk_score, event.threat_type) == (False, 0.0, "")


@pytest.mark.parametrize(
    "result, policy, blocked",
    [
        (None, None, False),
        ({"blocked": True}, None, True),
        ({"blocked": False, "l1_result": "block"}, None, False),
        ({"l2_result": "block"}, None, True),
        ({"l1_result": "flag"}, {"allowed": True}, False),
        ({"blocked": False}, {"allowed": False}, True),
    ],
)
def test_an_event_is_blocked_when_its_scan_or_its_policy_says_so(
    result: dict[str, Any] | None, policy: dict[str, Any] | None, *, blocked: bool
) -> None:
    (event,) = plain([{**FULL, "scan_result": result, "policy_result": policy}])
    assert event.blocked is blocked


def test_unknown_fields_are_kept_in_metadata(reader: Reader) -> None:
    odd = {
        **FULL, "host": "h1", "kept": 1, "metadata": {"kept": 2},
        "sdk": {"name": "runesec", "version": "9", "build": "nightly"},
    }  # fmt: skip
    (event,) = reader([odd])
    assert event.metadata == {"kept": 2, "host": "h1", "kept_": 1, "sdk.build": "nightly"}
    assert event.sdk is not None
    assert event.sdk.version == "9"


@pytest.mark.parametrize(
    "change, message",
    [
        ({"agent_id": 3}, "events[1].agent_id: Expected `str`, got `int`"),
        ({"agent_id": ""}, "events[1].agent_id: Expected `str` of length >= 1"),
        ({"agent_id": "a" * 129}, "events[1].agent_id: Expected `str` of length <= 128"),
        ({"agent_id": "a\nb"}, "events[1].agent_id: Control characters are not allowed"),
        ({"event_id": "a\x00"}, "events[1].event_id: Control characters are not allowed"),
        ({"event_type": "party"}, "events[1].event_type: Invalid enum value 'party'"),
        ({"timestamp": "yesterday"}, "events[1].timestamp: Invalid RFC3339 encoded datetime"),
        ({"timestamp": "2026-01-01T00:00:00"}, "events[1].timestamp: Expected `datetime` with a timezone"),
        ({"scan_result": {"risk_score": 1.1}}, "events[1].scan_result.risk_score: Expected `float` <= 1.0"),
        ({"tags": ["a"] * 65}, "events[1].tags: Expected `array` of length <= 64"),
        ({"metadata": {"n": 2**70}}, "events[1]: can't serialize ints"),
        ({"metadata": {"n": "x" * 300_000}}, "events[1]: More than 262144 bytes"),
    ],
)
def test_a_bad_event_refuses_its_batch_and_says_where(
    reader: Reader, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        reader([FULL, {**FULL, **change}])
    assert refusal.value.message.startswith(message)
    assert refusal.value.details[0].field == message.partition(":")[0]


def test_every_missing_field_and_every_bad_event_is_named(reader: Reader) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        reader([{}, FULL, 7])
    assert [detail.field for detail in refusal.value.details] == ["events[0].event_id", "events[2]"]


def test_a_thousand_bad_events_do_not_make_a_thousand_sentences() -> None:
    with pytest.raises(InvalidArgument) as refusal:
        plain([{}] * MAX_EVENTS)
    assert len(refusal.value.details) == 10


def test_a_batch_is_bounded(reader: Reader) -> None:
    assert len(reader([FULL] * MAX_EVENTS)) == MAX_EVENTS
    with pytest.raises(InvalidArgument, match="events: 1001 in one batch, at most 1000"):
        reader([FULL] * (MAX_EVENTS + 1))


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"nonsense", b"[" * 10_000, b'{"events": ["\\ud800"]}', b"\xff", b"{}", b'{"events": []}',
        b'{"events": [], "more": 1}', b'{"events": ' + b"[" * 10_000,
    ],
)  # fmt: skip
def test_what_is_no_batch_of_events_is_left_to_those_who_explain(body: bytes) -> None:
    assert read_body(body) is None


@pytest.mark.parametrize(
    "change",
    [
        {"event_id": "a b"}, {"event_id": "\u00e9"}, {"host": "h1"}, {"tags": [""]}, {"direction": None},
        {"scan_result": {"l1_result": "maybe"}}, {"policy_result": {"policy_version": "3"}},
    ],
)  # fmt: skip
def test_what_the_api_refuses_or_forgives_is_not_read_in_one_go(change: dict[str, Any]) -> None:
    assert read_body(msgspec.json.encode({"events": [FULL]})) is not None
    assert read_body(msgspec.json.encode({"events": [{**FULL, **change}]})) is None


@pytest.mark.parametrize("minutes, believed", [(5, True), (6, False), (-60, True), (-60 * 24 * 31, False)])
def test_a_time_that_cannot_be_right_becomes_the_time_of_receipt(
    reader: Reader, minutes: int, *, believed: bool
) -> None:
    sent = NOW + timedelta(minutes=minutes)
    (event,) = reader([{**FULL, "timestamp": sent.isoformat()}])
    assert event.timestamp == (sent if believed else NOW)
    assert event.metadata == ({} if believed else {REPORTED: sent.isoformat()})


def test_lone_surrogates_in_plain_data_are_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"events\[0\].agent_id"):
        plain([{**FULL, "agent_id": "\ud800"}])


def test_what_a_shield_sends_needs_no_second_look() -> None:
    sent = shield_events.Event(
        event_id="e", timestamp=NOW, agent_id="a", event_type="tool_call", sdk=shield_events.SDK,
        tool={"name": "search", "arguments_hash": "hs256:" + "0" * 64},
        scan_result=shield_events.told_scan(ScanResult(risk_score=0.5, layers_executed=["l1"])),
        policy_result=shield_events.told_policy(PolicyDecision(policy="p", policy_version=3)),
    )  # fmt: skip
    decoded = msgspec.json.decode(b"[" + shield_events.encoded(sent) + b"]", type=list[Event])
    assert read_body(b'{"events":[' + shield_events.encoded(sent) + b"]}") == decoded


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.lists(st.dictionaries(st.sampled_from([*FULL, "metadata", "tool", "sdk", "odd"]), values), max_size=3)
)
def test_whatever_comes_in_is_read_or_refused(items: list[Any]) -> None:
    for reading in (plain, json):
        try:
            assert len(reading(items)) == len(items)
        except InvalidArgument as refusal:
            assert refusal.details
        except (UnicodeEncodeError, msgspec.MsgspecError, ValueError):
            assert reading is json, "the test itself could not make JSON of it"
