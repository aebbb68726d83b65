"""The thread that writes: judges what is new, stores it, counts it, and now and then seals a segment.

Everything it remembers can be read from the file again, and is when a transaction fails; so there is
nothing to undo in memory. A batch that is refused costs its neighbours of the same transaction nothing.
"""
# apsw's stubs name collections.abc.Buffer, which Python 3.11 lacks:
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import apsw

from rune.core.events import intake, layout, streams
from rune.core.events.base import Stored
from rune.core.events.digests import BITS, GENERATION, SEGMENT, Filters
from rune.core.events.event import Event
from rune.core.events.intake import Draft
from rune.core.events.layout import AGENT, BLOCKED, Many, one
from rune.core.events.record import Packed, digest
from rune.core.events.streams import Stream
from rune.errors import ResourceExhausted

MOVE = "UPDATE streams SET dropped = ?, sealed = ?, newest = ?, counted = ? WHERE organization = ?"
UNCOUNTED = 4_096
"""Events that may wait to be counted: what a reading of numbers, or a start, has to catch up with."""
POST = (
    "INSERT INTO postings SELECT * FROM ("
    " SELECT agent, id FROM events WHERE id > ?1 AND id <= ?2"
    " UNION ALL SELECT type, id FROM events WHERE id > ?1 AND id <= ?2"
    " UNION ALL SELECT threat, id FROM events WHERE id > ?1 AND id <= ?2 AND threat <> 0"
    " UNION ALL SELECT ?3, id FROM events WHERE id > ?1 AND id <= ?2 AND blocked <> 0"
    ") ORDER BY 1, 2"
)
SEAL = (
    "INSERT INTO segments SELECT ?1, ?2, min(id), max(id), min(at), max(at)"
    " FROM events WHERE id > ?3 AND id <= ?4"
)
DIGEST = Many("digests", 3)
LOOK = "SELECT id FROM digests WHERE segment = ? AND digest = ?"

EMPTY: Mapping[int, bytes | str] = MappingProxyType({})


class Batch(NamedTuple):
    """What one caller wants stored."""

    organization: str
    rows: Sequence[Packed]


class Kept(NamedTuple):
    """What of a batch was new: its events stand from position `first` on; None is all of them."""

    first: int
    duplicates: int
    places: Sequence[int] | None = None

    def of(self, events: Sequence[Event]) -> list[Stored]:
        """The new ones among the batch's events, where they stand."""
        new = events if self.places is None else [events[place] for place in self.places]
        return [Stored(position, event) for position, event in enumerate(new, self.first)]


class Written(NamedTuple):
    """What came of some batches, or their refusals, and how far their organizations are now."""

    outcomes: list[Kept | ResourceExhausted]
    newest: dict[str, int]


class Writer:
    """The one connection that writes, and what it remembers. It blocks, and runs in one thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.salt = b""
        self.streams: dict[str, Stream] = {}
        self._lock = layout.Lock(path)
        self._connection: apsw.Connection | None = None
        self._stale = True
        self._tail: dict[int, int] = {}
        self._filters = Filters(BITS)
        self._segment = 0

    @property
    def db(self) -> apsw.Connection:
        """The connection; raises Unavailable once it is closed."""
        if self._connection is None:
            raise layout.closed()
        return self._connection

    def open(self) -> dict[str, int]:
        """Lock the file, make it if it is new; returns the newest position of every organization."""
        with layout.explained(self.path):
            self._lock.take()
            self._connection = layout.writer(self.path)
            self._refresh()
        return {name: stream.newest for name, stream in self.streams.items()}

    def close(self) -> None:
        """Fold the log into the file and let go of it. A second call does nothing."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._lock.release()

    @contextmanager
    def transaction(self) -> Generator[apsw.Connection]:
        """All or nothing, on the disk and in what is remembered."""
        self._refresh()
        try:
            with layout.transaction(self.db) as db:
                yield db
        except BaseException:
            self._stale = True
            raise

    def write(self, batches: Sequence[Batch]) -> Written:
        """Make batches durable together."""
        with self.transaction() as db:
            draft = Draft()
            outcomes = [self._judge(draft, batch) for batch in batches]
            draft.store(db)
            if len(self._tail) >= SEGMENT:
                self.seal()
            if self.uncounted >= UNCOUNTED:
                self.count()
            db.executemany(MOVE, [stream.row for stream in draft.touched.values()])
        return Written(
            outcomes, {batch.organization: self.streams[batch.organization].newest for batch in batches}
        )

    def find(self, organization: str, key: bytes | str) -> int:
        """The id of the event with this key, 0 when there is none."""
        self._refresh()
        stream = self.streams.get(organization)
        return 0 if stream is None else self._stored(stream, key, digest(key, stream.salt))

    @property
    def uncounted(self) -> int:
        """How many events are in no cell yet."""
        return sum(stream.newest - stream.counted for stream in self.streams.values())

    def settle(self) -> None:
        """Count what is not counted yet, in a transaction of its own."""
        self._refresh()
        if self.uncounted:
            with self.transaction():
                self.count()

    def count(self) -> None:
        """Count what is not counted yet. Belongs into a transaction."""
        for stream in self.streams.values():
            if stream.counted < stream.newest:
                intake.count(self.db, stream)
                self.db.execute(MOVE, stream.row)

    def seal(self) -> None:
        """Index what came since the last time, as a segment. Belongs into a transaction."""
        for stream in self.streams.values():
            first, last = stream.base + stream.sealed, stream.base + stream.newest
            if first < last:
                self.db.execute(POST, (first, last, stream.words[BLOCKED]["blocked"]))
                self.db.execute(SEAL, (self._segment, stream.code, first, last))
                stream.sealed = stream.newest
                self.db.execute(MOVE, stream.row)
        marks = sorted((self._segment, mark, number) for mark, number in self._tail.items())
        DIGEST.run(self.db, marks)
        generation = self._segment // GENERATION
        self._filters.add(generation, self._tail)
        self._tail.clear()
        self._segment += 1
        if self._segment % GENERATION == 0:
            self.db.execute(
                "REPLACE INTO filters VALUES (?, ?)", (generation, self._filters.bits(generation))
            )

    def forget(self, segment: int) -> None:
        """Drop the filter of a generation whose last segment is gone. Belongs into a transaction."""
        generation = segment // GENERATION
        left = one(
            self.db.execute(
                "SELECT min(segment) FROM segments WHERE segment >= ?", (generation * GENERATION,)
            )
        )
        if (left is None or left // GENERATION > generation) and generation < self._segment // GENERATION:
            self.db.execute("DELETE FROM filters WHERE generation = ?", (generation,))
            self._filters.drop(generation)

    def _judge(self, draft: Draft, batch: Batch) -> Kept | ResourceExhausted:
        stream = self.streams.get(batch.organization)
        if stream is None:
            stream = self.streams[batch.organization] = streams.add(self.db, self.salt, batch.organization)
        try:
            streams.refuse_crowd(stream.words[AGENT].keys(), (row[3] for row in batch.rows))
        except ResourceExhausted as refusal:
            return refusal
        fresh = self._fresh(draft, stream, batch.rows)
        ids = draft.add(self.db, stream, fresh)
        self._tail.update(zip((row[1] for row in fresh), ids, strict=True))
        first, duplicates = ids.start - stream.base, len(batch.rows) - len(fresh)
        if not duplicates:
            return Kept(first, 0)
        new = {id(row) for row in fresh}
        return Kept(first, duplicates, [place for place, row in enumerate(batch.rows) if id(row) in new])

    def _fresh(self, draft: Draft, stream: Stream, rows: Sequence[Packed]) -> Sequence[Packed]:
        """Those that are not stored yet; mostly one look for the whole batch says that it is all of them."""
        marks = [row[1] for row in rows]
        if (
            len(set(marks)) == len(marks)
            and self._tail.keys().isdisjoint(marks)
            and not self._filters.suspects(marks)
        ):
            return rows
        drafted = draft.keys
        fresh: dict[bytes | str, Packed] = {}
        for row in rows:
            key, mark = row[:2]
            if key not in fresh and not self._stored(stream, key, mark, drafted=drafted):
                fresh[key] = row
        return list(fresh.values())

    def _stored(
        self, stream: Stream, key: bytes | str, mark: int, *, drafted: Mapping[int, bytes | str] = EMPTY
    ) -> int:
        """The id of the stored event with this key, 0 if there is none; a digest says only where to look."""
        number = self._tail.get(mark, 0)
        if number and (drafted.get(number) == key or self._has(stream, number, key)):
            return number
        found = (each for each in self._candidates(mark) if self._has(stream, each, key))
        return next(found, 0)

    def _candidates(self, mark: int) -> Iterator[int]:
        """The ids that segments have under a digest."""
        for generation in self._filters.perhaps(mark):
            first = generation * GENERATION
            for segment in range(first, min(first + GENERATION, self._segment)):
                yield from (number for (number,) in layout.rows(self.db, LOOK, (segment, mark)))

    def _has(self, stream: Stream, number: int, key: bytes | str) -> bool:
        found = one(self.db.execute("SELECT key FROM events WHERE id = ?", (number,)))
        return found == key and number >> layout.POSITIONS == stream.code

    def _refresh(self) -> None:
        """Remember what the file says, if a transaction failed since."""
        db = self.db
        if not self._stale:
            return
        self.salt = one(db.execute("SELECT value FROM salt"))
        self.streams = streams.load(db, self.salt)
        self._segment = one(db.execute("SELECT coalesce(max(segment), -1) + 1 FROM segments"))
        self._load_filters()
        self._tail = {}
        for stream in self.streams.values():
            unsealed = (stream.base + stream.sealed, stream.base + stream.newest)
            newest = layout.rows(db, "SELECT key, id FROM events WHERE id > ? AND id <= ?", unsealed)
            self._tail |= {digest(key, stream.salt): number for key, number in newest}
        self._stale = False

    def _load_filters(self) -> None:
        self._filters = Filters(BITS)
        for generation, bits in self.db.execute("SELECT generation, bits FROM filters"):
            self._filters.load(generation, bits)
        newest = self._segment // GENERATION
        if self._segment % GENERATION == 0:
            return
        marks = layout.rows(self.db, "SELECT digest FROM digests WHERE segment >= ?", (newest * GENERATION,))
        self._filters.add(newest, (mark for (mark,) in marks))
