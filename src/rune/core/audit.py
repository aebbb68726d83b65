"""Audit: who did what, to what, from where, and how it ended; an append-only log whose entries are chained.

Each entry of the journal holds a batch of records and the SHA-256 over the entry before and its own bytes.
Whoever changes, drops or reorders entries breaks the chain from there on, and `verify` names the place.
Entries cut off at the end leave no trace in what remains: compare `head` with one that was noted elsewhere.

Records hold names, never values: no field of a request but its names and ids is looked at, and of a failure's
text only what this server says about rights. Denials are counted against a quota for each source and one for
all; those past it are added up and written as one record with `repeated`, so that strangers cannot fill the
disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import msgspec

from rune.api.fields import Message
from rune.core.call import Call
from rune.core.clock import Clock
from rune.core.limits import Buckets, Quota
from rune.core.records import Record, is_denial, record_of, source_of
from rune.core.store.base import Entry, Store
from rune.errors import RuneError

JOURNAL: Final = "audit"
PAGE: Final = 500
BATCH: Final = 200
"""Records of one entry."""
PER_SOURCE: Final = Quota(count=6, seconds=60, burst=30)
FOR_ALL: Final = Quota(count=60, seconds=60, burst=600)
"""Denials that are written one by one: 60 a minute make about 40 MB a day, whoever attacks."""
MOST_SOURCES: Final = 1_000
"""Sources whose denials are added up apart; those of further ones are added up together."""
START: Final = sha256(b"rune audit log").hexdigest()
"""What the first entry is chained to."""


class Link(msgspec.Struct, frozen=True):
    """One entry of the journal as it is written. The records stay raw: the hash is over their very bytes."""

    hash: str
    records: msgspec.Raw


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What `verify` found. `bad` is the sequence of the first entry that does not fit, 0 when all do."""

    entries: int
    head: str
    bad: int = 0


@dataclass(slots=True)
class _Kept:
    """Denials of one source that were not written yet: the first of them, and how many."""

    record: Record
    count: int


_link = msgspec.json.Decoder(Link)
_records = msgspec.json.Decoder(list[Record])


class Audit:
    """The audit log of a store. One process writes it."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._by_source = Buckets(PER_SOURCE, clock, most=MOST_SOURCES)
        self._by_all = Buckets(FOR_ALL, clock)
        self._collapsed: dict[str, _Kept] = {}
        self._waiting: list[tuple[Record, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None
        self._last = 0
        self._head = ""

    async def record(self, call: Call, ask: Message | None, outcome: RuneError | None) -> None:
        """Keep it durably; `ask` is None when the request was never read."""
        record = record_of(call, ask, outcome, now=self._clock.now())
        if not is_denial(call, outcome):
            await self._append(record)
            return
        source = source_of(call)
        if self._by_source.take(source) or self._by_all.take(""):
            self._collapse(source, record)
            return
        kept = self._collapsed.pop(source, None)
        if kept is not None:
            await self._append(self._summary(kept))
        await self._append(record)

    async def flush(self) -> None:
        """Write what was added up; before the log is read, and when the server stops."""
        kept, self._collapsed = self._collapsed, {}
        for each in kept.values():
            await self._append(self._summary(each))

    async def newest(self) -> AsyncIterator[tuple[str, Record]]:
        """Every record with its id, the newest first."""
        await self._find_end()
        end = self._last
        while end > 0:
            start = max(end - PAGE, 0)
            page = await self._store.read(JOURNAL, start, end - start)
            for entry in reversed(page):
                for number, record in reversed(list(enumerate(_decoded(entry)))):
                    yield f"{entry.sequence}.{number}", record
            end = start

    async def verify(self) -> Verdict:
        """Walk the chain from its first entry."""
        known, known_head = self._last, self._head
        head, count = START, 0
        while page := await self._store.read(JOURNAL, count, PAGE):
            for entry in page:
                if entry.sequence != count + 1 or not _fits(head, entry.payload):
                    return Verdict(entries=count, head=head, bad=count + 1)
                head, count = _link.decode(entry.payload).hash, entry.sequence
                if count == known and head != known_head:  # a whole new chain, written behind our back
                    return Verdict(entries=count, head=head, bad=count)
        return Verdict(entries=count, head=head, bad=count + 1 if count < known else 0)

    def _collapse(self, source: str, record: Record) -> None:
        if source not in self._collapsed and len(self._collapsed) >= MOST_SOURCES:
            source = ""
        kept = self._collapsed.setdefault(source, _Kept(record, 0))
        kept.count += 1

    def _summary(self, kept: _Kept) -> Record:
        names = {**kept.record.names, "first": kept.record.time.isoformat()}
        return msgspec.structs.replace(kept.record, time=self._clock.now(), names=names, repeated=kept.count)

    async def _append(self, record: Record) -> None:
        """Durable when this returns. Whatever waits while an entry is written shares the next one."""
        loop = asyncio.get_running_loop()
        written: asyncio.Future[None] = loop.create_future()
        self._waiting.append((record, written))
        if self._writer is None or self._writer.done():
            # A task of its own: a caller that goes away must not leave the chain's end in doubt.
            self._writer = loop.create_task(self._drain())
        await asyncio.shield(written)

    async def _drain(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            try:
                await self._write([record for record, _ in batch])
            except (RuneError, msgspec.MsgspecError) as error:
                self._head = ""  # look again where the chain ends
                for _, written in batch:
                    written.set_exception(error)
                    written.exception()  # who waited may have gone
            else:
                for _, written in batch:
                    written.set_result(None)
            finally:
                for _, written in batch:
                    written.cancel()  # does nothing to one that has its result

    async def _write(self, records: Sequence[Record]) -> None:
        await self._find_end()
        body = msgspec.json.encode(records)
        head = _chained(self._head, body)
        payload = msgspec.json.encode(Link(head, msgspec.Raw(body)))
        self._last, self._head = await self._store.append(JOURNAL, payload), head

    async def _find_end(self) -> None:
        """Learn the newest entry's sequence and hash, once: sequences have no gaps, so halving finds it."""
        if self._head:
            return
        low, high = 0, 1  # an entry follows every sequence below `low`, none follows `high` in the end
        while await self._store.read(JOURNAL, high - 1, 1):
            low, high = high, high * 2
        while high - low > 1:
            middle = (low + high) // 2
            if await self._store.read(JOURNAL, middle - 1, 1):
                low = middle
            else:
                high = middle
        found = await self._store.read(JOURNAL, low - 1, 1) if low else ()
        self._last = low
        self._head = _link.decode(found[0].payload).hash if found else START


def _chained(head: str, body: bytes) -> str:
    return sha256(head.encode() + b"\n" + body).hexdigest()


def _fits(head: str, payload: bytes) -> bool:
    try:
        link = _link.decode(payload)
    except msgspec.MsgspecError:
        return False
    return link.hash == _chained(head, bytes(link.records))


def _decoded(entry: Entry) -> list[Record]:
    return _records.decode(_link.decode(entry.payload).records)
