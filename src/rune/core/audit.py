"""Audit: who did what, to what, from where, and how it ended; an append-only log whose entries are chained.

Each entry of the journal holds a batch of records and the SHA-256 over the entry before and its own bytes.
Whoever changes, drops or reorders entries breaks the chain from there on, and `verify` names the place. A
seal, signed with the server's own key, says every few seconds where the chain ends, so that a log that was
cut off while the server was down is found out when it starts. What is too old or too much goes, the oldest
first; the seal then says where what is left begins.

Records hold names, never values: no field of a request is looked at but its names, its ids and the reason
that an operation asks for, and of a failure's text only what this server says about rights. Denials are
counted against a quota for each source and one for all; those past it are added up and written as one record
with `repeated`, so that strangers cannot fill the disk.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from rune.api.fields import Message
from rune.core.call import DEED, Call
from rune.core.chain import BROKEN, START, Link, Seal, Signer, Walk, chained, link
from rune.core.clock import Clock
from rune.core.limits import Buckets, Quota
from rune.core.records import Record, is_denial, record_of, source_of
from rune.core.settle import settle
from rune.core.store.base import Entry, Put, Store, Write
from rune.core.store.scribe import Word
from rune.core.tokens import SYSTEM, Token
from rune.errors import RuneError

logger = logging.getLogger(__name__)

JOURNAL: Final = "audit"
PAGE: Final = 500
PER_SOURCE: Final = Quota(count=6, seconds=60, burst=30)
FOR_ALL: Final = Quota(count=60, seconds=60, burst=600)
"""Denials that are written one by one: 60 a minute make about 40 MB a day, whoever attacks."""
MOST_SOURCES: Final = 1_000
"""Sources whose denials are added up apart; those of further ones are added up together."""
SEAL_SECONDS: Final = 5.0
"""What was appended since the last seal is what somebody could cut off unseen while the server is down."""
PRUNE_ROUNDS: Final = 120
"""Seals between two looks for what is too old or too much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """What is kept."""

    age: timedelta = timedelta(days=365)
    size: int = 1 << 30
    """Bytes of entries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What `verify` found. `bad` is the sequence of the first entry that does not fit, 0 when all do."""

    entries: int
    head: str
    seal: Seal
    bad: int = 0
    problem: str = ""


@dataclass(slots=True)
class _Kept:
    """Denials of one source that were not written yet: the first of them, and how many."""

    record: Record
    count: int


_records = msgspec.json.Decoder(list[Record])


class Audit:
    """The audit log of a store. One process writes it."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        signer: Signer | None = None,
        retention: Retention | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._signer = signer or Signer()
        self._retention = retention or Retention()
        self._by_source = Buckets(PER_SOURCE, clock, most=MOST_SOURCES)
        self._by_all = Buckets(FOR_ALL, clock)
        self._collapsed: dict[str, _Kept] = {}
        self._next = "", 0
        """Hash and size of the entry that is being written."""
        self._last = 0
        self._head = ""
        self._size = 0

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

    async def note(self, record: Record) -> None:
        """Keep what this server did by itself."""
        await self._append(record)

    async def flush(self) -> None:
        """Write what was added up; before the log is read, and when the server stops."""
        kept, self._collapsed = self._collapsed, {}
        for each in kept.values():
            await self._append(self._summary(each))

    async def newest(self) -> AsyncIterator[tuple[str, Record]]:
        """Every record with its id, the newest first."""
        await self._find_end()
        end, first = self._last, self.seal.anchor
        while end > first:
            start = max(end - PAGE, first)
            page = await self._store.read(JOURNAL, start, end - start)
            for entry in reversed(page):
                for number, record in reversed(list(enumerate(_decoded(entry)))):
                    yield f"{entry.sequence}.{number}", record
            end = start

    async def entries(self, seal: Seal) -> AsyncIterator[Entry]:
        """The entries between a seal's anchor and its end, as they are."""
        after = seal.anchor
        while after < seal.sequence:
            page = await self._store.read(JOURNAL, after, min(PAGE, seal.sequence - after))
            if not page:
                return
            for entry in page:
                yield entry
            after = page[-1].sequence

    async def verify(self) -> Verdict:
        """Walk the chain from its anchor, against the seal and what this process has written itself."""
        verdict = await self._walked()
        while verdict.problem and self.seal.anchor > verdict.seal.anchor:  # pruned meanwhile
            verdict = await self._walked()
        return verdict

    async def _walked(self) -> Verdict:
        known, known_hash, seal = self._last, self._head, self.seal
        walk = Walk(seal)
        if self._is_forged(seal):
            return _verdict(walk, seal, "the seal's signature is not that of this server: it was changed")
        while not walk.problem and (page := await self._store.read(JOURNAL, walk.sequence, PAGE)):
            for entry in page:
                if not walk.take(entry):
                    break
                if walk.sequence == known and walk.hash != known_hash:
                    walk.bad, walk.problem = known, f"the log was rewritten up to entry {known}"
                    break
        walk.end()
        if not walk.problem and walk.sequence < known:
            walk.bad = walk.sequence + 1
            walk.problem = f"entries {walk.bad} to {known} were cut off at the end"
        return _verdict(walk, seal)

    async def has(self, sequence: int, hash: str) -> bool:
        """There is such an entry with this hash, or it was dropped for its age or size."""
        if sequence < self.seal.anchor:
            return True
        if sequence == self.seal.anchor:
            return hash == self.seal.anchor_hash
        page = await self._store.read(JOURNAL, sequence - 1, 1)
        return bool(page) and page[0].sequence == sequence and _hash(page[0]) == hash

    @property
    def seal(self) -> Seal:
        """What was last written down of where the chain begins and ends."""
        return self._store.find(Seal, SYSTEM, Seal.KIND) or Seal()

    async def sealed(self) -> Seal:
        """Write down where the chain ends, if that is news; returns the newest seal."""
        await self._find_end()
        if self._last != self.seal.sequence:
            await self._write_seal(anchor=self.seal.anchor, anchor_hash=self.seal.anchor_hash)
        return self.seal

    async def begin(self) -> None:
        """Compare the log with its seal; what is missing or wrong is said in the log itself, for good."""
        seal, problem = self.seal, await self._break()
        await self._join()
        if not seal.public_key:  # from now on there always is one
            await self._write_seal(anchor=0, anchor_hash=START)
        if problem:
            if self._last < seal.anchor:  # nothing is left of what the anchor spoke of: begin where it ends
                self._size = 0
                await self._write_seal(anchor=self._last, anchor_hash=self._head)
            facts = {"problem": problem, "seal": seal.hash}
            logger.critical("the audit log is not what it was", extra=facts)
            await self._append(self._own(BROKEN, outcome="DATA_LOSS", message=problem))

    async def _break(self) -> str:
        """What is wrong between the log and its seal; empty when nothing is, or this is the first start."""
        seal, last = self.seal, (await self._store.span(JOURNAL)).last
        if not seal.public_key:
            is_new = last == 0 and not self._store.list(Token, SYSTEM)
            return "" if is_new else "the seal is gone: nobody knows which entries there were"
        if self._is_forged(seal):
            return "the seal was changed, or signed with another key than this server's"
        if last < seal.sequence:
            return f"entries {last + 1} to {seal.sequence} were cut off while the server was down"
        page = await self._store.read(JOURNAL, seal.sequence - 1, 1) if seal.sequence else ()
        if page and _hash(page[0]) != seal.hash:
            return f"entry {seal.sequence} was changed while the server was down"
        return ""

    async def keep(self) -> None:
        """Seal the log every few seconds, and drop what is too old or too much; until it is cancelled."""
        rounds = 0
        while True:
            try:
                if rounds % PRUNE_ROUNDS == 0:
                    await self.prune()
                await self.sealed()
            except RuneError as error:
                logger.warning("the audit log was not sealed", extra={"reason": error.message})
            rounds += 1
            await asyncio.sleep(SEAL_SECONDS)

    async def prune(self) -> int:
        """Drop what is too old or too much, and say so in the log; returns how many entries went."""
        await self._find_end()
        before, dropped = self.seal, 0
        while part := await self._prunable():
            dropped += len(part)
            self._size -= sum(len(entry.payload) for entry in part)
            newest = part[-1]
            # The seal first: entries before its anchor are no part of the chain, gone or not.
            await self._write_seal(anchor=newest.sequence, anchor_hash=_hash(newest))
            await self._store.prune(JOURNAL, newest.sequence)
        if dropped:
            names = {"from": str(before.anchor + 1), "to": str(self.seal.anchor)}
            await self._append(self._own("prune_audit", names=names))
        return dropped

    async def _prunable(self) -> list[Entry]:
        """The oldest entries that need not be kept, some of them; never the newest of all."""
        oldest = self._clock.now() - self._retention.age
        found: list[Entry] = []
        excess = self._size - self._retention.size
        for entry in await self._store.read(JOURNAL, self.seal.anchor, PAGE):
            if entry.sequence >= self._last or (excess <= 0 and _decoded(entry)[-1].time >= oldest):
                break
            found.append(entry)
            excess -= len(entry.payload)
        return found

    async def _write_seal(self, *, anchor: int, anchor_hash: str) -> None:
        await self._find_end()
        wanted = Seal(
            sequence=self._last, hash=self._head, anchor=anchor, anchor_hash=anchor_hash, size=self._size
        )

        def decide() -> list[Write]:
            signed = self._signer.signed(wanted, self._clock.now())
            return [Put(msgspec.structs.replace(signed, revision=self.seal.revision))]

        await settle(self._store, decide, operation="seal_audit")

    def _is_forged(self, seal: Seal) -> bool:
        """It was made, and not with this server's key."""
        return bool(seal.public_key) and not (seal.is_genuine and seal.public_key == self._signer.public_key)

    def _own(
        self, operation: str, *, outcome: str = "ok", message: str = "", names: dict[str, str] | None = None
    ) -> Record:
        """A record of what the server does by itself."""
        return Record(
            time=self._clock.now(),
            operation=operation,
            resource="audit",
            verb="delete",
            outcome=outcome,
            actor="runed",
            message=message,
            names=names or {},
            edge="local",
        )

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
        await self._join()
        # Shielded: what was done is written down, even when whoever asked for it goes away.
        await asyncio.shield(self._store.tell(msgspec.json.encode(record)))

    async def _join(self) -> None:
        """Become the store's scribe, which takes knowing where the chain ends."""
        await self._find_end()
        self._store.employ(self)

    @property
    def journal(self) -> str:
        """The journal that this log is."""
        return JOURNAL

    def word(self, operation: str) -> Word | None:
        """What is kept of the call whose handler commits here, if this is its change, under its own name."""
        deed = DEED.get()
        if deed is None or deed.is_told:
            return None
        row = deed.call.operation
        if operation not in (row.permission, row.name):
            return None
        text = msgspec.json.encode(record_of(deed.call, deed.ask, None, now=self._clock.now()))
        deed.is_told = True
        return Word(text, deed.take_back)

    def entry(self, texts: Sequence[bytes]) -> bytes:
        """The records as the next link of the chain."""
        body = b"[" + b",".join(texts) + b"]"
        head = chained(self._head, body)
        payload = msgspec.json.encode(Link(head, msgspec.Raw(body)))
        self._next = head, len(payload)
        return payload

    def written(self, sequence: int) -> None:
        """The chain is longer by that link."""
        self._last, (self._head, size) = sequence, self._next
        self._size += size

    async def _find_end(self) -> None:
        """Learn the newest entry's sequence and hash, and the size of all, once."""
        if self._head:
            return
        seal, last, head = self.seal, 0, ""
        size = seal.size
        after = max(seal.sequence, seal.anchor)
        while page := await self._store.read(JOURNAL, after, PAGE):
            size += sum(len(entry.payload) for entry in page)
            after = page[-1].sequence
        last = (await self._store.span(JOURNAL)).last
        if last:
            head = _hash((await self._store.read(JOURNAL, last - 1, 1))[0])
        if not self._head:  # nobody was quicker
            self._last, self._head, self._size = last, head or START, size


def _verdict(walk: Walk, seal: Seal, problem: str = "") -> Verdict:
    return Verdict(
        entries=walk.entries, head=walk.hash, seal=seal, bad=walk.bad, problem=problem or walk.problem
    )


def _hash(entry: Entry) -> str:
    """The entry's own; of one that cannot be read, nothing: what follows it does not fit then."""
    try:
        return link(entry).hash
    except msgspec.MsgspecError:
        return "unreadable"


def _decoded(entry: Entry) -> list[Record]:
    """The entry's records; of one that somebody spoiled, a record that says so, from the end of time."""
    try:
        return _records.decode(link(entry).records)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return [
            Record(
                time=datetime.max.replace(tzinfo=UTC),
                operation=BROKEN,
                resource="audit",
                verb="list",
                outcome="DATA_LOSS",
                message=f"entry {entry.sequence} cannot be read: somebody changed it",
            )
        ]
