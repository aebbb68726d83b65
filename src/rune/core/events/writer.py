"""The thread that writes: judges what is new, stores it, counts it, and now and then seals a segment.

Everything it remembers can be read from the file again, and is when a transaction fails; so there is
nothing to undo in memory. A batch that is refused costs its neighbours of the same transaction nothing.
"""
# apsw's stubs name collections.abc.Buffer, which Python 3.11 lacks:
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import apsw

from rune.core.events import folding, intake, layout, streams
from rune.core.events.base import Stored
from rune.core.events.event import Event
from rune.core.events.intake import Draft
from rune.core.events.layout import AGENT, one
from rune.core.events.record import Packed, digest
from rune.core.events.segments import Segments
from rune.core.events.streams import Stream
from rune.errors import ResourceExhausted

MOVE = "UPDATE streams SET dropped = ?, sealed = ?, newest = ?, counted = ? WHERE organization = ?"
UNCOUNTED = 4_096
"""Events that may wait to be counted: what a reading of numbers, or a start, has to catch up with."""
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
    """What came of some batches, or their refusals, how far their organizations are now, and how many pages
    the log has.
    """

    outcomes: list[Kept | ResourceExhausted]
    newest: dict[str, int]
    log: int


class Writer:
    """The one connection that writes, and what it remembers. It blocks, and runs in one thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.salt = b""
        self.streams: dict[str, Stream] = {}
        self._lock = layout.Lock(path)
        self._connection: apsw.Connection | None = None
        self._stale = True
        self._log = 0
        self.segments = Segments()

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
            self._connection.set_wal_hook(self._logged)
            self._refresh()
            self._index_again()
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
            if self.segments.is_due:
                self.seal()
            elif self.uncounted >= UNCOUNTED:  # one of them at a time: others wait
                self.count()
            db.executemany(MOVE, [stream.row for stream in draft.touched.values()])
        newest = {batch.organization: self.streams[batch.organization].newest for batch in batches}
        return Written(outcomes, newest, self._log)

    def fold(self) -> None:
        """Fold what is left of the log into the file, so that the next transaction begins the log again."""
        if self._connection is not None:
            folding.fold(self._connection)

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
        for stream in self.segments.seal(self.db, self.streams.values()):
            self.db.execute(MOVE, stream.row)

    def _logged(self, _db: apsw.Connection, _name: str, pages: int) -> int:
        """SQLite tells after every commit."""
        self._log = pages
        return apsw.SQLITE_OK

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
        self.segments.add([row[1] for row in fresh], ids)
        first, duplicates = ids.start - stream.base, len(batch.rows) - len(fresh)
        if not duplicates:
            return Kept(first, 0)
        new = {id(row) for row in fresh}
        return Kept(first, duplicates, [place for place, row in enumerate(batch.rows) if id(row) in new])

    def _fresh(self, draft: Draft, stream: Stream, rows: Sequence[Packed]) -> Sequence[Packed]:
        """Those that are not stored yet; mostly one look for the whole batch says that it is all of them."""
        if self.segments.surely_new([row[1] for row in rows]):
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
        for number in self.segments.candidates(self.db, mark):
            if drafted.get(number) == key or self._has(stream, number, key):
                return number
        return 0

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
        self.segments.load(db, self.streams.values())
        self._stale = False

    def _index_again(self) -> None:
        """Make the indexes of a file that was just upgraded, in the order in which they were made before."""
        former = "SELECT organization, first, last FROM former_segments ORDER BY segment, organization"
        if one(self.db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'former_segments'")) is None:
            return
        codes = {stream.code: stream for stream in self.streams.values()}
        with self.transaction() as db:
            for organization, first, last in list(layout.rows(db, former)):
                stream = codes[organization]
                self.segments.seal_again(db, stream, (max(first - 1, stream.base + stream.dropped), last))
            db.execute("DROP TABLE former_segments")
