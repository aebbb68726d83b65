"""Counting everything again: what a store says must be what its events say."""
# apsw's stubs name collections.abc.Buffer, which Python 3.11 lacks:
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Sequence

from rune.core.events.digests import unpacked
from rune.core.events.layout import BLOCKED, POSITIONS, rows
from rune.core.events.rollups import HOURS, MINUTE, MINUTES
from rune.core.events.writer import Writer

MOST = 20
"""Disagreements that are told of one kind."""

OWNER = f"id >> {POSITIONS}"
CELLS = " UNION ALL ".join(
    f"SELECT {OWNER}, {grain}, at / {size}, {cell}, count(*), sum(blocked), sum(threat <> 0), sum(risk)"
    f" FROM events GROUP BY {OWNER}, at / {size}, {words}"
    for grain, size, cell, words in (
        (MINUTES, MINUTE, "0, 0, 0, 0", "1"),
        (HOURS, 60 * MINUTE, "0, 0, 0, 0", "1"),
        (MINUTES, MINUTE, "agent, 0, 0, 0", "agent"),
        (MINUTES, MINUTE, "0, type, threat, 0", "type, threat"),
        (HOURS, 60 * MINUTE, "agent, type, threat, tool", "agent, type, threat, tool"),
        (HOURS, 60 * MINUTE, "0, type, threat, tool", "type, threat, tool"),
    )
)
SEALED = f"events JOIN streams s ON s.organization = {OWNER} AND id & {(1 << POSITIONS) - 1} <= s.sealed"
BLOCKED_WORD = f"JOIN terms t ON t.organization = s.organization AND t.kind = {BLOCKED}"
LISTED = (
    "SELECT p.term, g.first + j.value FROM postings p JOIN segments g USING (organization, segment)"
    " JOIN streams s USING (organization) JOIN json_each('[' || p.ids || ']') j"
    f" WHERE (g.first + j.value) & {(1 << POSITIONS) - 1} > s.dropped"
)
POSTINGS = " UNION ALL ".join(
    (
        f"SELECT agent, id FROM {SEALED}",
        f"SELECT type, id FROM {SEALED}",
        f"SELECT threat, id FROM {SEALED} WHERE threat <> 0",
        f"SELECT term, id FROM {SEALED} {BLOCKED_WORD} WHERE blocked <> 0",
    )
)
STREAMS = (
    f"SELECT organization, newest - dropped, (organization << {POSITIONS}) + dropped + 1,"
    f" (organization << {POSITIONS}) + newest FROM streams WHERE newest > dropped"
)
AGENTS = "SELECT agent, events - dropped, blocked - dropped_blocked FROM agents WHERE events > dropped"
EXCEPT = f"SELECT * FROM ({{}}) EXCEPT SELECT * FROM ({{}}) LIMIT {MOST}"
KEPT = "SELECT id FROM events WHERE id >= ? AND id <= ?"
COMPARED = {
    "rollups": (CELLS, "SELECT * FROM rollups"),
    "postings": (POSTINGS, LISTED),
    "agents": ("SELECT agent, count(*), sum(blocked) FROM events GROUP BY agent", AGENTS),
    "streams": (f"SELECT {OWNER}, count(*), min(id), max(id) FROM events GROUP BY 1", STREAMS),
    "keys": (f"SELECT {OWNER}, key FROM events GROUP BY 1, 2 HAVING count(*) > 1", "SELECT 0, 0 WHERE 0"),
}
"""What follows from the events, and what is stored of it."""


def disagreements(writer: Writer) -> Sequence[str]:
    """A sentence for each row that is not as the events say; runs in the writer's thread."""
    writer.settle()
    told = [
        f"{name}: {row} {said}"
        for name, (counted, stored) in COMPARED.items()
        for said, sql in (
            ("follows from the events and is not stored", EXCEPT.format(counted, stored)),
            ("is stored and does not follow from the events", EXCEPT.format(stored, counted)),
        )
        for row in rows(writer.db, sql)
    ]
    return [*told, *_unmarked(writer)]


def _unmarked(writer: Writer) -> Sequence[str]:
    """A sentence for each event of a segment that has no digest there."""
    told: list[str] = []
    for segment, first, last in rows(writer.db, "SELECT segment, first, last FROM segments"):
        stored = {number for (number,) in rows(writer.db, KEPT, (first, last))}
        for (ids,) in rows(writer.db, "SELECT ids FROM digests WHERE segment = ?", (segment,)):
            stored.difference_update(unpacked(ids))
        told += [f"digests: event {number} has none" for number in sorted(stored)]
        if len(told) >= MOST:
            break
    return told[:MOST]
