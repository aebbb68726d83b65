"""What the SQLite files of this server have in common: each is marked as ours and numbered by its layout."""
# apsw's stubs name collections.abc.Buffer, which Python 3.11 lacks:
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from pathlib import Path

import apsw

from rune.errors import FailedPrecondition


def refuse_foreign(db: apsw.Connection, path: Path, *, application: int, schema: int, what: str) -> None:
    """Raises FailedPrecondition for a file of somebody else, or of a newer layout; an empty one is fine.

    `what` the file should be, as `a store of Rune`.
    """
    (tables,) = next(iter(db.execute("SELECT count(*) FROM sqlite_schema")))
    if db.pragma("application_id") != (application if tables else 0):
        raise FailedPrecondition(f"{path} is not {what}: name another path")
    found = db.pragma("user_version")
    if found > schema:
        raise FailedPrecondition(
            f"{path} was written by a newer Rune (schema {found}, this one knows {schema}):"
            " install that version, or restore a backup"
        )
