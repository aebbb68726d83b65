"""The SQLite file under a store: opening, loading, and one transaction for a batch.

Everything here blocks and runs in one thread, the store's writer. The file holds each resource once
and, of each change, what was there *before* it: what came after is what the next change of that key
found, or else the resource itself. So a write costs two rows, and a load walks the log backwards.
"""
# apsw's stubs name collections.abc.Buffer, which Python 3.11 lacks:
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import apsw
import msgspec

from rune.core.store.base import Change, Entry, Key, Mutation, Resource, Span
from rune.core.store.foreign import refuse_foreign
from rune.core.store.history import closed
from rune.core.store.kinds import Kinds
from rune.errors import FailedPrecondition, Unavailable

SCHEMA = 1
"""The layout below. A file with a greater number is refused; raise it with a step that upgrades."""

APPLICATION = int.from_bytes(b"RUNE")
"""Marks the file as ours, so that a path mistyped does not fill someone else's database."""

PATIENCE = 2_000
"""Milliseconds to wait for a predecessor that is about to let go of the file."""

TABLES = f"""
CREATE TABLE resources (
    kind TEXT, namespace TEXT, name TEXT, value TEXT NOT NULL,
    PRIMARY KEY (kind, namespace, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE changes (revision INTEGER PRIMARY KEY, operation TEXT NOT NULL, undo TEXT NOT NULL) STRICT;
CREATE TABLE records (
    journal TEXT, sequence INTEGER, payload BLOB NOT NULL,
    PRIMARY KEY (journal, sequence)
) STRICT, WITHOUT ROWID;
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {SCHEMA};
"""

PUT = (
    "INSERT INTO resources VALUES (?, ?, ?, ?)"
    " ON CONFLICT (kind, namespace, name) DO UPDATE SET value = excluded.value"
)
DELETE = "DELETE FROM resources WHERE kind = ? AND namespace = ? AND name = ?"
CHANGE = "INSERT INTO changes VALUES (?, ?, ?)"
PRUNE = "DELETE FROM changes WHERE revision <= ?"
APPEND = (
    "INSERT INTO records SELECT ?1, coalesce(max(sequence), 0) + 1, ?2 FROM records WHERE journal = ?1"
    " RETURNING sequence"
)
READ = "SELECT sequence, payload FROM records WHERE journal = ? AND sequence > ? ORDER BY sequence LIMIT ?"
SPAN = "SELECT coalesce(min(sequence), 0), coalesce(max(sequence), 0) FROM records WHERE journal = ?"
DROP = (
    "DELETE FROM records WHERE journal = ?1 AND sequence <= ?2"
    " AND sequence < (SELECT max(sequence) FROM records WHERE journal = ?1)"
)
RESOURCES = "SELECT kind, namespace, name, value FROM resources ORDER BY kind, namespace, name"
CHANGES = "SELECT revision, operation, undo FROM changes ORDER BY revision DESC LIMIT ?"


class Batch:
    """What becomes durable together: changes with the values they leave, and records of journals."""

    __slots__ = ("after", "changes", "records")

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.after: dict[Key, Resource | None] = {}
        self.records: list[tuple[str, bytes]] = []

    def add(self, change: Change) -> None:
        """Take a change in; the last value of a key is the one that is written."""
        self.changes.append(change)
        self.after.update((each.key, each.after) for each in change.mutations)


class File:
    """One open SQLite file that nobody else can open."""

    def __init__(self, path: Path, kinds: Kinds, history: int) -> None:
        self._path = path
        self._kinds = kinds
        self._history = history
        self._pruned = 0
        self._inode = 0
        self._undo = msgspec.json.Decoder(list[tuple[str, str, str, msgspec.Raw]])
        self._encode = msgspec.json.Encoder().encode
        self._db: apsw.Connection | None = None

    def open(self) -> tuple[dict[Key, Resource], Sequence[Change]]:
        """Lock the file, make it if it is new, and return what it holds: resources, and the kept changes.

        Raises Unavailable when it is in use or out of reach, FailedPrecondition when it is not ours to read.
        """
        try:
            self._create()
            self._db = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READWRITE)
            self._inode = self._path.stat().st_ino
            self._prepare(self._db)
            return self._load(self._db)
        except (apsw.BusyError, apsw.LockedError) as error:
            message = f"{self._path} is in use by another process: stop that one first"
            raise Unavailable(message) from error
        except (apsw.NotADBError, apsw.CorruptError) as error:
            message = f"{self._path} is damaged or no SQLite file ({error}): restore it from a backup"
            raise FailedPrecondition(message) from error
        except (apsw.Error, OSError) as error:
            message = f"{self._path} cannot be opened: {error}"
            raise Unavailable(message) from error

    def write(self, batch: Batch) -> list[int]:
        """Make a batch durable, all or nothing; returns the sequences of its records."""
        with self._transaction() as db:
            values = [
                (*key, self._encode(value).decode())
                for key, value in batch.after.items()
                if value is not None
            ]
            gone = [key for key, value in batch.after.items() if value is None]
            db.executemany(PUT, values)
            db.executemany(DELETE, gone)
            db.executemany(CHANGE, map(self._row, batch.changes))
            if batch.changes:
                self._prune(db, batch.changes[-1].revision)
            return [_number(db.execute(APPEND, record)) for record in batch.records]

    def read(self, journal: str, after: int, limit: int) -> Sequence[Entry]:
        """Records of a journal, oldest first; raises Unavailable when the disk does not answer."""
        try:
            rows = self._connection.execute(READ, (journal, after, max(limit, 0)))
            return [Entry(sequence, payload) for sequence, payload in rows]
        except apsw.Error as error:
            message = f"the store cannot read: {error}"
            raise Unavailable(message) from error

    def span(self, journal: str) -> Span:
        """Where a journal begins and ends; raises Unavailable when the disk does not answer."""
        try:
            first, last = next(self._connection.execute(SPAN, (journal,)))
        except apsw.Error as error:
            message = f"the store cannot read: {error}"
            raise Unavailable(message) from error
        return Span(cast("int", first), cast("int", last))

    def prune(self, journal: str, through: int) -> None:
        """Drop the oldest records; raises Unavailable when that cannot be made durable."""
        try:
            with self._transaction() as db:
                db.execute(DROP, (journal, through))
        except apsw.Error as error:
            message = f"the store cannot write: {error}"
            raise Unavailable(message) from error

    def probe(self, *, write: bool) -> None:
        """Raise Unavailable unless the file is there and can be read, and (asked so) written durably."""
        try:
            mine = self._connection.execute("SELECT count(*) FROM sqlite_schema")
            next(mine)
            if write:
                self._connection.pragma("user_version", SCHEMA)
            is_there = self._path.stat().st_ino == self._inode
        except (apsw.Error, OSError) as error:
            message = f"the store does not answer: {error}"
            raise Unavailable(message) from error
        if not is_there:
            message = f"{self._path} is not the file that the store writes: somebody has replaced it"
            raise Unavailable(message)

    def copy_into(self, target: apsw.Connection) -> apsw.Backup:
        """An online copy of the whole file, to be stepped in the thread that writes."""
        return target.backup("main", self._connection, "main")

    def close(self) -> None:
        """Fold the log into the file and let go of it. A second call does nothing."""
        if self._db is not None:
            self._db.close()
            self._db = None

    @property
    def _connection(self) -> apsw.Connection:
        if self._db is None:
            raise closed()
        return self._db

    def _create(self) -> None:
        """A new file is private from its first byte; so are the log and the folder beside it."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        wal = self._path.with_name(self._path.name + "-wal")
        if not _size(self._path) and _size(wal):  # SQLite would throw the log away
            message = f"{wal} is there without the file it belongs to: restore both from a backup"
            raise FailedPrecondition(message)
        try:
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except FileExistsError:
            # Not by opening it: to close a file drops every lock that this process has on it.
            self._path.chmod(0o600)

    def _prepare(self, db: apsw.Connection) -> None:
        db.set_busy_timeout(PATIENCE)
        # The image is only true while nobody else writes. The kernel drops this lock with the process.
        db.pragma("locking_mode", "EXCLUSIVE")
        db.pragma("journal_mode", "WAL")  # one fsync for a commit, and no torn pages
        db.pragma("synchronous", "FULL")  # acknowledged means that it survives a power cut
        db.pragma("wal_autocheckpoint", 4_000)  # pages, about 16 MB of log: checkpoints stall the writer
        db.pragma("journal_size_limit", 64 * 1024 * 1024)  # what a burst leaves of the log on the disk
        db.pragma("trusted_schema", 0)  # a planted view or trigger may call nothing
        with self._transaction():
            refuse_foreign(db, self._path, application=APPLICATION, schema=SCHEMA, what="a store of Rune")
            if db.pragma("user_version") == 0:
                db.execute(TABLES)

    def _load(self, db: apsw.Connection) -> tuple[dict[Key, Resource], Sequence[Change]]:
        resources: dict[Key, Resource] = {}
        for kind, namespace, name, value in db.execute(RESOURCES):
            key = Key(kind, namespace, name)
            resources[key] = self._decode(key, value)
        known: dict[Key, Resource | None] = {**resources}
        changes = [
            Change(revision, operation, tuple(self._undone(undo, known)))
            for revision, operation, undo in db.execute(CHANGES, (self._history,))
        ]
        changes.reverse()
        self._pruned = changes[0].revision - 1 if changes else 0
        self._refuse_gap(changes, resources)
        return resources, changes

    def _undone(self, undo: str, known: dict[Key, Resource | None]) -> Iterator[Mutation]:
        """The mutations of a change, given what is known to be there after it; steps `known` back."""
        for kind, namespace, name, value in self._undo.decode(undo):
            key = Key(kind, namespace, name)
            before = None if bytes(value) == b"null" else self._decode(key, value)
            yield Mutation(key, before, known.get(key))
            known[key] = before

    def _decode(self, key: Key, value: str | msgspec.Raw) -> Resource:
        if key.kind not in self._kinds:
            message = (
                f"{self._path} holds {key}, a kind this Rune does not know: install the one that wrote it"
            )
            raise FailedPrecondition(message)
        try:
            return self._kinds.decode(key.kind, value)
        except msgspec.MsgspecError as error:
            message = f"{self._path} holds {key}, which this Rune cannot read: {error}"
            raise FailedPrecondition(message) from error

    def _refuse_gap(self, changes: Sequence[Change], resources: dict[Key, Resource]) -> None:
        newest = changes[-1].revision if changes else 0
        written = max((each.revision for each in resources.values()), default=0)
        if newest != self._pruned + len(changes) or written > newest:
            message = f"{self._path} is damaged, its log has a gap: restore it from a backup"
            raise FailedPrecondition(message)

    def _row(self, change: Change) -> tuple[int, str, str]:
        undo = [(*each.key, each.before) for each in change.mutations]
        return change.revision, change.operation, self._encode(undo).decode()

    def _prune(self, db: apsw.Connection, newest: int) -> None:
        """Drop old changes by the thousand: one range, once in a while."""
        if newest - self._pruned > self._history + max(self._history // 4, 100):
            db.execute(PRUNE, (newest - self._history,))
            self._pruned = newest - self._history

    @contextmanager
    def _transaction(self) -> Generator[apsw.Connection]:
        db = self._connection
        self._rollback(db)  # in case the disk was too sick to undo the last one
        try:
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")
        except BaseException:
            self._rollback(db)
            raise

    def _rollback(self, db: apsw.Connection) -> None:
        if db.in_transaction:  # SQLite ends some failed ones by itself
            db.execute("ROLLBACK")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _number(rows: apsw.Cursor) -> int:
    return cast("int", next(rows)[0])
