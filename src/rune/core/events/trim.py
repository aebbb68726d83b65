"""Retention: the oldest go first, a few hundred at a time, so that an append waits for milliseconds at most.

Segments are dropped in the order they were sealed, event by event: what the event counted is taken from
its cells, and once a segment is empty its indexes follow.
"""
# apsw's stubs name collections.abc.Buffer, which Python 3.11 lacks:
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import takewhile

import apsw

from rune.core.events.base import Retention
from rune.core.events.intake import ADDED
from rune.core.events.layout import Many, one, rows
from rune.core.events.record import micros
from rune.core.events.rollups import MINUTE, Share, cells
from rune.core.events.streams import Stream
from rune.core.events.writer import MOVE, Writer

STEP = 500
"""Events of one transaction."""

FOREVER = 1 << 62

COUNT = Many("rollups", 11, ADDED)
OLDEST = (
    "SELECT id, at, agent, type, threat, tool, blocked, risk FROM events WHERE id > ? AND id <= ?"
    " ORDER BY id LIMIT ?"
)
EMPTIED = (
    "DELETE FROM rollups WHERE organization = ? AND grain = ? AND start = ? AND agent = ? AND type = ?"
    " AND threat = ? AND tool = ? AND events = 0"
)
DROPPED = "UPDATE agents SET dropped = dropped + ?, dropped_blocked = dropped_blocked + ? WHERE agent = ?"
OLDEST_SEGMENT = "SELECT organization FROM segments ORDER BY segment LIMIT 1"

Row = tuple[int, int, int, int, int, int, int, int]


def trim(writer: Writer, now: datetime, retention: Retention) -> int:
    """One step in one transaction; returns how many events went."""
    writer.settle()
    with writer.transaction() as db:
        cutoff = micros(now - retention.max_age)
        stream = _expired(db, writer.streams.values(), cutoff)
        if stream is None:
            cutoff = FOREVER
            stream = _oldest(db, writer, retention.max_bytes)
        if stream is None:
            return 0
        if stream.dropped == stream.sealed:
            writer.seal()
        front = (stream.base + stream.dropped, stream.base + stream.sealed, STEP)
        gone: list[Row] = list(takewhile(lambda row: row[1] < cutoff, rows(db, OLDEST, front)))
        _drop(db, stream, gone)
        writer.segments.forget(db, stream)
    return len(gone)


def used(db: apsw.Connection) -> int:
    """Bytes in use; what was freed stays with the file, for the next events."""
    return (db.pragma("page_count") - db.pragma("freelist_count")) * db.pragma("page_size")


def _expired(db: apsw.Connection, streams: Iterable[Stream], cutoff: int) -> Stream | None:
    """A stream whose oldest event is older than the cutoff."""
    for stream in streams:
        oldest = one(db.execute("SELECT at FROM events WHERE id = ?", (stream.base + stream.dropped + 1,)))
        if oldest is not None and oldest < cutoff:
            return stream
    return None


def _oldest(db: apsw.Connection, writer: Writer, max_bytes: int) -> Stream | None:
    """The stream with the oldest segment, if the file holds too much."""
    if used(db) <= max_bytes:
        return None
    code = one(db.execute(OLDEST_SEGMENT))
    return next(
        (stream for stream in writer.streams.values() if code in {None, stream.code} and stream.kept), None
    )


def _drop(db: apsw.Connection, stream: Stream, gone: Sequence[Row]) -> None:
    """Undo what storing these events did."""
    shares: dict[Share, list[int]] = {}
    agents: dict[int, list[int]] = {}
    for _, at, agent, kind, threat, tool, blocked, risk in gone:
        sums = shares.setdefault((stream.code, at // MINUTE, agent, kind, threat, tool, blocked), [0, 0])
        sums[0] += 1
        sums[1] += risk
        lost = agents.setdefault(agent, [0, 0])
        lost[0] += 1
        lost[1] += blocked
    counted = cells(shares, -1)
    COUNT.run(db, [cell + tuple(sums) for cell, sums in counted.items()])
    db.executemany(EMPTIED, list(counted))
    db.executemany(DROPPED, [(*lost, agent) for agent, lost in agents.items()])
    last = gone[-1][0]
    db.execute("DELETE FROM events WHERE id > ? AND id <= ?", (stream.base + stream.dropped, last))
    stream.dropped = last - stream.base
    db.execute(MOVE, stream.row)
