"""What is counted when an event is stored, so that no counter, series or list ever reads events again.

Every event counts in six cells: the minute and the hour of its organization, its agent's minute, its
organization's minute by type and threat, and the hour of both by type, threat and tool. A cell that names
no agent (0) is the organization's, and one that names no type either is all that the organization has. All
numbers are whole, so that adding and taking away, in any order, gives the same cell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

MINUTE = 60 * 1_000_000
"""Microseconds."""

MINUTES = 0
HOURS = 1
"""The two grains of a cell: its `start` counts minutes or hours since 1970."""

ZERO = (0, 0, 0, 0)

WINDOW = 60
"""Minutes that an agent's risk looks back."""

HALF_LIFE = 10.0
"""Minutes after which an event counts half in its agent's risk."""

UNIT = 1 << 20
"""The weight of an event of this minute."""


Cell = tuple[int, int, int, int, int, int, int]
"""Organization, grain, start, agent, type, threat, tool: which events are counted together.

Words are numbers; 0 stands for none, or any. Plain tuples, since every event passes through here.
"""

Share = tuple[int, int, int, int, int, int, int]
"""Organization, minute, agent, type, threat, tool, blocked: what a batch is first reduced to."""

Sums = Sequence[int]
"""Events, blocked, with a threat, thousandths of risk."""


def cells(shares: Mapping[Share, Sequence[int]], sign: int) -> dict[Cell, Sums]:
    """The cells of shares that have so many events and so much risk; a sign of -1 takes them away."""
    counted: dict[Cell, Sums] = {}
    find = counted.get
    for (organization, minute, agent, kind, threat, tool, blocked), sums in shares.items():
        events, risk = sign * sums[0], sign * sums[1]
        stopped = events if blocked else 0
        threats = events if threat else 0
        hour = minute // 60
        for cell in (
            (organization, MINUTES, minute, 0, 0, 0, 0),
            (organization, HOURS, hour, 0, 0, 0, 0),
            (organization, MINUTES, minute, agent, 0, 0, 0),
            (organization, MINUTES, minute, 0, kind, threat, 0),
            (organization, HOURS, hour, agent, kind, threat, tool),
            (organization, HOURS, hour, 0, kind, threat, tool),
        ):
            one, two, three, four = find(cell, ZERO)
            counted[cell] = (one + events, two + stopped, three + threats, four + risk)
    return counted


def weight(age: int) -> int:
    """What an event of so many minutes ago counts in its agent's risk; the future counts as now."""
    return round(UNIT * 0.5 ** (max(age, 0) / HALF_LIFE)) if age < WINDOW else 0


WEIGHTS = tuple(weight(age) for age in range(WINDOW))


class Stretch(NamedTuple):
    """Whole cells of one grain, from `first` up to but not including `end`."""

    grain: int
    first: int
    end: int


def stretches(since: int, until: int) -> list[Stretch]:
    """The fewest cells that make up a time, given in minutes: whole hours, and minutes at both ends."""
    first, end = -(-since // 60), until // 60
    if first >= end:
        parts = [Stretch(MINUTES, since, until)]
    else:
        parts = [
            Stretch(MINUTES, since, first * 60),
            Stretch(HOURS, first, end),
            Stretch(MINUTES, end * 60, until),
        ]
    return [part for part in parts if part.first < part.end]
