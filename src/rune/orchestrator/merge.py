"""Merges what several instances write, in the order of time, without holding more than a little of each."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import accumulate
from operator import itemgetter
from typing import Final

from rune.api.orchestrator.instances import Instance
from rune.errors import NotFound
from rune.orchestrator.feeds import Feeds
from rune.orchestrator.runners.base import LogLine

PATIENCE: Final = 0.1
"""Seconds that lines of others wait for an instance that has just fallen silent: it may have older ones."""
ARRIVALS: Final = ""
LAST: Final = datetime.max.replace(tzinfo=UTC)
AHEAD: Final = 1024
"""Lines that are held of an instance while it is read on: only so it is seen that it has fallen silent."""
REMEMBERED: Final = 1024
"""Instances whose end is remembered. What ended is deleted soon after and does not change any more."""

Batch = Sequence[LogLine]
Row = tuple[datetime, Instance, LogLine]
Open = Callable[[Instance, bool], AsyncIterator[Batch]]
"""Reads an instance; true for one that arrived later, of which everything is wanted."""


@dataclass(slots=True)
class Source:
    """One instance that is read, and what it wrote that was not given out yet."""

    instance: Instance
    rows: list[Row] = field(default_factory=list[Row])
    newest: datetime | None = None
    is_missing: bool = False
    """Its runner has not seen it, so far."""
    changed: bool = False
    """The instance changed since it was opened."""

    def fill(self, batch: Batch) -> None:
        """Add a batch. Times only grow: a clock that was set back must not turn lines around."""
        times = [line.at for line in batch]
        first = max(self.newest, times[0]) if self.newest else times[0]
        grown = accumulate(times[1:], max, initial=first)
        self.rows += [(at, self.instance, line) for at, line in zip(grown, batch, strict=True)]
        self.newest = self.rows[-1][0]

    def cut(self, bound: datetime) -> list[Row]:
        """Take the rows up to a time, that time included."""
        end = bisect_right(self.rows, bound, key=itemgetter(0))
        rows, self.rows = self.rows[:end], self.rows[end:]
        return rows


class Merge:
    """Reads instances and gives their lines out in the order of time.

    Without `follow` the order is exact. With it an instance that was silent for a moment is no longer
    waited for, so a line of it that comes late stands after those that were given out.
    """

    def __init__(self, read: Open, *, follow: bool) -> None:
        self._read = read
        self._follow = follow
        self._time = asyncio.get_running_loop().time
        self._feeds: Feeds[Batch | Instance] = Feeds()
        self._sources: dict[str, Source] = {}
        self._over: dict[str, None] = {}
        self._holding: dict[str, Source] = {}
        self._silent: dict[str, float] = {}
        """Since when each source that is being read gave nothing, the latest last."""

    def add(self, instance: Instance, *, is_new: bool = False) -> None:
        """Read this instance as well."""
        key = instance.id
        source = self._sources[key] = Source(instance)
        if held := self._holding.get(key):  # of before it was removed
            source.rows, source.newest = held.rows, held.newest
            self._holding[key] = source
        self._silent[key] = self._time()
        self._feeds.open(key, _watched(source, self._read, is_new=is_new))

    def add_arrivals(self, arrivals: AsyncIterator[Instance]) -> None:
        """Read those as well that come from here: each at its first change after its runner has seen it."""
        self._feeds.open(ARRIVALS, arrivals)

    async def rows(self) -> AsyncGenerator[list[Row]]:
        """Batches of rows, until every feed has ended."""
        try:
            while self._feeds or self._holding:
                await self._step()
                while rows := self._ripe():
                    yield rows
        finally:
            await self._feeds.close()

    async def _step(self) -> None:
        """Take the next thing that arrives, or let the patience with the silent ones end."""
        if not self._feeds:
            return
        arrived = await self._feeds.take(self._patience_left())
        if arrived is None:
            return
        key, item = arrived
        if isinstance(item, Instance):
            self._arrive(item)
            self._feeds.more(ARRIVALS)
        elif key != ARRIVALS:
            self._fill(key, item)

    def _arrive(self, instance: Instance) -> None:
        known = self._sources.get(instance.id)
        if known is not None:
            known.changed = True
        elif instance.id not in self._over:
            self.add(instance, is_new=True)

    def _fill(self, key: str, batch: Batch | None) -> None:
        source = self._sources[key]
        if batch:
            del self._silent[key]
            self._holding[key] = source
            source.fill(batch)
            if self._follow and len(source.rows) < AHEAD:
                self._read_on(key)
        elif batch is not None:
            self._feeds.more(key)
        else:
            del self._silent[key]
            self._ended(key, source)

    def _ended(self, key: str, source: Source) -> None:
        """One that its runner has not seen yet is opened again once it changes; one that is over is not."""
        del self._sources[key]
        if not source.is_missing:
            self._over[key] = None
            if len(self._over) > REMEMBERED:
                del self._over[next(iter(self._over))]
        elif source.changed:
            self.add(source.instance, is_new=True)

    def _patience_left(self) -> float | None:
        """Seconds until the last of those that keep lines of others back is waited for no more.

        None when none does, or when there is no end to it: without `follow` all are waited for.
        """
        if not (self._follow and self._holding):
            return None
        latest = next(
            (since for key, since in reversed(self._silent.items()) if key not in self._holding), None
        )
        return None if latest is None else max(latest + PATIENCE - self._time(), 0.0)

    def _ripe(self) -> list[Row]:
        """The rows before which none can come, as far as is known."""
        if not self._holding:
            return []
        left = self._patience_left()
        if left or (not self._follow and self._silent):
            return []
        going_on = [source.rows[-1][0] for key, source in self._holding.items() if self._may_go_on(key)]
        bound = min(going_on, default=LAST)
        parts = [source.cut(bound) for source in self._holding.values()]
        self._refill()
        if len(parts) == 1:
            return parts[0]
        return sorted((row for part in parts for row in part), key=itemgetter(0))

    def _may_go_on(self, key: str) -> bool:
        """More may come of it that is older than what is held of others."""
        if key not in self._sources:
            return False
        since = self._silent.get(key)
        return since is None or since + PATIENCE > self._time()

    def _refill(self) -> None:
        """Read on where everything was given out."""
        for key in [key for key, source in self._holding.items() if not source.rows]:
            del self._holding[key]
            if key in self._sources and key not in self._silent:
                self._read_on(key)

    def _read_on(self, key: str) -> None:
        self._silent[key] = self._time()
        self._feeds.more(key)


async def _watched(source: Source, read: Open, *, is_new: bool) -> AsyncGenerator[Batch]:
    """Its batches; none while its runner has not seen it, or when it was removed there."""
    batches = read(source.instance, is_new)
    try:
        async for batch in batches:
            yield batch
    except NotFound:
        source.is_missing = True
    finally:
        if isinstance(batches, AsyncGenerator):
            await batches.aclose()
