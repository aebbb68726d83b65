"""Settle: read, decide, commit, and decide again when somebody else was quicker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from rune.core.store.base import Store, Write
from rune.errors import AlreadyExists, Conflict, NotFound

TRIES: Final = 16
"""Each lost try is somebody else's won one; so many in a row mean something else is wrong."""


async def settle(store: Store, decide: Callable[[], Sequence[Write]], *, operation: str) -> None:
    """Commit what `decide` makes of the store as it is; no writes are fine.

    What `decide` raises goes through at once. Raises Conflict when others were quicker every time.
    """
    for _ in range(TRIES):
        writes = decide()
        if not writes:
            return
        try:
            await store.commit(*writes, operation=operation)
        except (Conflict, AlreadyExists, NotFound):
            continue
        return
    raise Conflict(f"{operation} lost against other changes {TRIES} times: try again")
