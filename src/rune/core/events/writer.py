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

from rune.core.events import layout, streams
from rune.core.events.digests import BITS, GENERATION, SEGMENT, Filters
from rune.core.events.layout import AGENT, BLOCKED, THREAT, TOOL, TYPE, one
from rune.core.events.record import Packed, digest
from rune.core.events.rollups import MINUTE, Share, cells
from rune.core.events.streams import Stream
from rune.errors import ResourceExhausted

INSERT = "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
COUNT = (
    "INSERT INTO rollups VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
    " events = events + excluded.events, blocked = blocked + excluded.blocked,"
    " threats = threats + excluded.threats, risk = risk + excluded.risk"
)
SEEN = (
    "INSERT INTO agents VALUES (?, ?, ?, ?, ?, 0, 0, ?, ?) ON CONFLICT DO UPDATE SET"
    " framework = iif(excluded.framework = '', framework, excluded.framework),"
    " events = events + excluded.events, blocked = blocked + excluded.blocked,"
    " first_seen = min(first_seen, excluded.first_seen), last_seen = max(last_seen, excluded.last_seen)"
)
MOVE = "UPDATE streams SET dropped = ?, sealed = ?, newest = ? WHERE organization = ?"
POST = (
    "INSERT INTO postings SELECT * FROM ("
    " SELECT agent, id FROM events WHERE id > ?1 AND id <= ?2"
    " UNION ALL SELECT type, id FROM events WHERE id > ?1 AND id <= ?2"
    " UNION ALL SELECT threat, id FROM events WHERE id > ?1 AND id <= ?2 AND threat <> 0"
    " UNION ALL SELECT ?3, id FROM events WHERE id > ?1 AND id <= ?2 AND blocked <> 0"
    ") ORDER BY 1, 2"
)
SEAL = "INSERT INTO segments SELECT ?1, ?2, min(id), max(id), min(at), max(at) FROM events WHERE id > ?3 AND id <= ?4"
DIGEST = "INSERT INTO digests VALUES (?, ?, ?)"
LOOK = "SELECT id FROM digests WHERE segment = ? AND digest = ?"

EMPTY: Mapping[int, bytes | str] = MappingProxyType({})


class Batch(NamedTuple):
    """What one caller wants stored."""

    organization: str
    rows: Sequence[Packed]


Row = tuple[int, int, int, int, int, int, int, int, bytes | str, bytes]


class Written(NamedTuple):
    """What came of some batches: their duplicates or refusals, and how far their organizations are now."""

    outcomes: list[int | ResourceExhausted]
    newest: dict[str, int]


class Draft:
    """What one transaction is going to store."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.keys: dict[int, bytes | str] = {}
        self.shares: dict[tuple[int, ...], list[int]] = {}
        self.frameworks: dict[int, str] = {}
        self.touched: dict[int, Stream] = {}

    def store(self, db: apsw.Connection) -> None:
        """Write the events and everything that is counted with them."""
        db.executemany(INSERT, self.rows)
        db.executemany(COUNT, counted(self.shares, 1))
        db.executemany(SEEN, self._agents())

    def _agents(self) -> list[tuple[int, int, str, int, int, int, int]]:
        agents: dict[int, list[int]] = {}
        for (organization, _, agent, _, _, _, blocked), (events, _, first, last) in self.shares.items():
            row = agents.setdefault(agent, [organization, 0, 0, first, last])
            row[1] += events
            row[2] += events if blocked else 0
            row[3], row[4] = min(row[3], first), max(row[4], last)
        return [(agent, row[0], self.frameworks.get(agent, ""), *row[1:]) for agent, row in agents.items()]


def counted(shares: Mapping[tuple[int, ...], Sequence[int]], sign: int) -> list[tuple[int, ...]]:
    """Rows for COUNT, in the order of their key."""
    parts = ((Share(*share), sign * sums[0], sign * sums[1]) for share, sums in shares.items())
    return [(*cell, *sums) for cell, sums in sorted(cells(parts).items())]


class Writer:
    """The one connection that writes, and what it remembers. Everything here blocks and runs in one thread."""

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
            db.executemany(MOVE, [stream.row for stream in draft.touched.values()])
        return Written(
            outcomes, {batch.organization: self.streams[batch.organization].newest for batch in batches}
        )

    def find(self, organization: str, key: bytes | str) -> int:
        """The id of the event with this key, 0 when there is none."""
        self._refresh()
        stream = self.streams.get(organization)
        return 0 if stream is None else self._stored(stream, key, digest(key, stream.salt))

    def seal(self) -> None:
        """Index what came since the last time, as a segment. Belongs into a transaction."""
        for stream in self.streams.values():
            first, last = stream.base + stream.sealed, stream.base + stream.newest
            if first < last:
                self.db.execute(POST, (first, last, stream.words[BLOCKED]["blocked"]))
                self.db.execute(SEAL, (self._segment, stream.code, first, last))
                stream.sealed = stream.newest
                self.db.execute(MOVE, stream.row)
        rows = sorted((self._segment, each, id) for each, id in self._tail.items())
        self.db.executemany(DIGEST, rows)
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

    def _judge(self, draft: Draft, batch: Batch) -> int | ResourceExhausted:
        stream = self.streams.get(batch.organization)
        if stream is None:
            stream = self.streams[batch.organization] = streams.add(self.db, self.salt, batch.organization)
        try:
            streams.refuse_crowd(stream.words[AGENT].keys(), (row[3] for row in batch.rows))
        except ResourceExhausted as refusal:
            return refusal
        draft.touched[stream.code] = stream
        return self._take(draft, stream, batch.rows)

    def _take(self, draft: Draft, stream: Stream, rows: Sequence[Packed]) -> int:
        """Give each new event its id and its share; returns how many are not new. The hottest loop of all."""
        db, tail, perhaps, add, shares = (
            self.db,
            self._tail,
            self._filters.perhaps,
            draft.rows.append,
            draft.shares,
        )
        agents, types, threats, tools = (stream.words[kind] for kind in (AGENT, TYPE, THREAT, TOOL))
        code, id, duplicates = stream.code, stream.base + stream.newest, 0
        for key, mark, at, agent, type, threat, tool, blocked, risk, body, framework in rows:
            if (mark in tail or perhaps(mark)) and self._stored(stream, key, mark, draft.keys):
                duplicates += 1
                continue
            id += 1
            a = agents.get(agent) or stream.number(db, AGENT, agent)
            y = types.get(type) or stream.number(db, TYPE, type)
            h = (threat and (threats.get(threat) or stream.number(db, THREAT, threat))) or 0
            o = (tool and (tools.get(tool) or stream.number(db, TOOL, tool))) or 0
            tail[mark] = id
            draft.keys[id] = key
            add((id, at, a, y, h, o, blocked, risk, key, body))
            if framework:
                draft.frameworks[a] = framework
            share = (code, at // MINUTE, a, y, h, o, blocked)
            sums = shares.get(share)
            if sums is None:
                shares[share] = [1, risk, at, at]
                continue
            sums[0] += 1
            sums[1] += risk
            if at < sums[2]:
                sums[2] = at
            elif at > sums[3]:
                sums[3] = at
        stream.newest = id - stream.base
        return duplicates

    def _stored(
        self, stream: Stream, key: bytes | str, mark: int, drafted: Mapping[int, bytes | str] = EMPTY
    ) -> int:
        """The id of the stored event with this key, 0 if there is none; the digest only says where to look."""
        id = self._tail.get(mark, 0)
        if id and (drafted.get(id) == key or self._has(id, key, stream)):
            return id
        for generation in self._filters.perhaps(mark):
            segment = generation * GENERATION
            for each in range(segment, min(segment + GENERATION, self._segment)):
                for (id,) in self.db.execute(LOOK, (each, mark)):
                    if self._has(id, key, stream):
                        return id
        return 0

    def _has(self, id: int, key: bytes | str, stream: Stream) -> bool:
        found = one(self.db.execute("SELECT key FROM events WHERE id = ?", (id,)))
        return found == key and id >> layout.POSITIONS == stream.code

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
            rows = db.execute("SELECT key, id FROM events WHERE id > ? AND id <= ?", unsealed)
            self._tail |= {digest(key, stream.salt): id for key, id in rows}
        self._stale = False

    def _load_filters(self) -> None:
        self._filters = Filters(BITS)
        for generation, bits in self.db.execute("SELECT generation, bits FROM filters"):
            self._filters.load(generation, bits)
        newest = self._segment // GENERATION
        if self._segment % GENERATION == 0:
            return
        rows = self.db.execute("SELECT digest FROM digests WHERE segment >= ?", (newest * GENERATION,))
        self._filters.add(newest, (mark for (mark,) in rows))
