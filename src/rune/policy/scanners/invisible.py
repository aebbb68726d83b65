"""Invisible characters that hide something: smuggled words, broken words, a code, a false order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rune.policy.scanners.confusables import INVISIBLE
from rune.policy.scanners.finding import Finding, Severity


def invisible_text(text: str, found: Sequence[Finding]) -> Iterator[Finding]:
    """The findings of type `invisible_text`; emoji, joiners and soft hyphens alone are none."""
    if text.isascii() or INVISIBLE.search(text) is None:
        return
    for run in SMUGGLED.finditer(text):
        if not _is_flag(text, run):
            yield _finding(
                run.span(),
                "smuggled-characters",
                says="Characters no reader sees spell a text",
                severity="critical",
                confidence=0.85,
            )
            break
    run = _CODE.search(text)
    if run is not None:
        yield _finding(
            run.span(),
            "zero-width-code",
            says="A long run of zero-width characters can hold a code",
            severity="high",
            confidence=0.8,
        )
    run = _OVERRIDE.search(text)
    if run is not None and _RIGHT_TO_LEFT.search(text) is None:
        yield _finding(
            run.span(),
            "reordered-text",
            says="Bidirectional controls show text in another order",
            severity="medium",
            confidence=0.7,
        )
    for finding in found:
        if finding.view == "folded" and _BROKEN.search(text[finding.start : finding.end]):
            span = (finding.start, finding.end)
            yield _finding(
                span,
                "broken-up-words",
                says=f"Invisible characters break up words of {finding.rule}",
                severity="high",
                confidence=0.8,
            )
            return


def _finding(
    span: tuple[int, int], rule: str, *, says: str, severity: Severity, confidence: float
) -> Finding:
    return Finding(
        type="invisible_text",
        rule=rule,
        severity=severity,
        confidence=confidence,
        start=span[0],
        end=span[1],
        explanation=says,
    )


def _is_flag(text: str, run: re.Match[str]) -> bool:
    """Whether the tags belong to the emoji of a flag, which ends with a cancel tag."""
    return (
        text[run.start() - 1 : run.start()] == "\U0001f3f4"
        and len(run[0]) <= _FLAG
        and run[0].endswith("\U000e007f")
    )


_FLAG = 8
SMUGGLED = re.compile("[\U000e0000-\U000e007f]{4,}|[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4,}")
_CODE = re.compile("[\u200b-\u200d\u2060-\u2064\ufeff\u180e]{12,}")
_OVERRIDE = re.compile("[\u202d\u202e\u2066-\u2068]")
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_BROKEN = re.compile(
    "[\u00ad\u034f\u115f\u1160\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]"
)
