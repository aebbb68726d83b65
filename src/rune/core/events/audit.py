"""Counting everything again: what a store says must be what its events say."""
# apsw's stubs name collections.abc.Buffer, which Python 3.11 lacks:
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Sequence

from rune.core.events.layout import POSITIONS
from rune.core.events.rollups import HOURS, MINUTE, MINUTES
from rune.core.events.writer import Writer

MOST = 20
"""Disagreements that are told of one kind."""

SUMS = "count(*), sum(blocked), sum(threat <> 0), sum(risk)"
ORGANIZATION = f"id >> {POSITIONS}"
CELLS = " UNION ALL ".join(
    f"SELECT {ORGANIZATION}, {grain}, at / {size}, {columns}, {SUMS} FROM events"  # noqa: S608 - our own words, here and below
    f" GROUP BY {ORGANIZATION}, at / {size}, {columns.replace(' 0,', '').removeprefix('0, ').removesuffix(', 0')}"
    for grain, size, columns in (
        (MINUTES, MINUTE, "agent, 0, 0, 0"),
        (MINUTES, MINUTE, "0, type, threat, 0"),
        (HOURS, 60 * MINUTE, "agent, type, threat, tool"),
        (HOURS, 60 * MINUTE, "0, type, threat, tool"),
    )
)
SEALED = f"events e JOIN streams s ON s.organization = e.{ORGANIZATION} AND e.id & {(1 << POSITIONS) - 1} <= s.sealed"
POSTINGS = (
    f"SELECT agent, id FROM {SEALED} UNION ALL SELECT type, id FROM {SEALED}"  # noqa: S608
    f" UNION ALL SELECT threat, id FROM {SEALED} WHERE threat <> 0"
    f" UNION ALL SELECT term, id FROM {SEALED}"
    " JOIN terms t ON t.organization = s.organization AND t.value = 'blocked' AND t.kind = 5 WHERE blocked <> 0"
)
EXCEPT = f"SELECT * FROM ({{}}) EXCEPT SELECT * FROM ({{}}) LIMIT {MOST}"  # noqa: S608
COMPARED = {
    "rollups": (CELLS, "SELECT * FROM rollups"),
    "postings": (POSTINGS, "SELECT * FROM postings"),
    "agents": (
        "SELECT agent, count(*), sum(blocked) FROM events GROUP BY agent",
        "SELECT agent, events - dropped, blocked - dropped_blocked FROM agents WHERE events > dropped",
    ),
    "streams": (
        f"SELECT {ORGANIZATION}, count(*), min(id), max(id) FROM events GROUP BY 1",  # noqa: S608
        "SELECT organization, newest - dropped, (organization << 40) + dropped + 1, (organization << 40) + newest"
        " FROM streams WHERE newest > dropped",
    ),
    "keys": (
        f"SELECT {ORGANIZATION}, key FROM events GROUP BY 1, 2 HAVING count(*) > 1",  # noqa: S608
        "SELECT NULL, NULL WHERE 0",
    ),
    "digests": (
        f"SELECT id FROM {SEALED}",  # noqa: S608
        "SELECT id FROM digests JOIN events USING (id)",
    ),
}


def disagreements(writer: Writer) -> Sequence[str]:
    """A sentence for each row that is not as the events say; runs in the writer's thread."""
    return [
        f"{name}: {row} {said}"
        for name, (counted, stored) in COMPARED.items()
        for said, sql in (
            ("follows from the events and is not stored", EXCEPT.format(counted, stored)),
            ("is stored and does not follow from the events", EXCEPT.format(stored, counted)),
        )
        for row in writer.db.execute(sql)
    ]
