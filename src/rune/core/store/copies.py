"""Copies of a store's file: made while it is written, checked, and put in its place when it is not.

A copy is a whole SQLite file of everything: resources, their history, the audit log. It holds no key.
"""
# apsw's stubs name collections.abc.Buffer, which Python 3.11 lacks:
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, cast

import apsw

from rune.core.store.base import Entry, Key
from rune.core.store.file import APPLICATION, READ, SCHEMA, File
from rune.errors import AlreadyExists, FailedPrecondition, Unavailable

PAGES: Final = 512
"""Of 4 KiB, copied in one step: 2 MiB, so that who commits meanwhile waits some milliseconds."""
AT_ONCE: Final = 500
SIDES: Final = ("-wal", "-shm")


class Copy:
    """One copy under way. Every method runs in the thread that writes the store."""

    def __init__(self, file: File, to: Path) -> None:
        self._file, self._to = file, to
        self._target: apsw.Connection | None = None
        self._backup: apsw.Backup | None = None

    def open(self) -> None:
        """Begin; raises AlreadyExists for a file that is there, Unavailable when it cannot be written."""
        try:
            os.close(os.open(self._to, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            self._target = apsw.Connection(str(self._to))
            self._backup = self._file.copy_into(self._target)
        except FileExistsError as error:
            raise AlreadyExists(f"{self._to} exists: name another file") from error
        except (apsw.Error, OSError) as error:
            raise Unavailable(f"{self._to} cannot be written: {error}") from error

    def step(self) -> bool:
        """Copy some more; whether that was the last of it."""
        if self._backup is None:
            return True
        try:
            if not self._backup.step(PAGES):
                return False
            self._backup.finish()
            self._backup = None
            if self._target is not None:
                self._target.pragma("journal_mode", "DELETE")  # one file, which can be carried alone
        except apsw.Error as error:
            raise Unavailable(f"{self._to} cannot be written: {error}") from error
        return True

    def close(self) -> None:
        """Let go of it, whole or not. A second call does nothing."""
        if self._backup is not None:
            self._backup.close(force=True)
            self._backup = None
        if self._target is not None:
            self._target.close()
            self._target = None


def check(path: Path) -> None:
    """Raise FailedPrecondition unless the file is a whole store that this Rune can read."""
    with _Reader(path) as db:
        if db.pragma("application_id") != APPLICATION:
            raise FailedPrecondition(f"{path} is not a store of Rune")
        schema = cast("int", db.pragma("user_version"))
        if schema > SCHEMA:
            raise FailedPrecondition(
                f"{path} was written by a newer Rune (schema {schema}): install that one"
            )
        found = [str(row[0]) for row in db.execute("PRAGMA integrity_check(5)")]
        if found != ["ok"]:
            raise FailedPrecondition(f"{path} is damaged: {'; '.join(found)[:500]}")


def journal(path: Path, name: str, *, after: int = 0) -> Iterator[Sequence[Entry]]:
    """The records of a journal in a file that nobody has open, page by page."""
    with _Reader(path) as db:
        while page := [Entry(*row) for row in db.execute(READ, (name, after, AT_ONCE))]:
            yield page
            after = page[-1].sequence


def resource(path: Path, key: Key) -> str | None:
    """The JSON of a resource in a file that nobody has open."""
    ask = "SELECT value FROM resources WHERE kind = ? AND namespace = ? AND name = ?"
    with _Reader(path) as db:
        found = db.execute(ask, key).fetchone()
    return str(found[0]) if found else None


def put_in_place(backup: Path, path: Path, *, aside: Path) -> None:
    """Have the store begin with the copy; what was there is kept aside.

    Raises Unavailable while it is in use.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists():
        _settle(path)
    beside = path.with_name(f".{path.name}.restored")
    _copy(backup, beside)
    if path.exists():
        aside.hardlink_to(path)  # so that there is a store at every moment
    for side in SIDES:
        path.with_name(path.name + side).unlink(missing_ok=True)
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _copy(source: Path, to: Path) -> None:
    """A durable copy, for its owner alone."""
    to.unlink(missing_ok=True)
    descriptor = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as target, source.open("rb") as whole:
        shutil.copyfileobj(whole, target, 1 << 20)
        target.flush()
        os.fsync(target.fileno())


def _settle(path: Path) -> None:
    """Fold the store's log into its file, so that it is whole aside; raises Unavailable while in use."""
    db = None
    try:
        db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        db.pragma("locking_mode", "EXCLUSIVE")
        db.execute("BEGIN EXCLUSIVE; COMMIT")
        db.pragma("wal_checkpoint(TRUNCATE)")
    except (apsw.BusyError, apsw.LockedError) as error:
        raise Unavailable(f"{path} is in use: stop runed first") from error
    except apsw.Error:
        return  # it is damaged: that is why it is replaced
    finally:
        if db is not None:
            db.close()


class _Reader:
    """A connection that writes nothing; raises FailedPrecondition for what is no file of SQLite."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: apsw.Connection | None = None

    def __enter__(self) -> apsw.Connection:
        try:
            self._db = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READONLY)
            self._db.pragma("query_only", 1)
            self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except (apsw.BusyError, apsw.LockedError) as error:
            raise Unavailable(f"{self._path} is in use by runed: stop it, or ask it over the API") from error
        except apsw.Error as error:
            raise FailedPrecondition(f"{self._path} cannot be read as a store: {error}") from error
        return self._db

    def __exit__(self, *_: object) -> None:
        if self._db is not None:
            self._db.close()
