"""What many open pages show alike is drawn once: for the same path, the same rights, and the same state.

Only pages that say nothing of who looks at them take part (`Page.is_shared`), and callers share what their
rules make of it only where those rules are the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from rune.core.clock import Clock
from rune.dashboard.ask import Screen
from rune.dashboard.shell import inside, tag

FRESH: Final = 1.0
"""Seconds after which it is drawn again although nothing has rung: times and events go on."""
MOST: Final = 64
"""Drawings that are kept at a time."""

Draw = Callable[[], Awaitable[Screen]]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A page's content as it is sent, and what tells it from another."""

    tag: str
    told: str
    """The message to the browser."""


@dataclass(slots=True, eq=False)
class _Place:
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    drawn: Drawn | None = None
    until: float = 0.0


class Shared:
    """The drawings of one moment; all are forgotten with the next change."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._moment = -1
        self._places: dict[tuple[str, str], _Place] = {}

    async def get(self, rights: str, path: str, draw: Draw, *, moment: int) -> Drawn:
        """The drawing of this moment, made by whoever asks first; the others wait for it."""
        if moment != self._moment or len(self._places) >= MOST:
            self._moment, self._places = moment, {}
        place = self._places.setdefault((rights, path), _Place())
        async with place.turn:
            if place.drawn is None or self._clock.monotonic() > place.until:
                place.drawn = drawn(path, await draw())
                place.until = self._clock.monotonic() + FRESH
            return place.drawn


def drawn(path: str, screen: Screen) -> Drawn:
    """The message that shows a screen at a path."""
    content = inside(screen)
    mark = tag(content)
    told = {"path": path, "title": screen.title, "main": str(content), "tag": mark}
    return Drawn(mark, msgspec.json.encode(told).decode())
