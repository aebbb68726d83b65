"""Baselines, pure: whether an agent's present hour, or its silence, is unlike its last days, with numbers."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import fmean, pstdev
from typing import Final

import msgspec

from rune.core.events.base import Hour

LEAST_HOURS: Final = 24
"""Active hours below which nothing is said of an agent: too little is known."""
LEAST_EVENTS: Final = 20
"""Events of the present hour below which nothing is said of it."""
Z: Final = 4.0
"""Standard deviations that are unusual."""
KL: Final = 1.0
"""Nats by which a mix of tools is unlike the usual one."""
LEAST_DAYS: Final = 5
"""Different days that must be known before an hour of the day counts as unusual."""
WEEK: Final = timedelta(days=7)
"""Has every pause that comes again: nights and the weekend."""
BUSY: Final = 60
"""Events of every hour from which on a quarter of an hour without one is unusual."""
QUARTER: Final = timedelta(minutes=15)
_HOUR: Final = timedelta(hours=1)


class Anomaly(msgspec.Struct, frozen=True, kw_only=True):
    """Something unusual: what is measured, what it is, what it usually is, and how far off that is."""

    metric: str
    """rate, block_rate, tool_mix or time_of_day."""
    value: float
    usual: float
    score: float
    threshold: float
    words: str


def anomalies(
    present: Hour, past: Sequence[Hour], *, tools: Mapping[str, int], usual_tools: Mapping[str, int]
) -> list[Anomaly]:
    """What is unusual in the present hour, which may not be over yet; `past` are the active hours before."""
    if len(past) < LEAST_HOURS or present.events < LEAST_EVENTS:
        return []
    found = (
        _rate(present, past),
        _block_rate(present, past),
        _mix(tools, usual_tools),
        _time_of_day(present.start, past),
    )
    return [each for each in found if each is not None]


def longest_pause(hours: Sequence[Hour], missed: Collection[datetime] = ()) -> timedelta | None:
    """After how long a silence is unlike an agent, by its active hours; None where too little is known.

    Hours say when there were events to within two hours, so that no pause that it ever made is longer; but
    silences that it was missed in, by the moments when they began, teach nothing.
    """
    if len(hours) < LEAST_HOURS:
        return None
    left_out = {at.replace(minute=0, second=0, microsecond=0) for at in missed}
    pairs = [pair for pair in pairwise(hours) if pair[0].start not in left_out]
    pause = max((later.start - earlier.start for earlier, later in pairs), default=_HOUR)
    if pause > _HOUR:
        is_known = hours[-1].start - hours[0].start >= WEEK
        return pause + _HOUR if is_known else None
    is_busy = min(hour.events for hour in hours[1:-1]) >= BUSY
    return QUARTER if is_busy else pause + _HOUR


def _rate(present: Hour, past: Sequence[Hour]) -> Anomaly | None:
    """Only too many: too few may be an hour that has just begun."""
    counts = [hour.events for hour in past]
    usual = fmean(counts)
    spread = max(pstdev(counts), math.sqrt(usual), 1.0)
    z = (present.events - usual) / spread
    if z < Z:
        return None
    words = f"{present.events} events this hour, usually {usual:.1f}"
    return Anomaly(metric="rate", value=present.events, usual=usual, score=z, threshold=Z, words=words)


def _block_rate(present: Hour, past: Sequence[Hour]) -> Anomaly | None:
    """The share that was blocked against the usual share, as two proportions."""
    events, blocked = sum(hour.events for hour in past), sum(hour.blocked for hour in past)
    usual = (blocked + 1) / (events + 2)
    share = present.blocked / present.events
    z = (share - usual) / math.sqrt(usual * (1 - usual) / present.events)
    if z < Z:
        return None
    words = f"{share:.0%} of this hour's events were blocked, usually {usual:.1%}"
    return Anomaly(metric="block_rate", value=share, usual=usual, score=z, threshold=Z, words=words)


def _mix(tools: Mapping[str, int], usual: Mapping[str, int]) -> Anomaly | None:
    """The Kullback-Leibler divergence of this hour's tools from the usual ones, unseen tools smoothed."""
    calls, calls_before = sum(tools.values()), sum(usual.values())
    if calls < LEAST_EVENTS or calls_before < LEAST_EVENTS:
        return None
    kinds = len(tools.keys() | usual.keys())
    terms = {
        name: (count / calls)
        * math.log((count / calls) / ((usual.get(name, 0) + 0.5) / (calls_before + kinds / 2)))
        for name, count in tools.items()
        if count
    }
    divergence = sum(terms.values())
    if divergence < KL:
        return None
    most = max(terms, key=terms.__getitem__)
    before = f"{usual.get(most, 0)} of {calls_before}"
    words = f"{tools[most]} of {calls} calls went to {most[:100]!r}, before {before}"
    return Anomaly(
        metric="tool_mix", value=divergence, usual=0.0, score=divergence, threshold=KL, words=words
    )


def _time_of_day(start: datetime, past: Sequence[Hour]) -> Anomaly | None:
    """Active at an hour of the day (UTC) at which it never was, on any of enough days."""
    days = {hour.start.date() for hour in past}
    share = sum(hour.start.hour == start.hour for hour in past) / len(days)
    if share or len(days) < LEAST_DAYS:
        return None
    words = f"active at {start:%H}:00 UTC, at which it was not on {len(days)} days"
    return Anomaly(
        metric="time_of_day", value=start.hour, usual=0.0, score=len(days), threshold=LEAST_DAYS, words=words
    )
