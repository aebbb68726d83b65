"""From one reader of the change log to the open pages: each is rung when what it shows has changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, contextmanager

from rune.core.access import ANY
from rune.errors import Unavailable

ALWAYS = frozenset({ANY, "token", "session", "subject", "grant"})
"""Kinds that concern every page: what is shown depends on who may see it."""

Changes = Callable[[], AsyncGenerator[frozenset[str]]]


class Bell:
    """Rings for one open page."""

    def __init__(self) -> None:
        self.watches: frozenset[str] = frozenset()
        self.rung = asyncio.Event()
        self.cost = 0.0
        """Seconds that it took to tell its page the last time, without what another drew for it."""

    def ring(self, kinds: frozenset[str]) -> None:
        """Something of these kinds has changed."""
        if kinds & self.watches or kinds & ALWAYS:
            self.rung.set()


class Notices:
    """All the bells."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._bells: set[Bell] = set()
        self.moment = 0
        """Another one after every change."""

    @property
    def cost(self) -> float:
        """Seconds that it takes to tell every open page."""
        return sum(bell.cost for bell in self._bells)

    @contextmanager
    def listening(self) -> Generator[Bell]:
        """A bell, until the block ends."""
        bell = Bell()
        self._bells.add(bell)
        try:
            yield bell
        finally:
            self._bells.discard(bell)

    async def run(self) -> None:
        """Pass on what changes, until the store closes."""
        try:
            async with aclosing(self._changes()) as changes:
                async for kinds in changes:
                    self.moment += 1
                    for bell in self._bells:
                        bell.ring(kinds)
        except Unavailable:
            return
