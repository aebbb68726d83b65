"""L2: says how much a text reads like an attack, whatever its words; needs numpy (`runesec[vector]`).

The classifier scores a short text as a whole and a long one in overlapping windows. A window must be the
stronger the more of them there are, so that a long harmless text is flagged no more often than a short one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from rune.policy.scanners import quotations, roles
from rune.policy.scanners.discounts import discounted, discounts
from rune.policy.scanners.finding import FLAG_AT, Finding, Severity
from rune.policy.scanners.tokens import cut, plain

if TYPE_CHECKING:
    from rune.policy.scanners.classifier import Classifier

WEIGHTS_FILE = Path(__file__).with_name("model") / "l2.bin"
RULE = "l2-reads-like-an-attack"
SEVERITY: Severity = "high"
STRETCH = 64_000
"""Characters that are read between two looks at the clock."""
MOST = 8
"""Findings of one text; the strongest are told."""
AROUND = 1_000
"""Characters on each side of a finding in which discounts are looked for."""
SHORTEST, LONGEST = 8, 128
"""Tokens that a narrowed place has at least and at most."""

FAMILIES: tuple[tuple[str, str], ...] = (
    ("prompt_injection", "an instruction to the assistant from where none should come"),
    ("jailbreak", "an attempt to talk the assistant out of its limits"),
    ("data_exfiltration", "a request for what is secret or for data to be sent away"),
)
"""Threat types as the classifier numbers them, and how each is put in words."""


class Word(NamedTuple):
    """A token as it is hashed, and where it stands in the text."""

    plain: str
    start: int
    end: int


class Place(NamedTuple):
    """A window of a text: its words, how much they read like an attack, and among how many windows."""

    words: Sequence[Word]
    score: float
    windows: int


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
    """What one of two windows must score above a short text; each doubling costs as much again."""
    flag_at: float
    """The confidence that about one in fifty harmless texts reaches, hard ones included."""
    block_at: float
    """The confidence that less than one in a hundred harmless texts reaches."""

    def confidence(self, score: float, windows: int) -> float:
        """The confidence that one of so many windows is an attack when it has this score."""
        fair = score - self.rise * math.log2(max(windows, 1))
        return 1 / (1 + math.exp(-max(-60.0, min(60.0, self.slope * fair + self.offset))))


class SimilarityScanner:
    """The second layer. Build one and share it: threads may use it at once."""

    def __init__(self, path: Path = WEIGHTS_FILE) -> None:
        """Maps the weights; raises FailedPrecondition for a file of another version."""
        from rune.policy.scanners.classifier import Classifier  # noqa: PLC0415 - loads numpy

        self._classifier: Classifier = Classifier(path)
        self.calibration = msgspec.convert(self._classifier.header["calibration"], Calibration)

    def scan(self, text: str, *, is_late: Callable[[], bool] = lambda: False) -> Judgement:
        """The judgement of a text, or of its first stretches when `is_late` says so between two."""
        found: list[Place] = []
        complete = True
        for stretch, begin in _stretches(text):
            if found and is_late():
                complete = False
                break
            found += _places(self._classifier, stretch, begin)
        return self._judged(text, found, complete=complete)

    def _judged(self, text: str, found: list[Place], *, complete: bool) -> Judgement:
        calibration, risk = self.calibration, 0.0
        findings: list[Finding] = []
        sure = [(calibration.confidence(place.score, place.windows), place) for place in found]
        for confidence, place in sorted(sure, key=lambda each: -each[0]):
            if findings and (confidence < calibration.flag_at or len(findings) == MOST):
                break
            start, end = sentence(text, *self.narrowed(place.words))
            if any(one.start < end and start < one.end for one in findings):
                continue
            family = self._classifier.family([word.plain for word in place.words])
            finding = _finding(text, family, (start, end), confidence=confidence, place=place)
            finding = self._unquoted(text, place, finding)
            risk = max(risk, finding.weight)
            if confidence < calibration.flag_at:
                break
            if finding.weight >= FLAG_AT:  # what is discounted adds nothing to what L1 found there
                findings.append(finding)
        findings.sort(key=lambda each: each.start)
        return Judgement(risk=round(risk, 6), findings=findings, complete=complete)

    def _unquoted(self, text: str, place: Place, finding: Finding) -> Finding:
        """The finding, worth less where the place is calm without what it quotes."""
        region = _region(text, place)
        rest = quotations.left_out(region)
        if rest == region:
            return finding
        alone = self._alone(rest, place.windows)
        kind = quotations.TALK if quotations.is_talk(_lowered(rest)) else quotations.QUOTED
        is_example = self._alone(quotations.only(region), place.windows) >= self.calibration.flag_at
        left = max(alone * (kind.rest if is_example else 1.0), finding.confidence * kind.quoted)
        if left >= finding.confidence:
            return finding
        why = f"{finding.explanation} (discounted: {kind.name})"
        return msgspec.structs.replace(finding, confidence=round(left, 4), explanation=why)

    def _alone(self, part: str, windows: int) -> float:
        """The confidence that a part of a place is an attack; a few words are as likely one as not."""
        words = [word for word in (plain(token) for token, _, _ in cut(part)) if word]
        if len(words) < SHORTEST:
            return 0.5
        return self.calibration.confidence(self._classifier.score(words), windows)

    def narrowed(self, words: Sequence[Word]) -> tuple[int, int]:
        """The characters of the run of words that speaks most for an attack."""
        first, last = strongest(self._classifier.gains([word.plain for word in words]).tolist())
        return words[first].start, words[last - 1].end


def places(classifier: Classifier, text: str) -> Iterator[Place]:
    """Every window of the text."""
    for stretch, begin in _stretches(text):
        yield from _places(classifier, stretch, begin)


def _places(classifier: Classifier, stretch: str, begin: int) -> Iterator[Place]:
    words = [Word(plain(token), begin + start, begin + end) for token, start, end in cut(stretch)]
    words = [word for word in words if word.plain]
    if not any(word.plain.isalnum() for word in words):
        return  # marks alone ask for nothing
    windows = classifier.read([word.plain for word in words])
    for window in windows:
        yield Place(words[window.first : window.last], window.score, len(windows))


def _region(text: str, place: Place) -> str:
    """The characters of a window, and one on each side, where a quotation mark may stand."""
    return text[max(0, place.words[0].start - 1) : place.words[-1].end + 1]


def strongest(gains: Sequence[float]) -> tuple[int, int]:
    """The run with the largest sum above the mean, at least `SHORTEST` and at most `LONGEST` long."""
    mean = max(sum(gains) / len(gains), 0.0)
    best, total, first, found = 0.0, 0.0, 0, (0, min(len(gains), LONGEST))
    for at, gain in enumerate(gains):
        if total <= 0 or at - first == LONGEST:
            total, first = 0.0, at
        total += gain - mean
        if total > best:
            best, found = total, (first, at + 1)
    spare = max(SHORTEST - (found[1] - found[0]), 0)
    start = max(found[0] - (spare + 1) // 2, 0)
    return start, min(max(found[1], start + SHORTEST), len(gains))


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


def _finding(text: str, family: int, span: tuple[int, int], *, confidence: float, place: Place) -> Finding:
    (threat, words), count = FAMILIES[family], place.windows
    start, end = span
    low = max(0, start - AROUND)
    near = _lowered(text[low : end + AROUND])
    less = [each for each in discounts(near, start - low, end - low) if each[0] in COUNTED]
    # In a long text the role around an attack may be another's: only one in the same window counts.
    if roles.is_harmless_role(near if count == 1 else _lowered(_region(text, place))):
        less.append((roles.NAME, roles.FACTOR))
    why = f"reads like {words}" + (f"; one of {count} windows" if count > 1 else "")
    if less:
        why += f" (discounted: {', '.join(name for name, _ in less)})"
    return Finding(
        type=threat,
        rule=RULE,
        severity=SEVERITY,
        confidence=discounted(confidence, less) if less else round(confidence, 6),
        start=start,
        end=end,
        explanation=why,
        layer="l2",
    )


COUNTED = {
    "quoted as an example",
    "quoted",
    "in code",
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
