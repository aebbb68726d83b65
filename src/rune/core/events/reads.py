"""Reading from the file: pages and tails of events, and every number from the cells. Never writes.

A query looks at candidates, from the newest back: segment by segment those of the word that is rarest
there, as its postings list them, or else all. It looks at no more than BUDGET, so that none takes long.
"""
# apsw's stubs name collections.abc.Buffer, which Python 3.11 lacks:
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import apsw

from rune.core.events import layout
from rune.core.events.base import Filter, Page, Stored
from rune.core.events.event import EventType
from rune.core.events.layout import AGENT, BLOCKED, ORGANIZATION, POSITIONS, THREAT, TYPE, one
from rune.core.events.record import micros, unpacked

BUDGET = 20_000
"""Candidates that one query looks at."""

COLUMNS = "e.id, e.key, e.at, e.agent, e.type, e.body"
CODE = "SELECT term FROM terms WHERE organization = ? AND kind = ? AND value = ?"
STREAM = "SELECT dropped, sealed, newest FROM streams WHERE organization = ?"
WORD = "SELECT value FROM terms WHERE term = ?"
SPANNED = (
    "SELECT min(first), max(last) FROM segments WHERE organization = ? AND first_at < ? AND last_at >= ?"
)
EVENT = f"SELECT {COLUMNS} FROM events e WHERE id = ?"
TAIL = f"SELECT {COLUMNS} FROM events e WHERE id > ? AND id <= ? ORDER BY id LIMIT ?"
BY_ID = f"SELECT {COLUMNS} FROM events e WHERE id > ? AND id <= ? {{}} ORDER BY id DESC LIMIT ?"
CHOSEN = (
    f"SELECT {COLUMNS} FROM events e WHERE e.id IN (SELECT value FROM json_each(?)) {{}}"
    " ORDER BY e.id DESC LIMIT ?"
)
LISTS = (
    "SELECT s.first, p.ids, min(octet_length(p.ids)) FROM segments s CROSS JOIN postings p"
    " ON p.organization = s.organization AND p.segment = s.segment"
    " WHERE s.organization = ? AND s.last > ? AND s.first <= ? AND p.term IN ({})"
    " GROUP BY s.segment HAVING count(*) = ? ORDER BY s.segment DESC"
)
"""Of each segment that has all of some words the shortest list: SQLite takes it from the minimum's row."""
PIECE = 250
"""Candidates that are looked up together."""
ENDLESS = 1 << 62
MASK = (1 << POSITIONS) - 1


class Range(NamedTuple):
    """Ids after `first` up to `last`."""

    first: int
    last: int


class Wanted(NamedTuple):
    """A filter in the numbers of the file: conditions on a row, their values, and the words with postings."""

    conditions: str
    values: tuple[int, ...]
    drivers: tuple[int, ...]


class Reader:
    """The connection that reads. Everything here blocks and runs in one thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: apsw.Connection | None = None
        self._words: dict[int, str] = {}

    def open(self) -> None:
        """The file has to be there."""
        with layout.explained(self._path):
            self._connection = layout.reader(self._path)

    def close(self) -> None:
        """A second call does nothing."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def db(self) -> apsw.Connection:
        """The connection; raises Unavailable once it is closed."""
        if self._connection is None:
            raise layout.closed()
        return self._connection

    def event(self, number: int) -> Stored | None:
        """The event of an id, None when it was dropped."""
        return next(self._stored(EVENT, (number,)), None)

    def tail(self, organization: str, after: int, limit: int) -> Sequence[Stored]:
        """Events behind a position, oldest first."""
        base = self.code(organization) << POSITIONS
        return list(self._stored(TAIL, (base + max(after, 0), base | MASK, limit)))

    def query(self, organization: str, wanted: Filter, *, limit: int, before: int | None) -> Page:
        """A page of what is wanted, newest first."""
        with layout.snapshot(self.db) as db:
            code = self.code(organization)
            dropped, sealed, newest = next(layout.rows(db, STREAM, (code,)), (0, 0, 0))
            asked = self._wanted(code, wanted)
            if asked is None:
                return Page((), None)
            base = code << POSITIONS
            top = newest if before is None else min(newest, before - 1)
            indexed = self._spanned(code, Range(base + dropped, base + min(sealed, top)), wanted)
            unsealed = Range(base + sealed, base + top)
            return self._page(asked, unsealed, indexed, limit=limit)

    def _page(self, asked: Wanted, unsealed: Range, indexed: Range, *, limit: int) -> Page:
        """Newest first: what is in no index yet, then what is."""
        found = self._matches(asked, within=unsealed, limit=limit + 1)
        floor = 0
        if len(found) <= limit:
            look = self._listed if asked.drivers else self._all
            more, floor = look(asked, indexed, limit=limit + 1 - len(found))
            found += more
        if len(found) > limit:
            return Page(found[:limit], found[limit - 1].position)
        return Page(found, (floor & MASK) or None)

    def _all(self, asked: Wanted, within: Range, *, limit: int) -> tuple[list[Stored], int]:
        """The first matches, and the last candidate that was looked at, 0 when none is left."""
        first = max(within.first, within.last - BUDGET)
        found = self._matches(asked, within=Range(first, within.last), limit=limit)
        return found, first + 1 if first > within.first else 0

    def _listed(self, asked: Wanted, within: Range, *, limit: int) -> tuple[list[Stored], int]:
        """As `_all`, of those that postings list."""
        found: list[Stored] = []
        seen = 0
        for piece in self._candidates(asked.drivers, within):
            piece = piece[: BUDGET - seen]  # noqa: PLW2901 - no more than that
            seen += len(piece)
            values = (f"[{','.join(map(str, piece))}]", *asked.values, limit - len(found))
            found += self._stored(CHOSEN.format(asked.conditions), values)
            if len(found) >= limit or seen >= BUDGET:
                return found, piece[-1]
        return found, 0

    def _candidates(self, drivers: Sequence[int], within: Range) -> Iterator[list[int]]:
        """The ids that may match, newest first and some at a time."""
        sql = LISTS.format(", ".join("?" * len(drivers)))
        code = within.last >> POSITIONS
        for first, ids, _ in layout.rows(self.db, sql, (code, *within, *drivers, len(drivers))):
            every = sorted([first + int(place) for place in ids.split(",")], reverse=True)
            inside = [number for number in every if within.first < number <= within.last]
            for start in range(0, len(inside), PIECE):
                yield inside[start : start + PIECE]

    def _matches(self, asked: Wanted, *, within: Range, limit: int) -> list[Stored]:
        return list(
            self._stored(BY_ID.format(asked.conditions), (within.first, within.last, *asked.values, limit))
        )

    def _spanned(self, code: int, within: Range, wanted: Filter) -> Range:
        """The part of a range whose segments touch the time asked for."""
        if wanted.since is None and wanted.until is None:
            return within
        since = 0 if wanted.since is None else micros(wanted.since)
        until = ENDLESS if wanted.until is None else micros(wanted.until)
        first, last = next(layout.rows(self.db, SPANNED, (code, until, since)))
        if first is None:
            return Range(0, 0)
        return Range(max(within.first, first - 1), min(within.last, last))

    def _wanted(self, code: int, wanted: Filter) -> Wanted | None:
        """None when a word is asked for that was never used."""
        conditions: list[str] = []
        values: list[int] = []
        drivers: list[int] = []
        for kind, column, word in (
            (THREAT, "threat", wanted.threat_type),
            (AGENT, "agent", wanted.agent_id),
            (BLOCKED, "blocked", "blocked" if wanted.blocked else ""),
            (TYPE, "type", wanted.event_type),
        ):
            if not word:
                continue
            term = self.term(code, kind, word)
            if not term:
                return None
            drivers.append(term)
            if kind != BLOCKED:
                conditions.append(f"AND e.{column} = ?")
                values.append(term)
        if wanted.blocked is not None:
            conditions.append("AND e.blocked = ?")
            values.append(int(wanted.blocked))
        for operator, moment in ((">=", wanted.since), ("<", wanted.until)):
            if moment is not None:
                conditions.append(f"AND e.at {operator} ?")
                values.append(micros(moment))
        return Wanted(" ".join(conditions), tuple(values), tuple(drivers))

    def code(self, organization: str) -> int:
        """The number of an organization, 0 when it has no events."""
        return self.term(0, ORGANIZATION, organization)

    def term(self, organization: int, kind: int, word: str) -> int:
        """The number of a word, 0 when it was never used."""
        return one(self.db.execute(CODE, (organization, kind, word))) or 0

    def word(self, term: int) -> str:
        """The word of a number."""
        if term not in self._words:
            self._words[term] = one(self.db.execute(WORD, (term,))) or ""
        return self._words[term]

    def _stored(self, sql: str, values: Sequence[int | str]) -> Iterator[Stored]:
        for number, key, at, agent, kind, body in layout.rows(self.db, sql, values):
            event_type = cast("EventType", self.word(kind))
            event = unpacked(key, at, agent=self.word(agent), type=event_type, body=body)
            yield Stored(number & MASK, event)
