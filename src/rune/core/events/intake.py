"""What one transaction is going to store: rows, and what they count.

The loop over events here is the hottest of the store: it takes plain tuples apart, no more.
"""
# apsw's stubs name collections.abc.Buffer, which Python 3.11 lacks:
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Mapping, Sequence

import apsw

from rune.core.events.layout import AGENT, THREAT, TOOL, TYPE, Many
from rune.core.events.record import Packed
from rune.core.events.rollups import MINUTE, Share, cells
from rune.core.events.streams import Stream

INSERT = Many("events", 10)
COUNT = Many(
    "rollups",
    11,
    "ON CONFLICT DO UPDATE SET events = events + excluded.events, blocked = blocked + excluded.blocked,"
    " threats = threats + excluded.threats, risk = risk + excluded.risk",
)
SEEN = Many(
    "agents",
    9,
    "ON CONFLICT DO UPDATE SET"
    " framework = iif(excluded.framework = '', framework, excluded.framework),"
    " events = events + excluded.events, blocked = blocked + excluded.blocked,"
    " first_seen = min(first_seen, excluded.first_seen), last_seen = max(last_seen, excluded.last_seen)",
)

Row = tuple[int, int, int, int, int, int, int, int, bytes | str, bytes]


class Draft:
    """What one transaction is going to store."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.keys: dict[int, bytes | str] = {}
        self.shares: dict[Share, list[int]] = {}
        self.frameworks: dict[int, str] = {}
        self.touched: dict[int, Stream] = {}

    def add(self, db: apsw.Connection, stream: Stream, rows: Sequence[Packed]) -> range:
        """Give each event its id and its share; returns the ids."""
        first = stream.base + stream.newest + 1
        ids = range(first, first + len(rows))
        stream.newest += len(rows)
        self.touched[stream.code] = stream
        self.keys.update(zip(ids, (row[0] for row in rows), strict=True))
        keep, shares = self.rows.append, self.shares
        agents, types, threats, tools = (stream.words[kind] for kind in (AGENT, TYPE, THREAT, TOOL))
        for number, row in zip(ids, rows, strict=True):
            key, _, at, agent, kind, threat, tool, blocked, risk, body, framework = row
            a = agents.get(agent) or stream.number(db, AGENT, agent)
            k = types.get(kind) or stream.number(db, TYPE, kind)
            h = threats.get(threat) or stream.number(db, THREAT, threat) if threat else 0
            t = tools.get(tool) or stream.number(db, TOOL, tool) if tool else 0
            keep((number, at, a, k, h, t, blocked, risk, key, body))
            if framework:
                self.frameworks[a] = framework
            share = (stream.code, at // MINUTE, a, k, h, t, blocked)
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
        return ids

    def store(self, db: apsw.Connection) -> None:
        """Write the events and everything that is counted with them."""
        INSERT.run(db, self.rows)
        COUNT.run(db, counted(self.shares, 1))
        SEEN.run(db, self._agents())

    def _agents(self) -> list[tuple[int | str, ...]]:
        agents: dict[int, list[int]] = {}
        for (organization, _, agent, _, _, _, blocked), (events, _, first, last) in self.shares.items():
            row = agents.setdefault(agent, [organization, 0, 0, first, last])
            row[1] += events
            row[2] += events if blocked else 0
            row[3], row[4] = min(row[3], first), max(row[4], last)
        frameworks = self.frameworks
        return [
            (agent, organization, frameworks.get(agent, ""), events, blocked, 0, 0, first, last)
            for agent, (organization, events, blocked, first, last) in agents.items()
        ]


def counted(shares: Mapping[Share, Sequence[int]], sign: int) -> list[tuple[int, ...]]:
    """Rows for COUNT."""
    return [cell + tuple(sums) for cell, sums in cells(shares, sign).items()]
