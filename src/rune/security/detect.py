"""Detection, pure: what an event says that somebody should look at."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final

import msgspec

from rune.core.events.event import Event, Policy, Scan
from rune.security.kinds import Mark

RISKY: Final = 0.8
RANK: Final = {"": 0, "low": 1, "medium": 2, "high": 3, "critical": 4}
TOLD: Final = ("alert", "block", "require_approval")
"""Actions of a policy that somebody is told of."""
THREAT: Final = ("type", "rule", "severity", "confidence", "layer", "start", "end", "category")
MOST: Final = 20
"""Threats of an event that an alert shows."""
RATE_RULES: Final = ("rate_limit", "budget")

TYPES: Final = {
    "prompt_injection": "injection_detected",
    "command_injection": "injection_detected",
    "sql_injection": "injection_detected",
    "path_traversal": "injection_detected",
    "ssrf": "injection_detected",
    "tool_manipulation": "injection_detected",
    "invisible_text": "injection_detected",
    "jailbreak": "jailbreak_detected",
    "data_exfiltration": "data_exfiltration",
    "system_prompt_leak": "data_exfiltration",
    "secret_exposure": "secret_exposed",
    "pii_exposure": "pii_exposed",
    "behavioral_anomaly": "behavioral_anomaly",
}
"""The type of alert that a threat raises."""
_TITLES: Final = {"pii_exposure": "PII exposure", "sql_injection": "SQL injection", "ssrf": "SSRF"}

RuleType = Callable[[str, str], str]
"""The type of a policy's rule, by the policy's id and the rule's name; empty when neither is known."""


class Raised(msgspec.Struct, frozen=True, kw_only=True):
    """What an alert is made of, or counts one more of."""

    agent_id: str
    alert_type: str
    severity: str
    title: str
    threat: str = ""
    rule: str = ""
    details: dict[str, Any] = {}
    marks: tuple[Mark, ...] = ()
    """Everything that was found in the content, so that a false positive lets all of it pass."""

    def subject(self, organization: str) -> str:
        """What is the same for everything that one alert counts."""
        parts = (organization, self.agent_id, self.alert_type, self.threat or self.rule)
        return "alrt_" + sha256("\0".join(parts).encode()).hexdigest()[:24]


def is_quiet(event: Event) -> bool:
    """Whether it surely raises nothing; said of nineteen events out of twenty, so at little cost."""
    scan, policy = event.scan_result, event.policy_result
    if policy is not None and (not policy.allowed or policy.action in TOLD):
        return False
    return scan is None or (scan.risk_score < RISKY and not is_blocked(scan))


def raised(event: Event, rule_type: RuleType) -> Raised | None:
    """What the event raises: of an approval, a threat and a rule the first that it tells of."""
    policy = event.policy_result
    if policy is not None and policy.action == "require_approval":
        if event.metadata.get("approval_id"):  # its alert was raised when it was asked for
            return None
        return _by_policy(event, policy, "approval_required")
    scan = event.scan_result
    if scan is not None and (is_blocked(scan) or scan.risk_score >= RISKY):
        return _by_scan(event, scan)
    if policy is not None and (policy.action in TOLD or not policy.allowed):
        return _by_policy(event, policy, _policy_type(event, policy, rule_type))
    return None


def is_blocked(scan: Scan) -> bool:
    """One of the layers says so, or all together."""
    return scan.blocked or "block" in (scan.l1_result, scan.l2_result, scan.l3_result)


def _by_scan(event: Event, scan: Scan) -> Raised:
    threat = event.threat_type or "unknown_threat"
    found = [each for each in scan.threats_detected if each.get("type") == threat]
    rule = _text(found[0].get("rule")) if found else ""
    said = [_text(each.get("severity")) for each in found]
    severity = max([each for each in said if each in RANK], key=RANK.__getitem__, default="")
    return Raised(
        agent_id=event.agent_id,
        alert_type=TYPES.get(threat, "policy_violation"),
        severity=severity or _severity(scan.risk_score),
        title=f"{title_of(threat)} detected on {event.agent_id}",
        threat=threat,
        rule=rule,
        details=_details(event),
        marks=_marks(event, scan, threat),
    )


def _marks(event: Event, scan: Scan, threat: str) -> tuple[Mark, ...]:
    """One for each threat and rule; for an event that names none, one for its threat."""
    content = _text(event.metadata.get("content_fingerprint"))
    named = [(_text(each.get("type")) or threat, _text(each.get("rule"))) for each in scan.threats_detected]
    pairs = dict.fromkeys(named or [(threat, "")])
    return tuple(Mark(threat=kind, rule=rule, fingerprint=content) for kind, rule in pairs)


def _by_policy(event: Event, policy: Policy, alert_type: str) -> Raised:
    rule = policy.rule or "a policy"
    what = {
        "approval_required": "Approval required",
        "tool_blocked": "Blocked tool call",
        "rate_limit_exceeded": "Exceeded limit",
    }.get(alert_type, "Policy violation")
    return Raised(
        agent_id=event.agent_id,
        alert_type=alert_type,
        severity=policy.severity if policy.severity in RANK and policy.severity else "medium",
        title=f"{what} ({rule}) detected on {event.agent_id}",
        rule=f"{policy.policy or policy.policy_id or ''}/{policy.rule or ''}".strip("/"),
        details=_details(event),
    )


def _policy_type(event: Event, policy: Policy, rule_type: RuleType) -> str:
    if rule_type(policy.policy_id or "", policy.rule or "") in RATE_RULES:
        return "rate_limit_exceeded"
    is_stopped = policy.action == "block" or not policy.allowed
    return "tool_blocked" if event.event_type == "tool_call" and is_stopped else "policy_violation"


def title_of(threat: str) -> str:
    """`prompt_injection` → `Prompt injection`."""
    words = threat.replace("_", " ")
    return _TITLES.get(threat) or words[:1].upper() + words[1:]


def _severity(risk: float) -> str:
    return "critical" if risk >= 0.9 else "high" if risk >= RISKY else "medium"  # noqa: PLR2004 - the scale's last step


def _details(event: Event) -> dict[str, Any]:
    """What speaks for it: results, never content."""
    parts = {"tool": event.tool, "scan_result": event.scan_result, "policy_result": event.policy_result}
    told: dict[str, Any] = {
        name: msgspec.to_builtins(part) for name, part in parts.items() if part is not None
    }
    if event.scan_result is not None:
        told["scan_result"]["threats_detected"] = list(
            map(_threat, event.scan_result.threats_detected[:MOST])
        )
    return {"event_type": event.event_type, "session_id": event.session_id, **told}


def _threat(threat: dict[str, Any]) -> dict[str, Any]:
    """What we know of a threat: another SDK could send the matched text along."""
    known = {name: threat[name] for name in THREAT if name in threat}
    return {name: value for name, value in known.items() if isinstance(value, str | int | float)}


def _text(value: object) -> str:
    return value[:256] if isinstance(value, str) else ""
