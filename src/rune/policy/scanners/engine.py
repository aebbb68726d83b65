"""Which rules may match a text, and where: keywords open a rule for a stretch of text, RE2 finds the spans.

Hyperscan finds the keywords of all rules in one pass; without it Aho-Corasick does, with the same result. The
patterns themselves are never given to hyperscan: its automata for them take seconds and hundreds of megabytes
to build, and a stretch with the right keywords costs RE2 microseconds. Both steps are linear in the text.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain
from typing import Any, Protocol

import re2

from rune.policy.scanners.openers import Openers
from rune.policy.scanners.rules import Rule

SMALL = 2048
"""Bytes up to which a text is looked at as a whole: finding stretches costs more than RE2 saves by them."""

MAX_REGEX_BYTES = 2 << 20
"""What one pattern may hold, the states that it met in texts included. With 1.5 MiB a text of 100 KB takes
a fifth longer, since the largest patterns forget states and meet them again; with 1 MiB every text, twice."""

SHAPES: dict[str, str] = {
    "<digits>": r"[0-9](?:[ ().\-/]{0,2}[0-9]){6}",
    "<address>": r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]|[0-9a-f]:[0-9a-f]{0,4}:[0-9a-f:]",
    "<token>": r"[a-z0-9+/_\-]{20}",
    "<leet>": r"[a-z][013457@$!|][a-z0-9]{0,3}[a-z013457@$]",
    "<spaced>": r"(?:[a-z][ ._*|~/\-]{1,3}){4}[a-z](?:[^a-z]|$)",
    "<entity>": r"&(?:#x?[0-9a-f]{2,6}|[a-z]{2,8});",
    "<percent>": r"%[0-9a-f]{2}",
    "<escape>": r"\\(?:u00|x)[0-9a-f]{2}",
    "<control>": r"[\x00-\x08\x0b\x0e-\x1f\x7f]",
    "<rot13>": r"(?:vtaber|qvfertneq|sbetrg|flfgrz|erirny|olcnff|cerivbhf|vafgehpgvba)",
    "<reversed>": r"(?:snoitcurtsni|suoiverp|erongi|tpmorp|metsys|dragersid|selur)",
}
"""Keywords that are shapes rather than words: cheap patterns that say whether dearer work may be worth it."""

_SHAPES = frozenset(range(len(SHAPES)))
"""Their numbers, which are the first."""

WHOLE = "\0"
"""Stands before a keyword that must be a whole word."""
_SHORT = 3
_WORD = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789_")


Span = tuple[int, int]
Found = tuple[Span, int]
Search = Callable[[bytes, int, int], Found | None]


def _keywords(rule: Rule) -> Iterator[str]:
    for group in rule.groups:
        for word in group:
            yield _spelled(word, rule)


def _spelled(word: str, rule: Rule) -> str:
    """A keyword as the finder gets it: one of up to three letters is a whole word."""
    word = word.lower()
    if (
        rule.case_sensitive
        or "joined" in rule.views
        or len(word) > _SHORT
        or not (word.isascii() and word.isalnum())
    ):
        return word
    return WHOLE + word


def _expression(word: str) -> bytes:
    if word in SHAPES:
        return SHAPES[word].encode()
    literal = b"".join(b"\\x%02x" % byte for byte in word.removeprefix(WHOLE).encode())
    return rb"\b" + literal + rb"\b" if word.startswith(WHOLE) else literal


class Finder(Protocol):
    """Finds keywords in lower-cased bytes."""

    def find(self, data: bytes) -> list[tuple[int, int]]:
        """Every hit as (keyword number, end); of a shape at least the first."""
        ...

    def words(self, data: bytes) -> dict[int, None]:
        """The numbers of the keywords that occur, in order, where nobody asks for the places."""
        ...


class Engine:
    """A set of rules made ready: built in some tens of milliseconds, then shared by all threads."""

    def __init__(self, rules: Sequence[Rule], *, prefer: str = "hyperscan") -> None:
        self.rules = rules
        words: dict[str, int] = {name: number for number, name in enumerate(SHAPES)}
        for rule in rules:
            for word in _keywords(rule):
                words.setdefault(word, len(words))
        self._names = list(words)
        self._groups = [
            [frozenset(words[_spelled(w, rule)] for w in group) for group in rule.groups] for rule in rules
        ]
        self._shaped = {
            number for number, rule in enumerate(rules) if any(w in SHAPES for g in rule.groups for w in g)
        }
        self._openers = Openers(self._groups, len(words))
        self.finder = make_finder(self._names, prefer=prefer)
        self._searches: dict[int, Search] = {}

    def open(self, data: bytes, wanted: int = -1) -> tuple[dict[int, list[Span]], set[str]]:
        """For each rule that may match, the stretches to look at; and the names of the shapes that occur.

        `wanted` has the bits set of the rules that are asked for, rule number 0 being the lowest.
        """
        if len(data) <= SMALL:
            words = self.finder.words(data)
            whole = [(0, len(data))]
            return dict.fromkeys(self._openers.opened(words, wanted), whole), self._shapes(words.keys())
        places: dict[int, list[int]] = {}
        for word, end in self.finder.find(data):
            places.setdefault(word, []).append(end)
        stretches: dict[int, list[Span]] = {}
        for number in self._openers.opened(places, wanted):
            found = self._stretches(number, places, len(data))
            if found:
                stretches[number] = found
        return stretches, self._shapes(places.keys())

    def _shapes(self, words: AbstractSet[int]) -> set[str]:
        return {self._names[word] for word in _SHAPES & words}

    def _stretches(self, number: int, places: dict[int, list[int]], size: int) -> list[tuple[int, int]]:
        """Around each hit of the rarest group that has hits of every other group within reach."""
        groups = self._groups[number]
        if not groups or number in self._shaped:
            return [(0, size)]
        reach = self.rules[number].reach
        ends = [
            sorted(chain.from_iterable(places[word] for word in group & places.keys())) for group in groups
        ]
        ends.sort(key=len)
        stretches: list[tuple[int, int]] = []
        place = 0
        while place < len(ends[0]):
            end = ends[0][place]
            if all(_near(other, end, reach) for other in ends[1:]):
                _extend(stretches, max(end - reach, 0), min(end + 2 * reach, size))
                place = bisect_right(ends[0], end + reach)  # what lies between is covered in full
            else:
                place += 1
        return stretches

    def spans(self, number: int, data: bytes, stretches: Sequence[Span]) -> Iterator[Span] | None:
        """Where a rule matches, None for nowhere; of a pattern with groups, the first that took part."""
        search = self._searches.get(number)
        if search is None:
            search = self._searches[number] = make_search(self.rules[number].pattern)
        for place, (at, end) in enumerate(stretches):
            found = search(data, at, end)
            if found is not None:  # seldom, so that ordinary text pays for no generator
                return _spans(search, data, stretches[place:], found=found)
        return None


def make_search(pattern: str) -> Search:
    """The first match of a pattern in data[at:end], as its span and where it begins."""
    regex = compile_pattern(pattern)
    search: Callable[..., Any] = regex.search
    groups: Sequence[int] = range(1, regex.groups + 1) or (0,)

    def first(data: bytes, at: int, end: int) -> Found | None:
        match = search(data, at, end)
        if match is None:
            return None
        span = next((span for span in map(match.span, groups) if span[0] >= 0), match.span())
        return span, match.start()

    return first


def _spans(search: Search, data: bytes, stretches: Sequence[Span], *, found: Found | None) -> Iterator[Span]:
    """All spans, where `found` is the first match in the first of the stretches."""
    for place, (begin, end) in enumerate(stretches):
        if place:
            found = search(data, begin, end)
        while found is not None:
            span, start = found
            yield span
            # What follows a group may begin the next match.
            found = search(data, max(span[1], start + 1), end)


def compile_pattern(pattern: str) -> Any:  # noqa: ANN401 - re2 has no types
    """An RE2 pattern over bytes, with its memory bounded."""
    engine: Any = re2
    options = engine.Options()
    options.max_mem = MAX_REGEX_BYTES
    options.log_errors = False
    return engine.compile(pattern.encode(), options)


def make_finder(words: Sequence[str], *, prefer: str = "hyperscan") -> Finder:
    """The fastest finder there is here; `prefer="ahocorasick"` takes the fallback."""
    if prefer == "hyperscan":
        try:
            return HyperscanFinder(words)
        except ImportError:
            pass
    return AhoFinder(words)


class HyperscanFinder:
    """All keywords and shapes in one pass of hyperscan; scratch space is per thread."""

    def __init__(self, words: Sequence[str]) -> None:
        import hyperscan  # noqa: PLC0415 - optional

        once = hyperscan.HS_FLAG_SINGLEMATCH
        expressions = [_expression(word) for word in words]
        flags = [once if word in SHAPES else 0 for word in words]
        self._database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        self._database.compile(expressions=expressions, ids=list(range(len(words))), flags=flags)
        self._scratch: Callable[[Any], Any] = hyperscan.Scratch
        self._local = threading.local()

    def find(self, data: bytes) -> list[tuple[int, int]]:
        """Every hit as (keyword number, end); of a shape only the first."""
        hits: list[tuple[int, int]] = []
        add = hits.append

        def note(word: int, _start: int, end: int, _flags: int, _context: object) -> None:
            add((word, end))

        self._scan(data, note)
        return hits

    def words(self, data: bytes) -> dict[int, None]:
        """The numbers of the keywords that occur, in order."""
        words: dict[int, None] = {}

        def note(word: int, _start: int, _end: int, _flags: int, _context: object) -> None:
            words[word] = None

        self._scan(data, note)
        return words

    def _scan(self, data: bytes, note: Callable[[int, int, int, int, object], None]) -> None:
        scratch = getattr(self._local, "scratch", None)
        if scratch is None:
            scratch = self._local.scratch = self._scratch(self._database)
        self._database.scan(data, match_event_handler=note, scratch=scratch)


class AhoFinder:
    """Keywords by Aho-Corasick, shapes by RE2 one after the other."""

    def __init__(self, words: Sequence[str]) -> None:
        import ahocorasick_rs  # noqa: PLC0415 - the fallback only

        self._words = words
        self._numbers = [number for number, word in enumerate(words) if word not in SHAPES]
        literals = [words[number].removeprefix(WHOLE).encode() for number in self._numbers]
        self._automaton = ahocorasick_rs.BytesAhoCorasick(literals) if literals else None
        self._shapes = [(n, compile_pattern(SHAPES[word])) for n, word in enumerate(words) if word in SHAPES]

    def find(self, data: bytes) -> list[tuple[int, int]]:
        """Every hit as (keyword number, end); of a shape only the first."""
        hits: list[tuple[int, int]] = []
        if self._automaton is not None and data:
            found = self._automaton.find_matches_as_indexes(data, overlapping=True)
            hits = [
                (self._numbers[word], end)
                for word, start, end in found
                if self._stands(word, data, (start, end))
            ]
        for number, shape in self._shapes:
            match = shape.search(data)
            if match is not None:
                hits.append((number, match.end()))
        return hits

    def words(self, data: bytes) -> dict[int, None]:
        """The numbers of the keywords that occur, in order."""
        return dict.fromkeys(word for word, _ in self.find(data))

    def _stands(self, literal: int, data: bytes, span: tuple[int, int]) -> bool:
        """Whether a hit is a whole word, where it must be one."""
        if not self._words[self._numbers[literal]].startswith(WHOLE):
            return True
        start, end = span
        return not (start and data[start - 1] in _WORD) and not (end < len(data) and data[end] in _WORD)


def _near(ends: list[int], place: int, reach: int) -> bool:
    at = bisect_left(ends, place - reach)
    return at < len(ends) and ends[at] <= place + reach


def _extend(known: list[tuple[int, int]], start: int, end: int) -> None:
    """Adds a stretch, as one with the stretch before it where they touch."""
    if known and known[-1][1] >= start:
        known[-1] = (known[-1][0], max(end, known[-1][1]))
    else:
        known.append((start, end))
