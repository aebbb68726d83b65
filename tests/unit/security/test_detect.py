"""What an event raises: which alert, how severe, about what."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rune.core.events.event import Event, read
from rune.security.detect import RISKY, TYPES, Raised, raised

AT = datetime(2026, 3, 1, tzinfo=UTC)


def event(**fields: Any) -> Event:
    made = {"event_id": "e", "timestamp": AT.isoformat(), "agent_id": "bot", "event_type": "scan", **fields}
    return read([made], AT)[0]


def unknown(_policy: str, _rule: str) -> str:
    return ""


def found(**fields: Any) -> Raised:
    answer = raised(event(**fields), unknown)
    assert answer is not None
    return answer


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"scan_result": {"risk_score": 0.79, "threats_detected": [{"type": "jailbreak"}]}},
        {"policy_result": {"allowed": True, "action": "log"}},
        {"policy_result": {"allowed": True, "action": "redact"}},
        {"event_type": "custom", "metadata": {"kind": "false_positive"}},
    ],
)
def test_what_is_neither_risky_nor_blocked_nor_told_of_raises_nothing(fields: dict[str, Any]) -> None:
    assert raised(event(**fields), unknown) is None


@pytest.mark.parametrize(("threat", "alert_type"), TYPES.items())
def test_a_risky_scan_raises_the_alert_of_its_threat(threat: str, alert_type: str) -> None:
    alert = found(scan_result={"risk_score": 0.8, "threat_type": threat})
    assert (alert.alert_type, alert.threat, alert.severity) == (alert_type, threat, "high")
    assert alert.title.endswith(" detected on bot")


def test_a_layer_that_blocks_is_a_block_whatever_the_score() -> None:
    for name in ("l1_result", "l2_result", "l3_result"):
        assert found(scan_result={"risk_score": 0.1, name: "block"}).severity == "medium"
    assert found(scan_result={"risk_score": 0.1, "blocked": True}).threat == "unknown_threat"


def test_the_severity_is_the_threats_own_where_it_says_one() -> None:
    threats = [
        {"type": "jailbreak", "severity": "low", "rule": "j1"},
        {"type": "jailbreak", "severity": "high"},
    ]
    alert = found(scan_result={"risk_score": 0.99, "threats_detected": threats})
    assert (alert.severity, alert.rule) == ("high", "j1")


@pytest.mark.parametrize(
    ("event_type", "action", "rule_type", "alert_type"),
    [
        ("tool_call", "block", "tool_denylist", "tool_blocked"),
        ("tool_call", "alert", "argument_match", "policy_violation"),
        ("tool_call", "require_approval", "flow", "approval_required"),
        ("tool_call", "block", "rate_limit", "rate_limit_exceeded"),
        ("tool_call", "block", "budget", "rate_limit_exceeded"),
        ("scan", "block", "data_protection", "policy_violation"),
    ],
)
def test_a_decision_of_a_policy_raises_the_alert_of_its_kind(
    event_type: str, action: str, rule_type: str, alert_type: str
) -> None:
    policy = {"allowed": action == "alert", "action": action, "policy": "p", "rule": "r", "severity": "low"}
    alert = raised(event(event_type=event_type, policy_result=policy), lambda _policy, _rule: rule_type)
    assert alert is not None
    assert (alert.alert_type, alert.rule, alert.severity) == (alert_type, "p/r", "low")


@given(
    risk=st.floats(0, 1), blocked=st.booleans(), action=st.sampled_from(["allow", "log", "alert", "block"])
)
def test_every_event_that_is_blocked_risky_or_told_of_raises_one(
    risk: float, blocked: bool, action: str
) -> None:
    policy = {"allowed": action != "block", "action": action}
    made = event(scan_result={"risk_score": risk, "blocked": blocked}, policy_result=policy)
    is_due = blocked or risk >= RISKY or action in ("alert", "block")
    assert (raised(made, unknown) is not None) is is_due


def test_the_details_hold_no_content() -> None:
    alert = found(
        scan_result={"risk_score": 0.9, "threat_type": "jailbreak"},
        metadata={"content": "the secret text", "content_fingerprint": "hs256:ab"},
    )
    assert "the secret text" not in repr(alert)
    assert [(mark.threat, mark.fingerprint) for mark in alert.marks] == [("jailbreak", "hs256:ab")]


def test_subjects_differ_by_organization_agent_and_threat() -> None:
    alert = found(scan_result={"risk_score": 0.9, "threat_type": "jailbreak"})
    other = found(agent_id="other", scan_result={"risk_score": 0.9, "threat_type": "jailbreak"})
    assert len({alert.subject("a"), alert.subject("b"), other.subject("a")}) == 3
