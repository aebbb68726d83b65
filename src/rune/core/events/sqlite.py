"""The event store in a SQLite file: one fsync for everybody who appends at the same time.

Batches are packed on the event loop while the writer thread is busy with those before them, and one
transaction takes all that wait. A second thread reads, from snapshots, and is never waited for.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Self, TypeVar

import apsw

from rune.core.events import layout
from rune.core.events.audit import disagreements
from rune.core.events.base import (
    MAX_PAGE,
    Agent,
    Appended,
    Baseline,
    Delivery,
    Dimension,
    Filter,
    Overview,
    Page,
    Point,
    Ranked,
    Retention,
    Span,
    Step,
    Stored,
)
from rune.core.events.counts import Counts
from rune.core.events.event import Event, refuse_many
from rune.core.events.folding import Folding
from rune.core.events.follow import Positions, Recent, bounded, follow
from rune.core.events.reads import Reader
from rune.core.events.record import pack, packed_key, weight
from rune.core.events.streams import salt_of
from rune.core.events.trim import trim
from rune.core.events.writer import Batch, Kept, Writer, Written
from rune.errors import ResourceExhausted, RuneError, Unavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")

FLIGHT = 8_192
"""Events that share one transaction at most, but for the batch that goes past it."""

BACKLOG = 100_000
"""Events that may wait for a transaction; more are sent away, since the disk does not keep up."""

BACKLOG_BYTES = 256 << 20
"""And their bytes."""

RECENT = 16_384
"""Events that are kept in memory for who follows."""

RECENT_BYTES = 32 << 20
"""And their bytes: 2 KiB each."""


class Waiting(NamedTuple):
    """A batch that waits for its transaction."""

    done: asyncio.Future[int]
    batch: Batch
    events: Sequence[Event]
    size: int
    """In bytes."""


class SqliteEvents:
    """One file, one process. Open it with `async with`; a store that was closed is not opened again."""

    def __init__(self, path: Path, retention: Retention | None = None) -> None:
        self._path = path
        self._retention = retention or Retention()
        self._writer = Writer(path)
        self._folding = Folding(path)
        self._reader = Reader(path)
        self._counts = Counts(self._reader)
        self._write_thread = ThreadPoolExecutor(1, thread_name_prefix=f"writes {path.name}")
        self._read_thread = ThreadPoolExecutor(1, thread_name_prefix=f"reads {path.name}")
        self._positions = Positions()
        self._recent = Recent(RECENT, RECENT_BYTES)
        self._salts: dict[str, bytes] = {}
        self._waiting: deque[Waiting] = deque()
        self._backlog = self._backlog_bytes = 0
        self._open = self._released = False
        self._flights, self._counted = 1, 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def append(self, organization: str, events: Sequence[Event]) -> Appended:
        """Keep a batch, all or nothing; returns once it is durable."""
        self._refuse_closed()
        refuse_many(events)
        if not events:
            return Appended(0, 0)
        if self._backlog + len(events) > BACKLOG or self._backlog_bytes > BACKLOG_BYTES:
            raise ResourceExhausted(f"{self._backlog} events wait for the disk already: try again later")
        rows = pack(events, self._salt(organization))
        duplicates = await self._enqueue(Batch(organization, rows), events)
        return Appended(len(events), duplicates)

    async def find(self, organization: str, event_id: str) -> Stored | None:
        """The event of this id, or None."""
        number = await self._write(lambda: self._writer.find(organization, packed_key(event_id)))
        return await self._read(lambda: self._reader.event(number)) if number else None

    async def query(
        self, organization: str, wanted: Filter, *, limit: int = 50, before: int | None = None
    ) -> Page:
        """Events that match, newest arrival first."""
        return await self._read(
            lambda: self._reader.query(organization, wanted, limit=bounded(limit), before=before)
        )

    async def tail(self, organization: str, after: int, limit: int = MAX_PAGE) -> Sequence[Stored]:
        """Events behind a position, oldest first."""
        return await self._read(lambda: self._reader.tail(organization, after, bounded(limit)))

    def follow(self, after: Mapping[str, int], *, only: str = "") -> AsyncIterator[Sequence[Delivery]]:
        """Every event of every organization, or of one, behind the positions named, as they come."""
        self._refuse_closed()
        return follow(self._positions, self._behind, after, only=only)

    def position(self, organization: str) -> int:
        """The newest position of an organization."""
        self._refuse_closed()
        return self._positions.of(organization)

    def positions(self) -> Mapping[str, int]:
        """The newest position of every organization that has events."""
        self._refuse_closed()
        return self._positions.newest()

    async def overview(self, organization: str, span: Span) -> Overview:
        """The numbers of a time."""
        return await self._number(lambda: self._counts.overview(organization, span))

    async def timeseries(
        self, organization: str, span: Span, *, step: Step, agent_id: str = ""
    ) -> Sequence[Point]:
        """One point for every step that the time touches."""
        return await self._number(
            lambda: self._counts.timeseries(organization, span, step=step, agent_id=agent_id)
        )

    async def top(
        self, organization: str, what: Dimension, span: Span, *, limit: int = 10
    ) -> Sequence[Ranked]:
        """The most frequent first."""
        return await self._number(lambda: self._counts.top(organization, what, span, limit=limit))

    async def agents(self, organization: str, now: datetime, *, agent_id: str = "") -> Sequence[Agent]:
        """Every agent that has sent an event, or the one named."""
        return await self._number(lambda: self._counts.agents(organization, now, agent_id))

    async def baseline(self, organization: str, agent_id: str, span: Span) -> Baseline:
        """An agent's behaviour in whole hours."""
        return await self._number(lambda: self._counts.baseline(organization, agent_id, span))

    async def activity(
        self, organization: str, agent_ids: Sequence[str], span: Span
    ) -> Mapping[str, Sequence[Point]]:
        """The hours of several agents at once."""
        return await self._number(lambda: self._counts.activity(organization, agent_ids, span))

    async def trim(self, now: datetime) -> int:
        """Drop a small step of what is past the retention."""
        gone = await self._write(lambda: trim(self._writer, now, self._retention))
        if gone:
            self._recent.clear()
        return gone

    async def check(self) -> Sequence[str]:
        """Count everything again; a sentence for each counter that disagrees."""
        return await self._write(lambda: disagreements(self._writer))

    async def close(self) -> None:
        """Finish what was accepted, then refuse everything."""
        self._open = False
        await self._idle.wait()
        self._positions.close()
        if not self._released:
            self._released = True
            loop = asyncio.get_running_loop()
            await self._folding.close()
            await loop.run_in_executor(self._read_thread, self._reader.close)
            await loop.run_in_executor(self._write_thread, self._writer.close)
            self._read_thread.shutdown(wait=False)
            self._write_thread.shutdown(wait=False)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        try:
            newest = await loop.run_in_executor(self._write_thread, self._writer.open)
            await loop.run_in_executor(self._read_thread, self._reader.open)
            await self._folding.open()
        except BaseException:
            await self.close()
            raise
        self._positions.move(newest)
        self._open = True
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def _salt(self, organization: str) -> bytes:
        salt = self._salts.get(organization)
        if salt is None:
            salt = self._salts[organization] = salt_of(self._writer.salt, organization)
        return salt

    def _refuse_closed(self) -> None:
        if not self._open:
            raise layout.closed()

    async def _number(self, read: Callable[[], T]) -> T:
        """Read what was counted, everything that is acknowledged included."""
        flights = self._flights
        if self._counted < flights:
            await self._write(self._writer.settle)
            self._counted = max(self._counted, flights)
        return await self._read(read)

    async def _read(self, read: Callable[[], T]) -> T:
        return await self._in(self._read_thread, read)

    async def _write(self, write: Callable[[], T]) -> T:
        return await self._in(self._write_thread, write)

    async def _in(self, thread: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        self._refuse_closed()
        try:
            return await asyncio.get_running_loop().run_in_executor(thread, work)
        except apsw.Error as error:
            raise Unavailable(f"the event store {self._path.name} does not answer: {error}") from error

    async def _behind(self, organization: str, after: int, limit: int) -> Sequence[Stored]:
        """As `tail`, from memory where it can be: then it is all there is."""
        held = self._recent.behind(organization, after)
        return held if held is not None else await self.tail(organization, after, limit)

    def _enqueue(self, batch: Batch, events: Sequence[Event]) -> asyncio.Future[int]:
        loop = asyncio.get_running_loop()
        waiting = Waiting(loop.create_future(), batch, events, weight(batch.rows))
        self._waiting.append(waiting)
        self._backlog += len(batch.rows)
        self._backlog_bytes += waiting.size
        if self._idle.is_set():
            self._idle.clear()
            # Soon, not now: whoever else appends in this turn of the loop shares the fsync.
            loop.call_soon(self._take_off)
        return waiting.done

    def _take_off(self) -> None:
        """Hand what waits to the writer, or rest when nothing does."""
        flight: list[Waiting] = []
        size = 0
        while self._waiting and size < FLIGHT:
            waiting = self._waiting.popleft()
            self._backlog -= len(waiting.batch.rows)
            self._backlog_bytes -= waiting.size
            if not waiting.done.done():  # cancelled: it does not happen
                flight.append(waiting)
                size += len(waiting.batch.rows)
        if not flight:
            self._idle.set()
            return
        batches = [waiting.batch for waiting in flight]
        written = asyncio.get_running_loop().run_in_executor(self._write_thread, self._writer.write, batches)
        written.add_done_callback(lambda written: self._landed(flight, written))

    def _landed(self, flight: Sequence[Waiting], written: asyncio.Future[Written]) -> None:
        error = written.exception()
        if error is None:
            self._flights += 1
            outcomes: Sequence[Kept | RuneError] = written.result().outcomes
            for waiting, outcome in zip(flight, outcomes, strict=True):
                if isinstance(outcome, Kept):
                    self._recent.add(waiting.batch.organization, outcome.of(waiting.events), waiting.size)
            self._positions.move(written.result().newest)
            self._folding.start(written.result().log, finish=self._writer.fold, then=self._write_thread)
        else:
            logger.error("events not written", extra={"batches": len(flight)}, exc_info=error)
            outcomes = [_unavailable(self._path, error) for _ in flight]
        for waiting, outcome in zip(flight, outcomes, strict=True):
            if waiting.done.done():
                continue
            if isinstance(outcome, RuneError):
                waiting.done.set_exception(outcome)
            else:
                waiting.done.set_result(outcome.duplicates)
        # After those who were just woken, so that their next batches share the next transaction.
        asyncio.get_running_loop().call_soon(self._take_off)


def _unavailable(path: Path, error: BaseException) -> Unavailable:
    """An exception for one caller, as each raises its own."""
    failure = Unavailable(f"the event store cannot write {path.name}: {error}")
    failure.__cause__ = error
    return failure
