"""Numbers in the shape they are asked for: the spans, steps and rankings that every store has in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rune.core.events.base import Hour, Point, Ranked, Span, Step
from rune.core.events.record import RISK, micros, moment
from rune.core.events.rollups import MINUTE
from rune.errors import InvalidArgument, Violation

MAX_POINTS = 10_000
MAX_RANKS = 1_000

MINUTES_OF: dict[Step, int] = {"minute": 1, "hour": 60, "day": 24 * 60}

Sums = Sequence[int]
"""Events, blocked, with a threat, thousandths of risk."""

ZERO: Sums = (0, 0, 0, 0)


def whole(span: Span, minutes: int = 1) -> tuple[int, int]:
    """The steps of so many minutes that a time touches, as numbers since 1970: first, and past the last."""
    step = minutes * MINUTE
    first, end = micros(span.since) // step, -(-micros(span.until) // step)
    return first, max(first, end)


def steps(span: Span, step: Step) -> tuple[int, int]:
    """As `whole`; raises InvalidArgument when there are more than MAX_POINTS."""
    first, end = whole(span, MINUTES_OF[step])
    if end - first > MAX_POINTS:
        reason = f"{end - first} points of a {step}, at most {MAX_POINTS}: ask for longer steps or less time"
        raise InvalidArgument.of([Violation("step", reason)])
    return first, end


def points(first: int, end: int, *, step: Step, sums: Mapping[int, Sums]) -> list[Point]:
    """One point for every step, with zeros where there is nothing."""
    size = MINUTES_OF[step] * MINUTE
    return [_point(number * size, sums.get(number, ZERO)) for number in range(first, end)]


def hours(sums: Mapping[int, Sums]) -> tuple[Hour, ...]:
    """The hours that have events, in order."""
    return tuple(_hour(hour * 60 * MINUTE, row) for hour, row in sorted(sums.items()))


def ranked(counts: Mapping[str, tuple[int, int]], limit: int) -> list[Ranked]:
    """The most frequent first; each name with its events and how many were blocked."""
    order = sorted(counts.items(), key=lambda item: (-item[1][0], item[0]))
    lines = (Ranked(name=name, events=events, blocked=blocked) for name, (events, blocked) in order if name)
    return [line for line, _ in zip(lines, range(min(limit, MAX_RANKS)), strict=False)]


def mean(risk: int, events: int) -> float:
    """The mean risk of so many events, 0 for none."""
    return risk / (events * RISK) if events else 0.0


def weighted(risk: int, events: int) -> float:
    """The mean of weighted sums, to four digits."""
    return round(risk / (events * RISK), 4) if events >= 1 else 0.0


def added(rows: Iterable[tuple[str, int, int]]) -> dict[str, tuple[int, int]]:
    """Events and blocked of each name, over all rows that have it."""
    counts: dict[str, tuple[int, int]] = {}
    for name, events, blocked in rows:
        before = counts.get(name, (0, 0))
        counts[name] = before[0] + events, before[1] + blocked
    return counts


def _point(at: int, sums: Sums) -> Point:
    events, blocked, threats, risk = sums
    return Point(
        start=moment(at), events=events, blocked=blocked, threats=threats, risk_score=mean(risk, events)
    )


def _hour(at: int, sums: Sums) -> Hour:
    events, blocked, threats, risk = sums
    return Hour(
        start=moment(at), events=events, blocked=blocked, threats=threats, risk_score=mean(risk, events)
    )
