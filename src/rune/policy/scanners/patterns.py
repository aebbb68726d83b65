"""L1: scans a text, and its other readings, with rules. Pure, and linear in the text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice
from typing import Any

import msgspec

from rune.policy.scanners import pii, secrets
from rune.policy.scanners.discounts import discounted, discounts
from rune.policy.scanners.engine import Engine, compile_pattern
from rune.policy.scanners.finding import WINDOW, Direction, Finding
from rune.policy.scanners.invisible import invisible_text
from rune.policy.scanners.normalize import View, views
from rune.policy.scanners.rules import SENSITIVE, Context, Rule, builtin_rules

MAX_MATCHES = 32
"""Matches of one rule in one reading that are weighed; a rule that matches more often loses its discounts."""
MAX_SENSITIVE = 1_000
"""Candidates of one kind of secret or personal datum that are checked; past it, if one was good, one finding
covers the rest of the text."""
MAX_CANDIDATES = 2_500
"""Candidates that are checked when none was good."""
UNLIKELY = 0.3
LONG = 6_000
LONG_TRUST = 0.81
"""In a text longer than `LONG`, a match below this confidence is worth less: many chances to err."""

VALIDATORS = {**secrets.VALIDATORS, **pii.VALIDATORS}


class PatternScanner:
    """The pattern layer. Build one and share it: threads may use it at once, and scans leave no state."""

    def __init__(self, rules: Sequence[Rule] | None = None, *, prefer: str = "hyperscan") -> None:
        own = rules is None and prefer == "hyperscan"
        self._engine = (
            builtin_engine() if own else Engine(builtin_rules() if rules is None else rules, prefer=prefer)
        )
        self._contexts: dict[str, Any] = {}
        self._factors: dict[tuple[str, str], Factors] = {}

    def scan(
        self, text: str, *, direction: Direction, source: str = "chat", tool: str | None = None
    ) -> list[Finding]:
        """What was found, by place.

        `direction` is `input`, `output`, or `tool` for arguments on their way to a tool; a `source` other
        than `chat`, or a `tool`, says that an input is third-party content, in which nobody may give orders.
        """
        channel = _channel(direction, source, tool)
        reading = Reading(text)
        found, shapes = self._read(reading, channel=channel, view="text")
        if shapes or not text.isascii():
            for view in views(text, shapes):
                found += self._read_view(view, channel, found)
            found += invisible_text(text, found)
        found.sort(key=_place)
        return found

    def _read_view(self, view: View, channel: str, known: list[Finding]) -> list[Finding]:
        fresh: list[Finding] = []
        for finding in self._read(Reading(view.text), channel=channel, view=view.name)[0]:
            start, end = view.original(finding.start, finding.end)
            if any(f.rule == finding.rule and f.start < end and start < f.end for f in known):
                continue
            why = f"{finding.explanation}; read as {view.name} text"
            fresh.append(
                msgspec.structs.replace(finding, start=start, end=end, view=view.name, explanation=why)
            )
        return fresh

    def _read(self, reading: Reading, *, channel: str, view: str) -> tuple[list[Finding], set[str]]:
        """What one reading holds, and the shapes that call for other readings."""
        factors = self._factors.get((channel, view))
        if factors is None:
            factors = self._factors[channel, view] = Factors(self._engine.rules, channel, view)
        stretches, shapes = self._engine.open(reading.data, factors.wanted)
        found: list[Finding] = []
        spans_of = self._engine.spans
        for number, where in stretches.items():
            rule = self._engine.rules[number]
            data = reading.bytes_for(rule) if rule.case_sensitive else reading.data
            spans = spans_of(number, data, where)
            if spans is None:
                continue
            if rule.type in SENSITIVE:
                found += self._sensitive(rule, reading, spans, channel=channel)
            else:
                found += self._threats(rule, reading, spans, factor=factors.of[number])
        return found, shapes

    def _threats(
        self, rule: Rule, reading: Reading, spans: Iterator[tuple[int, int]], *, factor: float
    ) -> Iterator[Finding]:
        matches = [reading.chars(span) for span in islice(spans, MAX_MATCHES)]
        flood = len(matches) == MAX_MATCHES
        best: Finding | None = None
        for start, end in matches:
            if best is not None and start - best.start > WINDOW:
                yield best
                best = None
            finding = self._threat(rule, reading, (start, end), factor=factor, flood=flood)
            if finding is not None and (best is None or finding.weight > best.weight):
                best = finding
        if best is not None:
            yield best

    def _threat(
        self, rule: Rule, reading: Reading, span: tuple[int, int], *, factor: float, flood: bool
    ) -> Finding | None:
        start, end = span
        confidence = rule.confidence * factor
        if rule.unless is not None and self._context(rule.unless, reading.low, span):
            return None
        if rule.requires is not None and not self._context(rule.requires, reading.low, span):
            confidence = rule.requires.otherwise * factor
        if not confidence:
            return None
        less = list(discounts(reading.low, start, end)) if rule.discounts and not flood else []
        if len(reading.low) > LONG and confidence < LONG_TRUST:
            less.append(("weak sign in a long text", 0.6))
        why = rule.says if not less else f"{rule.says} (discounted: {', '.join(name for name, _ in less)})"
        return Finding(
            type=rule.type,
            rule=rule.id,
            severity=rule.severity,
            confidence=discounted(confidence, less),
            start=start,
            end=end,
            explanation=why,
        )

    def _context(self, context: Context, low: str, span: tuple[int, int]) -> bool:
        regex = self._contexts.get(context.pattern)
        if regex is None:
            regex = self._contexts[context.pattern] = compile_pattern(context.pattern)
        around = low[max(0, span[0] - context.within) : span[1] + context.within]
        return regex.search(around.encode("utf-8", "replace")) is not None

    def _sensitive(
        self, rule: Rule, reading: Reading, spans: Iterator[tuple[int, int]], *, channel: str
    ) -> Iterator[Finding]:
        check = VALIDATORS[rule.validator] if rule.validator else None
        severity = "info" if channel in {"chat", "content"} else rule.severity
        good = False
        for count, span in enumerate(spans, 1):
            start, end = reading.chars(span)
            full = good and count >= MAX_SENSITIVE
            confidence = rule.confidence * (
                1.0 if full or check is None else check(*_around(reading.text, start, end))
            )
            if confidence >= UNLIKELY:
                good = True
                why = (
                    f"{rule.says}; too many to list, the rest of the text is taken as one"
                    if full
                    else rule.says
                )
                yield Finding(
                    type=rule.type,
                    rule=rule.id,
                    severity=severity,
                    confidence=round(confidence, 4),
                    start=start,
                    end=len(reading.text) if full else end,
                    category=rule.category,
                    explanation=why,
                )
            if full or count >= MAX_CANDIDATES:
                return


class Factors:
    """What each rule counts for in one channel and one reading; at 0 it is not wanted."""

    __slots__ = ("of", "wanted")

    def __init__(self, rules: Sequence[Rule], channel: str, view: str) -> None:
        self.of = [rule.channels.get(channel, 1.0) if _applies(rule, view) else 0.0 for rule in rules]
        self.wanted = sum(1 << number for number, factor in enumerate(self.of) if factor)
        """One bit for each rule, as `Engine.open` reads it."""


def _place(finding: Finding) -> tuple[int, int, str]:
    return finding.start, finding.end, finding.rule


def _around(text: str, start: int, end: int) -> tuple[str, str, str]:
    """A candidate, and what a validator may see before and after it."""
    return text[start:end], text[max(0, start - 48) : start], text[end : end + 24]


class Reading:
    """A text as the engine needs it: lower-cased, as bytes, with the way back from bytes to characters."""

    __slots__ = ("_ascii", "_marks", "_raw", "data", "low", "text")

    def __init__(self, text: str) -> None:
        low = text.lower()
        if len(low) != len(text):  # a few letters grow when lowered, and would move every offset after them
            low = "".join(c if len(c.lower()) != 1 else c.lower() for c in text)
        self.text = text
        self.low = low
        self.data = low.encode("utf-8", "replace")
        self._ascii = len(self.data) == len(low)
        self._raw: bytes | None = None
        self._marks: dict[int, list[int]] = {}

    def bytes_for(self, rule: Rule) -> bytes:
        """The bytes a rule is matched on; those with and without capitals have the same length."""
        if not rule.case_sensitive:
            return self.data
        if self._raw is None:
            raw = self.text.encode("utf-8", "replace")
            self._raw = raw if len(raw) == len(self.data) else _aligned(self.text, self.low)
        return self._raw

    def chars(self, span: tuple[int, int]) -> tuple[int, int]:
        """A span of bytes as a span of characters."""
        if self._ascii:
            return span
        return self._char(span[0]), self._char(span[1])

    def _char(self, at: int) -> int:
        marks = self._marks.get(0)
        if marks is None:
            marks = self._marks[0] = _mark(self.data)
        block = at // _BLOCK
        return marks[block] + len(self.data[block * _BLOCK : at].decode("utf-8", "ignore"))


_BLOCK = 512


def _mark(data: bytes) -> list[int]:
    """The number of characters that begin before each block of bytes."""
    marks, total = [0], 0
    for at in range(0, len(data), _BLOCK):
        total += sum(1 for byte in data[at : at + _BLOCK] if byte & 0xC0 != 0x80)
        marks.append(total)
    return marks


def _aligned(text: str, low: str) -> bytes:
    """The text in as many bytes as its lower-cased form: a character whose size differs gives way to that."""
    pairs = (
        (a.encode("utf-8", "replace"), b.encode("utf-8", "replace")) for a, b in zip(text, low, strict=True)
    )
    return b"".join(a if len(a) == len(b) else b for a, b in pairs)


@cache
def builtin_engine() -> Engine:
    """The engine of the rules that ship with Rune, built once per process."""
    return Engine(builtin_rules())


def _channel(direction: Direction, source: str, tool: str | None) -> str:
    if direction == "output":
        return "output"
    if direction == "tool":
        return "arguments"
    return "chat" if source == "chat" and tool is None else "content"


def _applies(rule: Rule, view: str) -> bool:
    if rule.views:
        return view in rule.views
    return view != "joined"
