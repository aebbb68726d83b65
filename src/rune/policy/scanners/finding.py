"""What a scanner found, and the one function that turns findings into a risk score."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

Severity = Literal["info", "low", "medium", "high", "critical"]
Direction = Literal["input", "output", "tool"]
Verdict = Literal["pass", "flag", "block"]

WEIGHTS: dict[str, float] = {"info": 0.0, "low": 0.3, "medium": 0.6, "high": 0.85, "critical": 1.0}
"""How much a certain finding of a severity counts; `info` is told to policies and never raises the risk."""

WINDOW = 2_000
"""Characters within which findings are taken as evidence of one and the same thing."""

BLOCK_AT = 0.8
FLAG_AT = 0.5


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One threat at one place of the text. It says where and why, and never repeats what stood there."""

    type: str
    rule: str
    severity: Severity
    confidence: float
    start: int
    end: int
    explanation: str
    layer: str = "l1"
    category: str | None = None
    """The kind of secret or personal datum, such as `github_token` or `ssn`."""
    view: str = "text"
    """The reading of the text that matched: `text`, or for example `base64`, `folded`, `joined`."""

    @property
    def weight(self) -> float:
        """Confidence times the weight of the severity: the risk this finding is alone."""
        return self.confidence * WEIGHTS[self.severity]


def risk_score(findings: Iterable[Finding]) -> float:
    """The highest noisy-or of finding weights within any window of 2,000 characters, from 0 to 1.

    Findings more than a window apart never add up, so length alone raises no risk. Findings of one type that
    overlap are one piece of evidence: only the strongest counts.
    """
    ordered = sorted((f for f in findings if f.weight > 0), key=lambda f: f.start)
    best = 0.0
    for first, anchor in enumerate(ordered):
        inside: list[Finding] = []
        for finding in ordered[first : first + 64]:
            if finding.start - anchor.start >= WINDOW:
                break
            inside.append(finding)
        best = max(best, _noisy_or(inside))
    return round(best, 4)


def verdict(score: float, *, block_at: float = BLOCK_AT, flag_at: float = FLAG_AT) -> Verdict:
    """What a layer says about a text of this risk."""
    if score >= block_at:
        return "block"
    return "flag" if score >= flag_at else "pass"


def _noisy_or(findings: list[Finding]) -> float:
    spared = 1.0
    counted: list[Finding] = []
    for finding in sorted(findings, key=lambda f: -f.weight):
        if any(_same_evidence(finding, other) for other in counted):
            continue
        counted.append(finding)
        spared *= 1.0 - finding.weight
    return 1.0 - spared


def _same_evidence(one: Finding, other: Finding) -> bool:
    if one.type == other.type and one.rule == other.rule:
        return True
    return one.type == other.type and one.start < other.end and other.start < one.end
