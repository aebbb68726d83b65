"""Reading from the file: pages and tails of events, and every number from the cells. Never writes.

A query looks at candidates, from the newest back: those of the rarest word asked for, as its postings
list them, or else all. It looks at no more than BUDGET of them, so that none takes long.
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
FLOOR = "SELECT id FROM events WHERE id > ? AND id <= ? ORDER BY id DESC LIMIT 1 OFFSET ?"
FLOOR_OF_WORD = FLOOR.replace("events WHERE", "postings WHERE term = ? AND")
BY_ID = f"SELECT {COLUMNS} FROM events e WHERE id > ? AND id <= ? {{}} ORDER BY id DESC LIMIT ?"
BY_WORD = (
    f"SELECT {COLUMNS} FROM postings p CROSS JOIN events e ON e.id = p.id"
    " WHERE p.term = ? AND p.id > ? AND p.id <= ? {} ORDER BY p.id DESC LIMIT ?"
)
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
        found = self._matches(asked, 0, within=unsealed, limit=limit + 1)
        floor = 0
        if len(found) <= limit:
            floor, driver = min((self._floor(word, indexed), word) for word in asked.drivers or (0,))
            rest = Range(max(indexed.first, floor - 1), indexed.last)
            found += self._matches(asked, driver, within=rest, limit=limit + 1 - len(found))
        if len(found) > limit:
            return Page(found[:limit], found[limit - 1].position)
        return Page(found, (floor & MASK) or None)

    def _floor(self, driver: int, within: Range) -> int:
        """The last candidate that the budget allows to look at, 0 when it allows all."""
        if driver:
            return one(self.db.execute(FLOOR_OF_WORD, (driver, *within, BUDGET - 1))) or 0
        return one(self.db.execute(FLOOR, (*within, BUDGET - 1))) or 0

    def _matches(self, asked: Wanted, driver: int, *, within: Range, limit: int) -> list[Stored]:
        if driver:
            sql, values = BY_WORD, (driver, *within, *asked.values, limit)
        else:
            sql, values = BY_ID, (*within, *asked.values, limit)
        return list(self._stored(sql.format(asked.conditions), values))

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

    def _stored(self, sql: str, values: Sequence[int]) -> Iterator[Stored]:
        for number, key, at, agent, kind, body in layout.rows(self.db, sql, values):
            event_type = cast("EventType", self.word(kind))
            event = unpacked(key, at, agent=self.word(agent), type=event_type, body=body)
            yield Stored(number & MASK, event)
