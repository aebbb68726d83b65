"""What one transaction is going to store; and what is counted of it, a little later and all at once.

The loop over events here is the hottest of the store: it takes plain tuples apart, no more. Counting is
SQLite's work, thousands of events with one statement, while the interpreter does something else.
"""
# apsw's stubs name collections.abc.Buffer, which Python 3.11 lacks:
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Sequence

import apsw

from rune.core.events.layout import AGENT, THREAT, TOOL, TYPE, Many
from rune.core.events.record import Packed
from rune.core.events.rollups import HOURS, MINUTE, MINUTES
from rune.core.events.streams import Stream

INSERT = Many("events", 10)
NAMED = Many("agents", 9, "ON CONFLICT DO UPDATE SET framework = excluded.framework")
ADDED = (
    "ON CONFLICT DO UPDATE SET events = events + excluded.events, blocked = blocked + excluded.blocked,"
    " threats = threats + excluded.threats, risk = risk + excluded.risk"
)
SUMS = "sum(events), sum(blocked), sum(threats), sum(risk)"
CELLS = " UNION ALL ".join(
    f"SELECT ?1, {grain}, {start}, {words}, {SUMS} FROM shares GROUP BY {groups}"
    for grain, start, words, groups in (
        (MINUTES, "minute", "0, 0, 0, 0", "minute"),
        (HOURS, "minute / 60", "0, 0, 0, 0", "minute / 60"),
        (MINUTES, "minute", "agent, 0, 0, 0", "minute, agent"),
        (MINUTES, "minute", "0, type, threat, 0", "minute, type, threat"),
        (HOURS, "minute / 60", "agent, type, threat, tool", "minute / 60, agent, type, threat, tool"),
        (HOURS, "minute / 60", "0, type, threat, tool", "minute / 60, type, threat, tool"),
    )
)
COUNT = (
    "WITH shares AS MATERIALIZED ("
    f" SELECT at / {MINUTE} AS minute, agent, type, threat, tool,"
    " count(*) AS events, sum(blocked) AS blocked, sum(threat <> 0) AS threats, sum(risk) AS risk"
    " FROM events WHERE id > ?2 AND id <= ?3 GROUP BY 1, 2, 3, 4, 5)"
    f" INSERT INTO rollups SELECT * FROM ({CELLS}) WHERE true {ADDED}"
)
SEEN = (
    "INSERT INTO agents SELECT agent, ?1, '', count(*), sum(blocked), 0, 0, min(at), max(at)"
    " FROM events WHERE id > ?2 AND id <= ?3 GROUP BY agent ON CONFLICT DO UPDATE SET"
    " events = events + excluded.events, blocked = blocked + excluded.blocked,"
    " first_seen = min(first_seen, excluded.first_seen), last_seen = max(last_seen, excluded.last_seen)"
)

Row = tuple[int, int, int, int, int, int, int, int, bytes | str, bytes]


class Draft:
    """What one transaction is going to store."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.named: list[tuple[int | str, ...]] = []
        self.touched: dict[int, Stream] = {}

    def add(self, db: apsw.Connection, stream: Stream, rows: Sequence[Packed]) -> range:
        """Give each event its id; returns the ids."""
        first = stream.base + stream.newest + 1
        ids = range(first, first + len(rows))
        stream.newest += len(rows)
        self.touched[stream.code] = stream
        keep, named = self.rows.append, stream.frameworks
        agents, types, threats, tools = (stream.words[kind] for kind in (AGENT, TYPE, THREAT, TOOL))
        for number, row in zip(ids, rows, strict=True):
            key, _, at, agent, kind, threat, tool, blocked, risk, body, framework = row
            a = agents.get(agent) or stream.number(db, AGENT, agent)
            k = types.get(kind) or stream.number(db, TYPE, kind)
            h = threats.get(threat) or stream.number(db, THREAT, threat) if threat else 0
            t = tools.get(tool) or stream.number(db, TOOL, tool) if tool else 0
            keep((number, at, a, k, h, t, blocked, risk, key, body))
            if framework and named.get(a) != framework:
                named[a] = framework
                self.named.append((a, stream.code, framework, 0, 0, 0, 0, at, at))
        return ids

    @property
    def keys(self) -> dict[int, bytes | str]:
        """The keys of all events by their ids."""
        return {row[0]: row[8] for row in self.rows}

    def store(self, db: apsw.Connection) -> None:
        """Write the events."""
        INSERT.run(db, self.rows)
        NAMED.run(db, self.named)


def count(db: apsw.Connection, stream: Stream) -> None:
    """Add what came since the last time to the cells and to the agents. Belongs into a transaction."""
    values = (stream.code, stream.base + stream.counted, stream.base + stream.newest)
    db.execute(COUNT, values)
    db.execute(SEEN, values)
    stream.counted = stream.newest
