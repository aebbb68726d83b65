"""The switchboard: the pools and doors of every service, opened and closed as they are wanted."""

from __future__ import annotations

import asyncio
import resource
import ssl
from collections.abc import Collection, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from rune.errors import Unavailable
from rune.orchestrator.traffic.doors import Door
from rune.orchestrator.traffic.exposure import Network, Place
from rune.orchestrator.traffic.pool import Endpoint, Loads, Pool
from rune.orchestrator.traffic.relay import Bounds, Counts

SPARED: Final = 512
"""Descriptors that are left to everything else in this process."""
LEAST: Final = 64
MOST: Final = 20_000

Ref = tuple[str, str]
"""A service: namespace and name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One door as it should be."""

    place: Place
    port: int
    """The service's port behind it."""
    allowed: tuple[Network, ...] = ()
    """Who may connect; empty for everybody."""
    tls: ssl.SSLContext | None = None
    """What new connections are encrypted with; None passes on what comes."""


@dataclass(slots=True)
class Line:
    """What one service has."""

    pools: dict[int, Pool] = field(default_factory=dict[int, Pool])
    """By the service's port."""
    doors: dict[Place, Door] = field(default_factory=dict[Place, Door])


class Switchboard:
    """Doors open once `run` runs; its end closes them all and cuts every connection.

    None opens at a place in `own`: the server must get those back whenever it is started again.
    """

    def __init__(self, bounds: Bounds | None = None, *, own: Collection[Place] = ()) -> None:
        self.counts = Counts()
        self._own = own
        self._bounds = bounds or Bounds(most=most_connections())
        self._loads = Loads()
        self._lines: dict[Ref, Line] = {}
        self._group: asyncio.TaskGroup | None = None

    async def run(self, work: Coroutine[Any, Any, object]) -> None:
        """Be there for as long as the work goes on."""
        try:
            async with asyncio.TaskGroup() as self._group:
                await work
        finally:
            self._group = None
            for line in self._lines.values():
                for door in line.doors.values():
                    door.close()
                    door.cut()
            self._lines.clear()

    def fill(self, ref: Ref, pools: Mapping[int, Iterable[Endpoint]], *, by_turns: bool = False) -> None:
        """These are the ready copies behind the ports of a service; connections to others go on."""
        line = self._lines.setdefault(ref, Line())
        for port, endpoints in pools.items():
            pool = line.pools.setdefault(port, Pool(self._loads))
            pool.by_turns = by_turns
            pool.fill(endpoints)
        for port in line.pools.keys() - pools.keys():
            line.pools.pop(port).fill(())
        everywhere = (pool for one in self._lines.values() for pool in one.pools.values())
        self._loads.keep({endpoint.instance for pool in everywhere for endpoint in pool.endpoints})

    def open(self, ref: Ref, wanted: Iterable[Wanted]) -> dict[Place, str]:
        """These are the doors of a service, whose pools are filled; returns why some of them are not open.

        A door that is there already stays as it is, with its connections.
        """
        line = self._lines.setdefault(ref, Line())
        by_place = {want.place: want for want in wanted}
        for place in line.doors.keys() - by_place.keys():
            line.doors.pop(place).close()
        return {place: why for place, want in by_place.items() if (why := self._opened(line, want))}

    def has(self, ref: Ref, place: Place) -> bool:
        """The service has an open door there."""
        line = self._lines.get(ref)
        return line is not None and place in line.doors

    def forget(self, ref: Ref) -> None:
        """The service is gone: its doors close, its connections end by themselves."""
        self.fill(ref, {})
        self.open(ref, ())
        self._lines.pop(ref, None)

    async def drain(self, instance: str, seconds: float) -> None:
        """Send an instance no new connections, and wait until it has none, for so many seconds at most.

        Returns at once for an instance without connections.
        """
        load = self._loads.find(instance)
        if load is None:
            return
        load.is_leaving = True
        try:
            async with asyncio.timeout(seconds):
                await load.ended()
        except TimeoutError:
            return

    def load(self, instance: str) -> tuple[int, int]:
        """How many connections an instance has, and how many it has had."""
        found = self._loads.find(instance)
        return (found.active, found.passed) if found else (0, 0)

    def welcome(self, instances: Iterable[str]) -> None:
        """They are ready: one that was leaving has come back."""
        for instance in instances:
            load = self._loads.find(instance)
            if load:
                load.is_leaving = False

    def _opened(self, line: Line, want: Wanted) -> str:
        """Why the door is not open; empty when it is."""
        taken = next((place for place in self._own if want.place.meets(place)), None)
        if taken:
            return f"this server itself listens on {taken}"
        pool = line.pools[want.port]
        door = line.doors.get(want.place)
        if door is None:
            if self._group is None:
                raise RuntimeError("doors open while `run` runs")
            door = Door(want.place, pool, self.counts, spawn=self._group.create_task, bounds=self._bounds)
        door.pool, door.allowed, door.tls = pool, want.allowed, want.tls
        if not door.is_open:
            try:
                door.open()
            except Unavailable as error:
                return error.message
            line.doors[want.place] = door
        return ""


def most_connections() -> int:
    """How many connections the doors take together: each needs two descriptors of this process."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(max((soft - SPARED) // 2, LEAST), MOST)
