"""Counting everything again: what a store says must be what its events say."""
# apsw's stubs name collections.abc.Buffer, which Python 3.11 lacks:
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Sequence

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
        (MINUTES, MINUTE, "agent, 0, 0, 0", "agent"),
        (MINUTES, MINUTE, "0, type, threat, 0", "type, threat"),
        (HOURS, 60 * MINUTE, "agent, type, threat, tool", "agent, type, threat, tool"),
        (HOURS, 60 * MINUTE, "0, type, threat, tool", "type, threat, tool"),
    )
)
SEALED = f"events JOIN streams s ON s.organization = {OWNER} AND id & {(1 << POSITIONS) - 1} <= s.sealed"
BLOCKED_WORD = f"JOIN terms t ON t.organization = s.organization AND t.kind = {BLOCKED}"
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
COMPARED = {
    "rollups": (CELLS, "SELECT * FROM rollups"),
    "postings": (POSTINGS, "SELECT * FROM postings"),
    "agents": ("SELECT agent, count(*), sum(blocked) FROM events GROUP BY agent", AGENTS),
    "streams": (f"SELECT {OWNER}, count(*), min(id), max(id) FROM events GROUP BY 1", STREAMS),
    "keys": (f"SELECT {OWNER}, key FROM events GROUP BY 1, 2 HAVING count(*) > 1", "SELECT 0, 0 WHERE 0"),
    "digests": (f"SELECT id FROM {SEALED}", "SELECT id FROM digests JOIN events USING (id)"),
}
"""What follows from the events, and what is stored of it."""


def disagreements(writer: Writer) -> Sequence[str]:
    """A sentence for each row that is not as the events say; runs in the writer's thread."""
    writer.settle()
    return [
        f"{name}: {row} {said}"
        for name, (counted, stored) in COMPARED.items()
        for said, sql in (
            ("follows from the events and is not stored", EXCEPT.format(counted, stored)),
            ("is stored and does not follow from the events", EXCEPT.format(stored, counted)),
        )
        for row in rows(writer.db, sql)
    ]
