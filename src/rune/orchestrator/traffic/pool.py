"""Pools: the ready copies behind a door, how busy each is, and which one the next connection goes to."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

SHUNNED: Final = 1.0
"""Seconds for which a copy that refused a connection is asked only when there is no other."""


class Endpoint(NamedTuple):
    """Where a port of one copy is reached."""

    instance: str
    host: str
    port: int


class Load:
    """How many connections one copy has, over all its ports, and whether it takes new ones."""

    __slots__ = ("_idle", "active", "is_leaving", "passed", "shunned_until")

    def __init__(self) -> None:
        self.active = 0
        self.passed = 0
        """All that it has had."""
        self.is_leaving = False
        self.shunned_until = 0.0
        self._idle: asyncio.Event | None = None

    def release(self) -> None:
        """A connection ended."""
        self.active -= 1
        if not self.active and self._idle:
            self._idle.set()

    async def ended(self) -> None:
        """Until it has no connection."""
        self._idle = self._idle or asyncio.Event()
        while self.active:
            self._idle.clear()
            await self._idle.wait()


class Loads:
    """The load of every copy that is in a pool or still has a connection."""

    def __init__(self) -> None:
        self._loads: dict[str, Load] = {}

    def of(self, instance: str) -> Load:
        """Its load, from now on counted."""
        return self._loads.setdefault(instance, Load())

    def find(self, instance: str) -> Load | None:
        """Its load, if it has one."""
        return self._loads.get(instance)

    def keep(self, instances: Collection[str]) -> None:
        """Forget the others, save those that still have a connection."""
        self._loads = {name: load for name, load in self._loads.items() if name in instances or load.active}


class Pool:
    """The ready copies behind one port of a service."""

    def __init__(self, loads: Loads) -> None:
        self.by_turns = False
        """Round robin; otherwise the copy with the fewest connections."""
        self._loads = loads
        self._members: tuple[tuple[Endpoint, Load], ...] = ()
        self._turn = 0
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._members)

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where connections may go."""
        return tuple(endpoint for endpoint, _ in self._members)

    def fill(self, endpoints: Iterable[Endpoint]) -> None:
        """These are the ready copies from now on; connections to others go on."""
        wanted = tuple(endpoints)
        if wanted == self.endpoints:
            return
        self._members = tuple((endpoint, self._loads.of(endpoint.instance)) for endpoint in wanted)
        self._changed.set()

    def choose(self, tried: Collection[Endpoint], now: float) -> tuple[Endpoint, Load] | None:
        """The best one that was not tried; None when there is none.

        The turn moves on with every choice, so that copies with equally few connections take turns as well.
        """
        best: tuple[Endpoint, Load] | None = None
        rank = (True, 0)
        count = len(self._members)
        self._turn += 1
        for step in range(count):
            member = self._members[(self._turn + step) % count]
            endpoint, load = member
            if load.is_leaving or endpoint in tried:
                continue
            mine = (load.shunned_until > now, 0 if self.by_turns else load.active)
            if best is None or mine < rank:
                best, rank = member, mine
        return best

    async def changed(self, seconds: float) -> None:
        """Until other copies are ready, or so many seconds have passed."""
        self._changed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return
