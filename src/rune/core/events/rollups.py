"""What is counted when an event is stored, so that no counter, series or list ever reads events again.

Every event counts in four cells: its agent's minute, its organization's minute by type and threat, and
the hour of both by type, threat and tool. A cell that names no agent (0) is the organization's. All
numbers are whole, so that adding and taking away, in any order, gives the same cell.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

MINUTE = 60 * 1_000_000
"""Microseconds."""

MINUTES = 0
HOURS = 1
"""The two grains of a cell: its `start` counts minutes or hours since 1970."""

WINDOW = 60
"""Minutes that an agent's risk looks back."""

HALF_LIFE = 10.0
"""Minutes after which an event counts half in its agent's risk."""

UNIT = 1 << 20
"""The weight of an event of this minute."""


class Cell(NamedTuple):
    """Which events are counted together; terms are numbers, 0 stands for none or any."""

    organization: int
    grain: int
    start: int
    agent: int
    type: int
    threat: int
    tool: int


class Share(NamedTuple):
    """Events of one agent, minute and kind: what a batch is first reduced to."""

    organization: int
    minute: int
    agent: int
    type: int
    threat: int
    tool: int
    blocked: int


Sums = list[int]
"""Events, blocked, with a threat, thousandths of risk."""


def cells(shares: Iterable[tuple[Share, int, int]]) -> dict[Cell, Sums]:
    """The cells of so many events and so much risk of each share; negative numbers take away."""
    counted: dict[Cell, Sums] = {}
    for share, events, risk in shares:
        blocked = events if share.blocked else 0
        threats = events if share.threat else 0
        for cell in _cells_of(share):
            sums = counted.get(cell)
            if sums is None:
                counted[cell] = [events, blocked, threats, risk]
                continue
            sums[0] += events
            sums[1] += blocked
            sums[2] += threats
            sums[3] += risk
    return counted


def _cells_of(share: Share) -> Iterator[Cell]:
    organization, minute, agent, kind, threat, tool, _ = share
    yield Cell(organization, MINUTES, minute, agent, 0, 0, 0)
    yield Cell(organization, MINUTES, minute, 0, kind, threat, 0)
    yield Cell(organization, HOURS, minute // 60, agent, kind, threat, tool)
    yield Cell(organization, HOURS, minute // 60, 0, kind, threat, tool)


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
