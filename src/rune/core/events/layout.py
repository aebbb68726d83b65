"""The SQLite file of an event store: its tables, how it is opened, and that one process alone has it.

An event's `id` is its organization's number and its position in one integer, so that an organization's
events lie together in the order they arrived. Words that repeat (agents, types, threats, tools) are
numbers in `terms`. Unlike the store of resources this file has two connections, a writer's and a
reader's, so its lock is a file beside it.
"""
# apsw's stubs name collections.abc.Buffer, which Python 3.11 lacks:
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, cast

import apsw

from rune.core.store.foreign import refuse_foreign
from rune.errors import Closed, FailedPrecondition, Unavailable

SCHEMA = 3
"""The layout below. A file with a greater number is refused; raise it with a step that upgrades."""

APPLICATION = int.from_bytes(b"RUNe")
"""Marks the file as ours, so that a path mistyped does not fill someone else's database."""

POSITIONS = 40
"""Bits of an id that are the position; the rest is the organization."""

INDEXES = """
CREATE TABLE postings (
    organization INTEGER, segment INTEGER, term INTEGER, ids TEXT NOT NULL,
    PRIMARY KEY (organization, segment, term)
) STRICT, WITHOUT ROWID;
CREATE TABLE segments (
    organization INTEGER, segment INTEGER, first INTEGER NOT NULL, last INTEGER NOT NULL,
    first_at INTEGER NOT NULL, last_at INTEGER NOT NULL,
    PRIMARY KEY (organization, segment)
) STRICT, WITHOUT ROWID;
CREATE INDEX segments_by_age ON segments (segment);
CREATE TABLE digests (
    segment INTEGER, last INTEGER, marks BLOB NOT NULL, ids BLOB NOT NULL, PRIMARY KEY (segment, last)
) STRICT, WITHOUT ROWID;
"""

TABLES = f"""
CREATE TABLE terms (
    term INTEGER PRIMARY KEY, organization INTEGER NOT NULL, kind INTEGER NOT NULL, value TEXT NOT NULL,
    UNIQUE (organization, kind, value)
) STRICT;
CREATE TABLE streams (
    organization INTEGER PRIMARY KEY,
    dropped INTEGER NOT NULL, sealed INTEGER NOT NULL, newest INTEGER NOT NULL,
    counted INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE events (
    id INTEGER PRIMARY KEY, at INTEGER NOT NULL, agent INTEGER NOT NULL, type INTEGER NOT NULL,
    threat INTEGER NOT NULL, tool INTEGER NOT NULL, blocked INTEGER NOT NULL, risk INTEGER NOT NULL,
    key ANY NOT NULL, body BLOB NOT NULL
) STRICT;
CREATE TABLE rollups (
    organization INTEGER, grain INTEGER, start INTEGER,
    agent INTEGER, type INTEGER, threat INTEGER, tool INTEGER,
    events INTEGER NOT NULL, blocked INTEGER NOT NULL, threats INTEGER NOT NULL, risk INTEGER NOT NULL,
    PRIMARY KEY (organization, grain, start, agent, type, threat, tool)
) STRICT, WITHOUT ROWID;
CREATE TABLE agents (
    agent INTEGER PRIMARY KEY, organization INTEGER NOT NULL, framework TEXT NOT NULL,
    events INTEGER NOT NULL, blocked INTEGER NOT NULL,
    dropped INTEGER NOT NULL, dropped_blocked INTEGER NOT NULL,
    first_seen INTEGER NOT NULL, last_seen INTEGER NOT NULL
) STRICT;
CREATE INDEX agents_of ON agents (organization);
{INDEXES}
CREATE TABLE filters (generation INTEGER PRIMARY KEY, bits BLOB NOT NULL) STRICT;
CREATE TABLE salt (value BLOB NOT NULL) STRICT;
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {SCHEMA};
"""

UPGRADES = {
    1: """
ALTER TABLE streams ADD COLUMN counted INTEGER NOT NULL DEFAULT 0;
UPDATE streams SET counted = newest;
""",
    2: f"""
DROP TABLE postings;
DROP TABLE digests;
DELETE FROM filters;
ALTER TABLE segments RENAME TO former_segments;
{INDEXES}
INSERT INTO rollups
    SELECT organization, grain, start, 0, 0, 0, 0, sum(events), sum(blocked), sum(threats), sum(risk)
    FROM rollups WHERE agent = 0 GROUP BY organization, grain, start;
""",
}
"""From 1, which counted every event in the transaction that stored it, and from 2, which had an index row for
each word of each event. `former_segments` is left for the writer, which makes the indexes again."""

ORGANIZATION, AGENT, TYPE, THREAT, TOOL, BLOCKED = range(6)
"""The kinds of terms."""


class Lock:
    """One process per file. The kernel lets go of it when the process dies."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + ".lock")
        self._descriptor = -1

    def take(self) -> None:
        """Raises Unavailable when another process, or another store of this one, has the file."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            message = f"{self._path} is held by another process: stop that one first"
            raise Unavailable(message) from error
        self._descriptor = descriptor

    def release(self) -> None:
        """A second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


@contextmanager
def explained(path: Path) -> Generator[None]:
    """Raises what went wrong with opening or reading a file in our words."""
    try:
        yield
    except (apsw.NotADBError, apsw.CorruptError) as error:
        message = f"{path} is damaged or no SQLite file ({error}): restore it from a backup"
        raise FailedPrecondition(message) from error
    except (apsw.Error, OSError) as error:
        message = f"the event store {path} does not answer: {error}"
        raise Unavailable(message) from error


def writer(path: Path) -> apsw.Connection:
    """The connection that writes; makes the file when it is new, and refuses one that is not ours."""
    _create(path)
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        db.pragma("journal_mode", "WAL")  # one fsync for a commit, and readers never wait
        db.pragma("synchronous", "FULL")  # acknowledged means that it survives a power cut
        db.pragma("wal_autocheckpoint", 0)  # it would stall whoever commits: see `Folding`
        db.pragma("journal_size_limit", 64 * 1024 * 1024)  # what a burst leaves of the log on the disk
        db.pragma("cache_size", -16_000)  # KiB
        db.pragma("trusted_schema", 0)  # a planted view or trigger may call nothing
        with transaction(db):
            refuse_foreign(db, path, application=APPLICATION, schema=SCHEMA, what="an event store of Rune")
            if db.pragma("user_version") == 0:
                db.execute(TABLES)
                db.execute("INSERT INTO salt VALUES (?)", (secrets.token_bytes(16),))
            for older in range(cast("int", db.pragma("user_version")), SCHEMA):
                db.execute(UPGRADES[older])
            db.pragma("user_version", SCHEMA)
    except BaseException:
        db.close()
        raise
    return db


def reader(path: Path) -> apsw.Connection:
    """A connection that reads beside the writer and cannot write."""
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    db.pragma("query_only", 1)
    db.pragma("cache_size", -16_000)  # KiB
    db.pragma("trusted_schema", 0)
    return db


def folder(path: Path) -> apsw.Connection:
    """A connection that folds the log into the file; what it folds is on the disk when it is done."""
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    db.pragma("synchronous", "FULL")
    return db


@contextmanager
def transaction(db: apsw.Connection) -> Generator[apsw.Connection]:
    """All or nothing."""
    _rollback(db)  # in case the disk was too sick to undo the last one
    try:
        db.execute("BEGIN IMMEDIATE")
        yield db
        db.execute("COMMIT")
    except BaseException:
        _rollback(db)
        raise


@contextmanager
def snapshot(db: apsw.Connection) -> Generator[apsw.Connection]:
    """Everything read inside is of one moment."""
    db.execute("BEGIN")
    try:
        yield db
    finally:
        _rollback(db)


def closed() -> Closed:
    """What a store answers once it is closed."""
    return Closed("the event store is closed")


def rows(db: apsw.Connection, sql: str, values: Sequence[object] = ()) -> Iterator[Any]:
    """The rows of a query. Their types are those of the tables above, which nothing here can check."""
    return cast("Iterator[Any]", db.execute(sql, cast("Any", values)))


class Many:
    """A statement that stores many rows in one go.

    SQLite works without the interpreter's lock for as long as a statement runs, and a busy server's other
    thread keeps it for milliseconds; so few long statements are better than one for each row.
    """

    def __init__(self, table: str, width: int, more: str = "") -> None:
        row = f"({', '.join('?' * width)})"
        self._sizes = (256, 32, 4, 1)
        self._texts = [f"INSERT INTO {table} VALUES {', '.join([row] * size)} {more}" for size in self._sizes]

    def run(self, db: apsw.Connection, rows: Sequence[Sequence[Any]]) -> None:
        """Store the rows."""
        done = 0
        for size, text in zip(self._sizes, self._texts, strict=True):
            while done + size <= len(rows):
                db.execute(text, tuple(chain.from_iterable(rows[done : done + size])))
                done += size


def one(cursor: apsw.Cursor) -> Any:  # noqa: ANN401 - a value of SQLite's
    """The first value of the first row, None without a row."""
    row = cursor.fetchone()
    return None if row is None else row[0]


def _create(path: Path) -> None:
    """A new file is private from its first byte; so are the log and the folder beside it."""
    wal = path.with_name(path.name + "-wal")
    if not _size(path) and _size(wal):  # SQLite would throw the log away
        message = f"{wal} is there without the file it belongs to: restore both from a backup"
        raise FailedPrecondition(message)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        # Not by opening it: to close a file drops every lock that this process has on it.
        path.chmod(0o600)


def _rollback(db: apsw.Connection) -> None:
    if db.in_transaction:  # SQLite ends some failed ones by itself
        db.execute("ROLLBACK")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
