"""The store in a SQLite file: reads from memory, and one fsync for everybody who commits at the same time.

Commits queue on the event loop. One batch is under way at a time: it is judged on the loop against
the image and what the batch itself has done, written by the writer thread in one transaction, and
only then shown and acknowledged. So nothing is ever judged by a write that may still fail, and the
loop and the thread share nothing but the batch.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

from rune.core.store.base import Change, Entry, Key, Resource, Span, Write
from rune.core.store.copies import Copy
from rune.core.store.file import Batch, File
from rune.core.store.history import closed
from rune.core.store.judge import judge
from rune.core.store.kinds import Step
from rune.core.store.reads import Reads, refuse_bad_journal
from rune.core.store.scribe import Scribe, Word
from rune.errors import ResourceExhausted, RuneError, Unavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")

BATCH = 512
"""Callers that share one fsync at most; it bounds how long the loop is busy with a batch."""

BACKLOG = 20_000
"""Callers that may wait for a batch; more are sent away, since the disk does not keep up."""


class Commit(NamedTuple):
    """A commit that waits for its batch."""

    done: asyncio.Future[int]
    steps: Sequence[Step]
    operation: str
    word: Word | None
    """What the scribe says of it."""


class Append(NamedTuple):
    """A record that waits for its batch."""

    done: asyncio.Future[int]
    journal: str
    payload: bytes


class Tell(NamedTuple):
    """Something for the scribe that waits for its batch."""

    done: asyncio.Future[int]
    text: bytes


Item = Commit | Append | Tell


class Flight:
    """A batch under way, and who waits for which part of it."""

    def __init__(self) -> None:
        self.batch = Batch()
        self.commits: list[asyncio.Future[int]] = []
        self.appends: list[asyncio.Future[int]] = []
        self.tells: list[asyncio.Future[int]] = []
        self.texts: list[bytes] = []
        self.words: list[Word] = []
        self._scribe: Scribe | None = None

    def __len__(self) -> int:
        return len(self.commits) + len(self.appends) + len(self.tells)

    def close(self, scribe: Scribe | None) -> None:
        """Nobody else comes aboard: let the scribe write one entry for all that is to be said."""
        if self.texts and scribe:
            self.batch.records.append((scribe.journal, scribe.entry(self.texts)))
            self._scribe = scribe

    def land(self, sequences: list[int]) -> None:
        """Tell everybody the revision or sequence they got."""
        numbers = [change.revision for change in self.batch.changes]
        if self._scribe:
            *sequences, entry = sequences
            self._scribe.written(entry)
            numbers += [*sequences, *(entry for _ in self.tells)]
        else:
            numbers += sequences
        for done, number in zip(self.commits + self.appends + self.tells, numbers, strict=True):
            if not done.done():
                done.set_result(number)

    def fail(self, error: BaseException) -> None:
        """Tell everybody that nothing was written; each gets an exception of its own, as each raises it."""
        for word in self.words:
            word.unsaid()
        for done in self.commits + self.appends + self.tells:
            if not done.done():
                failure = Unavailable(f"the store cannot write: {error}")
                failure.__cause__ = error
                done.set_exception(failure)


class SqliteStore(Reads):
    """One file, one process. Open it with `async with`; a store that was closed is not opened again."""

    def __init__(self, path: Path, kinds: Sequence[type[Resource]], *, history: int = 10_000) -> None:
        super().__init__(kinds, history)
        self._open = False
        self._released = False
        self._is_sick = False
        self._file = File(path, self._kinds, history)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"store {path.name}")
        self._waiting: deque[Item] = deque()
        self._idle = asyncio.Event()
        self._idle.set()

    async def commit(self, *writes: Write, operation: str = "") -> int:
        """Do all of the writes or none; returns once they are on the disk."""
        if not self._open:
            raise closed()
        if not writes:
            return self.revision
        steps = self._kinds.steps(writes)
        self._refuse_crowd()
        done = asyncio.get_running_loop().create_future()
        return await self._enqueue(Commit(done, steps, operation, self._word(operation)))

    async def append(self, journal: str, payload: bytes) -> int:
        """Add a record to a journal; returns once it is on the disk."""
        if not self._open:
            raise closed()
        refuse_bad_journal(journal)
        self._refuse_crowd()
        return await self._enqueue(Append(asyncio.get_running_loop().create_future(), journal, payload))

    async def tell(self, text: bytes) -> int:
        """Let the scribe write something down; returns once it is on the disk."""
        if not self._open:
            raise closed()
        _ = self._employed
        self._refuse_crowd()
        return await self._enqueue(Tell(asyncio.get_running_loop().create_future(), text))

    async def read(self, journal: str, after: int = 0, limit: int = 1000) -> Sequence[Entry]:
        """Records of a journal, oldest first; waits for the batch under way."""
        if not self._open:
            raise closed()
        refuse_bad_journal(journal)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._file.read, journal, after, limit)

    async def span(self, journal: str) -> Span:
        """Where a journal begins and ends."""
        return await self._in_turn(self._file.span, journal)

    async def prune(self, journal: str, through: int) -> None:
        """Drop the oldest records of a journal; returns once that is on the disk."""
        await self._in_turn(self._file.prune, journal, through)

    async def probe(self) -> None:
        """Raise Unavailable when the file is out of reach; after a write that failed, one is tried."""
        await self._in_turn(partial(self._file.probe, write=self._is_sick))
        self._is_sick = False

    async def backup(self, to: Path) -> None:
        """Copy everything into a new file, as it is at one moment, while others go on writing."""
        copy = Copy(self._file, to)
        try:
            await self._in_turn(copy.open)
            while not await self._in_turn(copy.step):
                pass
        finally:
            await asyncio.get_running_loop().run_in_executor(self._thread, copy.close)

    async def _in_turn(self, work: Callable[..., T], *given: Any) -> T:  # noqa: ANN401 - handed on
        """What the writer's thread makes of it, after what waits there already."""
        if not self._open:
            raise closed()
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *given)

    async def close(self) -> None:
        """Finish what was accepted, end the watches, let go of the file."""
        self._open = False
        await self._idle.wait()
        self._history.close()
        if not self._released:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._file.close)
            self._thread.shutdown(wait=False)
            self._released = True

    async def __aenter__(self) -> Self:
        try:
            opening = asyncio.get_running_loop().run_in_executor(self._thread, self._file.open)
            resources, changes = await opening
        except BaseException:
            await self.close()
            raise
        self._image.apply(resources.items())
        self._history.publish(changes)
        self._open = True
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def _refuse_crowd(self) -> None:
        if len(self._waiting) >= BACKLOG:
            message = f"{BACKLOG} writes wait for the disk already: try again later"
            raise ResourceExhausted(message)

    def _enqueue(self, item: Item) -> asyncio.Future[int]:
        self._waiting.append(item)
        if self._idle.is_set():
            self._idle.clear()
            # Soon, not now: whoever else commits in this turn of the loop shares the fsync.
            asyncio.get_running_loop().call_soon(self._take_off)
        return item.done

    def _take_off(self) -> None:
        """Judge the next batch and hand it to the writer, or rest when nobody waits."""
        flight = Flight()
        while self._waiting and len(flight) < BATCH:
            item = self._waiting.popleft()
            if not item.done.done():
                self._board(flight, item)
            elif isinstance(item, Commit) and item.word:  # cancelled: it does not happen
                item.word.unsaid()
        if not flight:
            self._idle.set()
            return
        flight.close(self._scribe)
        loop = asyncio.get_running_loop()
        written = loop.run_in_executor(self._thread, self._file.write, flight.batch)
        written.add_done_callback(lambda written: self._landed(flight, written))

    def _board(self, flight: Flight, item: Item) -> None:
        match item:
            case Append():
                flight.batch.records.append((item.journal, item.payload))
                flight.appends.append(item.done)
            case Tell():
                flight.texts.append(item.text)
                flight.tells.append(item.done)
            case Commit():
                self._board_commit(flight, item)

    def _board_commit(self, flight: Flight, item: Commit) -> None:
        try:
            change = self._judge(flight.batch, item)
        except RuneError as refusal:
            if item.word:
                item.word.unsaid()
            item.done.set_exception(refusal)
            return
        flight.batch.add(change)
        flight.commits.append(item.done)
        if item.word:
            flight.texts.append(item.word.text)
            flight.words.append(item.word)

    def _judge(self, batch: Batch, commit: Commit) -> Change:
        def find(key: Key) -> Resource | None:
            return batch.after[key] if key in batch.after else self._image.at(key)

        revision = self.revision + len(batch.changes) + 1
        return judge(commit.steps, find, revision=revision, operation=commit.operation)

    def _landed(self, flight: Flight, written: asyncio.Future[list[int]]) -> None:
        error = written.exception()
        if error is None:
            self._is_sick = False
            self._move(flight.batch.changes)
            flight.land(written.result())
        else:
            self._is_sick = True
            logger.error("batch not written", extra={"writes": len(flight)}, exc_info=error)
            flight.fail(error)
        # After those who were just woken, so that their next commits are in the next batch.
        asyncio.get_running_loop().call_soon(self._take_off)
