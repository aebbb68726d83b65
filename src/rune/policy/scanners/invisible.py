"""Invisible characters that hide something: smuggled words, an attack broken up, a code, or text shown in another order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rune.policy.scanners.confusables import INVISIBLE
from rune.policy.scanners.finding import Finding, Severity


def invisible_text(text: str, found: Sequence[Finding]) -> Iterator[Finding]:
    """The findings of type `invisible_text`; emoji, joiners of other scripts and soft hyphens are no finding."""
    if text.isascii() or INVISIBLE.search(text) is None:
        return
    for run in SMUGGLED.finditer(text):
        if not _is_flag(text, run):
            yield _finding("smuggled-characters", "critical", 0.85, run.span(), "Characters no reader sees spell a text")
            break
    run = _CODE.search(text)
    if run is not None:
        yield _finding("zero-width-code", "high", 0.8, run.span(), "A long run of zero-width characters can hold a code")
    run = _OVERRIDE.search(text)
    if run is not None and _RIGHT_TO_LEFT.search(text) is None:
        yield _finding("reordered-text", "medium", 0.7, run.span(), "Bidirectional controls show text in another order")
    for finding in found:
        if finding.view == "folded" and _BROKEN.search(text[finding.start : finding.end]):
            span = (finding.start, finding.end)
            yield _finding("broken-up-words", "high", 0.8, span, f"Invisible characters break up words of {finding.rule}")
            return


def _finding(rule: str, severity: Severity, confidence: float, span: tuple[int, int], why: str) -> Finding:
    return Finding(
        type="invisible_text", rule=rule, severity=severity, confidence=confidence, start=span[0], end=span[1], explanation=why
    )


def _is_flag(text: str, run: re.Match[str]) -> bool:
    """Whether the tags belong to the emoji of a flag, which ends with a cancel tag."""
    return text[run.start() - 1 : run.start()] == "\U0001f3f4" and len(run[0]) <= 8 and run[0].endswith("\U000e007f")  # noqa: PLR2004


SMUGGLED = re.compile("[\U000e0000-\U000e007f]{4,}|[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4,}")
_CODE = re.compile("[\u200b-\u200d\u2060-\u2064\ufeff\u180e]{12,}")
_OVERRIDE = re.compile("[\u202d\u202e\u2066-\u2068]")
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_BROKEN = re.compile("[\u00ad\u034f\u115f\u1160\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]")
