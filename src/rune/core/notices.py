"""Notices: which kinds of resources changed, and nothing of what they hold; for those who then ask again."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

from rune.core.access import ANY
from rune.core.store.base import Store
from rune.errors import OutOfRange

EVERYTHING: Final = frozenset({ANY})
"""Said when it is no longer known what changed."""


async def notices(store: Store) -> AsyncGenerator[frozenset[str]]:
    """The kinds in each change of the log from now on; raises Unavailable when the store closes."""
    while True:
        try:
            async for change in store.watch(store.revision):
                yield frozenset(mutation.key.kind for mutation in change.mutations)
        except OutOfRange:  # fell behind
            yield EVERYTHING
