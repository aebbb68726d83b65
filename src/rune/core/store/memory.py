"""A store that forgets everything when the process ends: for tests, and for trying Rune out."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from typing import Self

from rune.core.store.base import Entry, Resource, Span, Write
from rune.core.store.history import closed
from rune.core.store.judge import judge
from rune.core.store.reads import Reads, refuse_bad_journal
from rune.errors import RuneError


class MemoryStore(Reads):
    """Durable from the start, since nothing here outlives the process."""

    def __init__(self, kinds: Sequence[type[Resource]], *, history: int = 10_000) -> None:
        super().__init__(kinds, history)
        self._journals: defaultdict[str, list[Entry]] = defaultdict(list)

    async def commit(self, *writes: Write, operation: str = "") -> int:
        """Do all of the writes or none."""
        if not self._open:
            raise closed()
        if not writes:
            return self.revision
        steps = self._kinds.steps(writes)
        word = self._word(operation)
        try:
            change = judge(steps, self._image.at, revision=self.revision + 1, operation=operation)
        except RuneError:
            if word:
                word.unsaid()
            raise
        if word:
            self._write_down(word.text)
        self._move([change])
        await asyncio.sleep(0)  # as with a disk, others run before the caller goes on
        return change.revision

    async def append(self, journal: str, payload: bytes) -> int:
        """Add a record to a journal."""
        if not self._open:
            raise closed()
        refuse_bad_journal(journal)
        sequence = self._add(journal, payload)
        await asyncio.sleep(0)
        return sequence

    async def tell(self, text: bytes) -> int:
        """Let the scribe write something down."""
        if not self._open:
            raise closed()
        sequence = self._write_down(text)
        await asyncio.sleep(0)
        return sequence

    def _write_down(self, text: bytes) -> int:
        scribe = self._employed
        sequence = self._add(scribe.journal, scribe.entry([text]))
        scribe.written(sequence)
        return sequence

    def _add(self, journal: str, payload: bytes) -> int:
        records = self._journals[journal]
        sequence = records[-1].sequence + 1 if records else 1
        records.append(Entry(sequence, payload))
        return sequence

    async def read(self, journal: str, after: int = 0, limit: int = 1000) -> Sequence[Entry]:
        """Records of a journal, oldest first."""
        if not self._open:
            raise closed()
        records = self._journals.get(journal, [])
        first = bisect_right(records, after, key=lambda entry: entry.sequence)
        return records[first : first + max(limit, 0)]

    async def span(self, journal: str) -> Span:
        """Where a journal begins and ends."""
        if not self._open:
            raise closed()
        records = self._journals.get(journal)
        return Span(records[0].sequence, records[-1].sequence) if records else Span(0, 0)

    async def prune(self, journal: str, through: int) -> None:
        """Drop the oldest records of a journal."""
        if not self._open:
            raise closed()
        records = self._journals.get(journal, [])
        gone = bisect_right(records, through, key=lambda entry: entry.sequence)
        del records[: min(gone, len(records) - 1)]

    async def probe(self) -> None:
        """Raise Unavailable when it is closed."""
        if not self._open:
            raise closed()

    async def close(self) -> None:
        """Refuse everything from now on."""
        self._open = False
        self._history.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()
