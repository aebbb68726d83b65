"""What a Shield answers: the result of a scan, the decision of the policies, and the error of a block."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from rune.errors import PermissionDenied
from rune.policy.action import VerdictAction
from rune.policy.model import SeverityName

LayerResult = Literal["pass", "flag", "block"]


class PolicyDecision(msgspec.Struct, frozen=True, kw_only=True):
    """What all policies together say: that of the strictest rule that matched."""

    allowed: bool = True
    """False when the action is `block`, or `require_approval` and no person allowed it."""
    action: VerdictAction = "allow"
    rule: str = ""
    """The rule that decided: of a policy, or of a scanner when `policy` is empty."""
    policy: str = ""
    severity: SeverityName | None = None
    explanation: str = ""
    policy_id: str = ""
    policy_version: int = 0
    event_id: str = ""
    approval_id: str = ""
    """The approval that was asked for, where the action is `require_approval`."""
    scan_result: ScanResult | None = None
    """What was found in the arguments, where they were scanned."""


class ScanResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a scan found. It never holds the matched text, save for `sanitized_content`."""

    blocked: bool = False
    risk_score: float = 0.0
    """From 0 to 1: the risk of the riskiest stretch of the text."""
    threat_type: str | None = None
    """The threat that weighs most."""
    explanation: str | None = None
    scan_latency_ms: float = 0.0
    pii_detected: bool = False
    secrets_detected: bool = False
    layers_executed: list[str] = []
    l1_result: LayerResult = "pass"
    l2_result: str | None = None
    l3_result: str | None = None
    sanitized_content: str | None = None
    """The text with secrets and personal data replaced by their kinds; None where nothing was replaced."""
    threats_detected: list[dict[str, Any]] = []
    """By place: type, rule, severity, confidence, layer, start, end, category, explanation."""
    policy_result: PolicyDecision | None = None
    """The decision of the policies where a rule of theirs matched."""
    event_id: str = ""


class ShieldBlockedError(PermissionDenied):
    """A scan or a policy stopped this; `scan_result` and `policy_result` say which and why."""

    def __init__(
        self, message: str = "", /, *, scan_result: ScanResult | None = None,
        policy_result: PolicyDecision | None = None,
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.scan_result = scan_result
        self.policy_result = policy_result


def blocked_error(outcome: ScanResult | PolicyDecision) -> ShieldBlockedError:
    """The error for an outcome that is a block."""
    if isinstance(outcome, ScanResult):
        scan, policy = outcome, outcome.policy_result
    else:
        scan, policy = outcome.scan_result, outcome
    why = outcome.explanation or "no reason was given"
    return ShieldBlockedError(f"blocked by Shield: {why}", scan_result=scan, policy_result=policy)
