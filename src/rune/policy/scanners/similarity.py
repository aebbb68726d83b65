"""L2: says how much a text reads like an attack, whatever its words; needs numpy (`runesec[vector]`).

The network scores overlapping windows. The strongest decides, and must be the stronger the more windows there
were, so that a long harmless text is flagged no more often than a short one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rune.policy.scanners.discounts import discounted, discounts
from rune.policy.scanners.finding import Finding, Severity
from rune.policy.scanners.tokens import cut, plain

if TYPE_CHECKING:
    from rune.policy.scanners.network import Network, Window

WEIGHTS_FILE = Path(__file__).with_name("model") / "l2.bin"
RULE = "l2-reads-like-an-attack"
SEVERITY: Severity = "high"
STRETCH = 64_000
"""Characters that are read between two looks at the clock."""
MOST = 8
"""Findings of one text; the strongest are told."""
AROUND = 1_000
"""Characters on each side of a finding in which discounts are looked for."""
SHORTEST = 8
"""Tokens that a narrowed place has at least."""

FAMILIES: tuple[tuple[str, str], ...] = (
    ("prompt_injection", "an instruction to the assistant from where none should come"),
    ("jailbreak", "an attempt to talk the assistant out of its limits"),
    ("data_exfiltration", "a request for what is secret or for data to be sent away"),
)
"""Threat types in the order of the network's second head, and how each is put in words."""


Place = tuple["Window", tuple[int, int]]
"""A window, and the characters in it that matter."""


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What L2 says of a text: `risk` runs from 0 to 1, findings are told from the flagging point on."""

    risk: float = 0.0
    findings: Sequence[Finding] = ()
    complete: bool = True


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """How a score becomes a confidence; fitted after training, stored with the weights."""

    slope: float
    offset: float
    rise: float
    """What two windows must score above one; longer texts rise with the root of their doublings."""
    flag_at: float
    """The confidence that about one in twenty harmless texts reaches, hard ones included."""
    block_at: float
    """The confidence that less than one in a hundred harmless texts reaches."""

    def confidence(self, score: float, windows: int) -> float:
        """The confidence that a text whose strongest window has this score is an attack."""
        fair = score - self.rise * math.sqrt(math.log2(max(windows, 1)))
        return 1 / (1 + math.exp(-max(-60.0, min(60.0, self.slope * fair + self.offset))))


class SimilarityScanner:
    """The second layer. Build one and share it: threads may use it at once."""

    def __init__(self, path: Path = WEIGHTS_FILE) -> None:
        """Maps the weights; raises FailedPrecondition for a file of another version."""
        from rune.policy.scanners.network import Network  # noqa: PLC0415 - loads numpy

        self._network: Network = Network(path)
        self.calibration = msgspec.convert(self._network.header["calibration"], Calibration)

    def scan(self, text: str, *, is_late: Callable[[], bool] = lambda: False) -> Judgement:
        """The judgement of a text, or of its first stretches when `is_late` says so between two."""
        found: list[Place] = []
        complete = True
        for stretch, begin in _stretches(text):
            if found and is_late():
                complete = False
                break
            found += self._stretch(stretch, begin)
        return self._judged(text, found, complete=complete)

    def windows(self, text: str) -> Iterator[Place]:
        """Every window of the text with the narrowed place of what speaks for an attack."""
        for stretch, begin in _stretches(text):
            yield from self._stretch(stretch, begin)

    def _stretch(self, stretch: str, begin: int) -> Iterator[Place]:
        pieces = list(cut(stretch))
        words = [plain(piece) for piece, _, _ in pieces]
        if not any(map(str.isalnum, words)):
            return  # marks alone ask for nothing
        for window in self._network.read(words):
            first, last = narrowed(window)
            yield window, (begin + pieces[first][1], begin + pieces[last - 1][2])

    def _judged(self, text: str, found: list[Place], *, complete: bool) -> Judgement:
        count, calibration = len(found), self.calibration
        risk = 0.0
        findings: list[Finding] = []
        for window, span in sorted(found, key=lambda each: -each[0].score):
            confidence = calibration.confidence(window.score, count)
            if findings and (confidence < calibration.flag_at or len(findings) == MOST):
                break
            start, end = sentence(text, *span)
            if any(one.start < end and start < one.end for one in findings):
                continue
            finding = _finding(text, window, (start, end), confidence=confidence, count=count)
            risk = max(risk, finding.weight)
            if confidence < calibration.flag_at:
                break
            findings.append(finding)
        findings.sort(key=lambda each: each.start)
        return Judgement(risk=round(risk, 4), findings=findings, complete=complete)


def narrowed(window: Window) -> tuple[int, int]:
    """The run of tokens of a window that speaks most for an attack."""
    gains = (window.where - max(float(window.where.mean()), 0.0)).tolist()
    best, total, first, found = 0.0, 0.0, 0, (0, len(gains))
    for at, gain in enumerate(gains):
        if total <= 0:
            total, first = 0.0, at
        total += gain
        if total > best:
            best, found = total, (first, at + 1)
    spare = max(SHORTEST - (found[1] - found[0]), 0)
    start = max(found[0] - (spare + 1) // 2, 0)
    return window.first + start, window.first + min(max(found[1], start + SHORTEST), len(gains))


def sentence(text: str, start: int, end: int) -> tuple[int, int]:
    """The place, widened to where its sentences begin and end if that is near."""
    before = text[max(0, start - 120) : start]
    after = text[end : end + 120]
    borders = list(_BORDER.finditer(before))
    if borders:
        start = start - len(before) + borders[-1].end()
    elif start <= 120:
        start = 0
    border = _BORDER.search(after)
    if border is not None:
        end += border.start() + (after[border.start()] in ".!?。！？")
    elif len(after) < 120:
        end = len(text)
    return start, end


_BORDER = re.compile(r"[.!?](?=\s)|[。！？]|\n")


def _finding(text: str, window: Window, span: tuple[int, int], *, confidence: float, count: int) -> Finding:
    threat, words = FAMILIES[window.family]
    start, end = span
    low = max(0, start - AROUND)
    less = [
        each
        for each in discounts(_lowered(text[low : end + AROUND]), start - low, end - low)
        if each[0] in COUNTED
    ]
    why = f"reads like {words}" + (f"; one of {count} windows" if count > 1 else "")
    if less:
        why += f" (discounted: {', '.join(name for name, _ in less)})"
    return Finding(
        type=threat,
        rule=RULE,
        severity=SEVERITY,
        confidence=discounted(confidence, less),
        start=start,
        end=end,
        explanation=why,
        layer="l2",
    )


COUNTED = {
    "quoted as an example",
    "quoted",
    "in code",
    "documentation about attacks",
    "asked about",
    "negated",
    "reported",
}
"""The discounts of L1 that also count here."""


def _lowered(text: str) -> str:
    """The text in small letters, as long as it was: a few letters grow when lowered."""
    low = text.lower()
    return low if len(low) == len(text) else "".join(c if len(c.lower()) != 1 else c.lower() for c in text)


def _stretches(text: str) -> Iterator[tuple[str, int]]:
    """The text in parts that overlap by about a window."""
    for begin in range(0, max(len(text) - AROUND, 1), STRETCH - AROUND):
        yield text[begin : begin + STRETCH], begin
