"""The indexes of what was stored, a segment at a time: which events have a word, and which ids were seen.

A row of `postings` lists where in a segment the events of a word stand, and a row of `digests` holds some
hundred digests in their order; so a segment costs a few hundred rows at the end of two tables, not several
for each event all over them. What came since the last seal is in memory.
"""
# apsw's stubs name collections.abc.Buffer, which Python 3.11 lacks:
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import apsw

from rune.core.events import digests, layout
from rune.core.events.digests import BITS, GENERATION, SEGMENT, Filters
from rune.core.events.layout import BLOCKED, Many, one
from rune.core.events.record import digest
from rune.core.events.streams import Stream

POST = (
    "INSERT INTO postings SELECT ?1, ?2, term, group_concat(id - ?3 - 1) FROM ("
    " SELECT agent AS term, id FROM events WHERE id > ?3 AND id <= ?4"
    " UNION ALL SELECT type, id FROM events WHERE id > ?3 AND id <= ?4"
    " UNION ALL SELECT threat, id FROM events WHERE id > ?3 AND id <= ?4 AND threat <> 0"
    " UNION ALL SELECT ?5, id FROM events WHERE id > ?3 AND id <= ?4 AND blocked <> 0"
    ") GROUP BY term"
)
SEAL = (
    "INSERT INTO segments SELECT ?1, ?2, min(id), max(id), min(at), max(at)"
    " FROM events WHERE id > ?3 AND id <= ?4"
)
DIGEST = Many("digests", 4)
LOOK = "SELECT marks, ids FROM digests WHERE segment = ? AND last >= ? ORDER BY last LIMIT 1"
KEYS = "SELECT key, id FROM events WHERE id > ? AND id <= ?"
NEXT = "SELECT coalesce(max(segment), -1) + 1 FROM segments"
MARKS = "SELECT marks FROM digests WHERE segment >= ?"
PASSED = "SELECT segment FROM segments WHERE organization = ? AND last <= ?"
Ids = tuple[int, int]
"""Those behind the first up to the second."""
LEFT = "SELECT min(segment) FROM segments WHERE segment >= ?"


class Segments:
    """What the writer knows of the indexes. Whatever changes the file belongs into a transaction."""

    def __init__(self) -> None:
        self._tail: dict[int, int] = {}
        self._filters = Filters(BITS)
        self._next = 0

    def load(self, db: apsw.Connection, streams: Iterable[Stream]) -> None:
        """Remember what the file says."""
        self._next = one(db.execute(NEXT))
        self._filters = Filters(BITS)
        for generation, bits in db.execute("SELECT generation, bits FROM filters"):
            self._filters.load(generation, bits)
        if self._next % GENERATION:
            newest = self._next // GENERATION
            for (marks,) in layout.rows(db, MARKS, (newest * GENERATION,)):
                self._filters.add(newest, digests.unpacked(marks))
        self._tail = {}
        for stream in streams:
            self._tail |= _marked(db, stream, _unsealed(stream))

    @property
    def is_due(self) -> bool:
        """Enough has come for another segment."""
        return len(self._tail) >= SEGMENT

    def add(self, marks: Iterable[int], ids: Iterable[int]) -> None:
        """Events that are going to be stored."""
        self._tail.update(zip(marks, ids, strict=True))

    def seal(self, db: apsw.Connection, streams: Iterable[Stream]) -> list[Stream]:
        """Index what came since the last time, as a segment; returns who was a part of it."""
        sealed = [stream for stream in streams if stream.sealed < stream.newest]
        for stream in sealed:
            self._post(db, stream, _unsealed(stream))
            stream.sealed = stream.newest
        self._close(db, self._tail)
        self._tail.clear()
        return sealed

    def seal_again(self, db: apsw.Connection, stream: Stream, ids: Ids) -> None:
        """Index events once more, as segments: for a file of an older layout."""
        first, last = ids
        for start in range(first, last, SEGMENT):
            piece = (start, min(start + SEGMENT, last))
            self._post(db, stream, piece)
            self._close(db, _marked(db, stream, piece))

    def surely_new(self, marks: Sequence[int]) -> bool:
        """None of these was seen, nor is one of them here twice."""
        return (
            len(set(marks)) == len(marks)
            and self._tail.keys().isdisjoint(marks)
            and not self._filters.suspects(marks)
        )

    def candidates(self, db: apsw.Connection, mark: int) -> Iterator[int]:
        """The ids of the events that have this digest."""
        if mark in self._tail:
            yield self._tail[mark]
        for generation in self._filters.perhaps(mark):
            first = generation * GENERATION
            for segment in range(first, min(first + GENERATION, self._next)):
                for marks, ids in layout.rows(db, LOOK, (segment, mark)):
                    yield from digests.held(mark, marks, ids)

    def forget(self, db: apsw.Connection, stream: Stream) -> None:
        """Drop the segments that a stream has left behind, and the digests of those that all have left."""
        passed = (stream.code, stream.base + stream.dropped)
        for (segment,) in list(layout.rows(db, PASSED, passed)):
            for table in ("postings", "segments"):
                db.execute(
                    f"DELETE FROM {table} WHERE organization = ? AND segment = ?",  # noqa: S608 - our own tables
                    (stream.code, segment),
                )
            if one(db.execute("SELECT 1 FROM segments WHERE segment = ?", (segment,))) is None:
                db.execute("DELETE FROM digests WHERE segment = ?", (segment,))
                self._forget_filter(db, segment // GENERATION)

    def _forget_filter(self, db: apsw.Connection, generation: int) -> None:
        """Drop the filter of a generation whose last segment is gone."""
        left = one(db.execute(LEFT, (generation * GENERATION,)))
        if (left is None or left // GENERATION > generation) and generation < self._next // GENERATION:
            db.execute("DELETE FROM filters WHERE generation = ?", (generation,))
            self._filters.drop(generation)

    def _post(self, db: apsw.Connection, stream: Stream, ids: Ids) -> None:
        """List the words of events."""
        db.execute(POST, (stream.code, self._next, *ids, stream.words[BLOCKED]["blocked"]))
        db.execute(SEAL, (stream.code, self._next, *ids))

    def _close(self, db: apsw.Connection, tail: Mapping[int, int]) -> None:
        """Store the digests of a segment; the next one begins."""
        DIGEST.run(db, [(self._next, *piece) for piece in digests.slices(tail)])
        generation = self._next // GENERATION
        self._filters.add(generation, tail)
        self._next += 1
        if self._next % GENERATION == 0:
            db.execute("REPLACE INTO filters VALUES (?, ?)", (generation, self._filters.bits(generation)))


def _unsealed(stream: Stream) -> Ids:
    return stream.base + stream.sealed, stream.base + stream.newest


def _marked(db: apsw.Connection, stream: Stream, ids: Ids) -> dict[int, int]:
    """Events by their digests."""
    return {digest(key, stream.salt): number for key, number in layout.rows(db, KEYS, ids)}
