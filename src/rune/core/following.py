"""Following a kind in the log: from the changes of everything to those of what somebody may see."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from rune.api.common import EventType
from rune.api.resource import Resource
from rune.core.store.base import Change, Mutation, Store

R = TypeVar("R", bound=Resource)
Admits = Callable[[Resource | None], R | None]
"""Gives the resource back when it is one of those that are watched."""


@dataclass(frozen=True, slots=True)
class Seen(Generic[R]):
    """One item of a watch."""

    resource: R
    event_type: EventType
    revision: int
    """Where to resume after it; 0 for what there was at the start.

    In a change of several it is the change before for all but the last: who comes back sees the rest of them,
    and those before once more.
    """


async def changes(store: Store, after: int, admits: Admits[R]) -> AsyncIterator[Seen[R]]:
    """Every change after a revision, in the order of the log.

    A resource that begins or ceases to be one of those is added or deleted, as the watcher sees it.
    """
    async for change in store.watch(after):
        for seen in seen_in(change, admits):
            yield seen


def seen_in(change: Change, admits: Admits[R]) -> Iterator[Seen[R]]:
    """What a watcher sees of one change."""
    found = [seen for each in change.mutations if (seen := _seen(each, change.revision, admits)) is not None]
    yield from (replace(seen, revision=change.revision - 1) for seen in found[:-1])
    yield from found[-1:]


def _seen(mutation: Mutation, revision: int, admits: Admits[R]) -> Seen[R] | None:
    before, after = admits(mutation.before), admits(mutation.after)
    if after is not None:
        return Seen(after, EventType.MODIFIED if before is not None else EventType.ADDED, revision)
    return None if before is None else Seen(before, EventType.DELETED, revision)
