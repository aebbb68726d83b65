"""Watches of this plane: what an organization has now, then every change of it in the order of the log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Generic, NamedTuple, TypeVar

from rune.api.common import EventType
from rune.api.resource import Resource
from rune.core import following
from rune.core.apikeys import ApiKey
from rune.core.store.base import Store
from rune.security.kinds import Owned

R = TypeVar("R", bound=Resource)
Mine = TypeVar("Mine", bound=Owned | ApiKey)


class Item(NamedTuple, Generic[R]):
    """One item of a watch. Without a resource it ends what there was at the start."""

    resource: R | None
    event_type: EventType
    revision: int


async def items(
    store: Store, resume: int, admits: following.Admits[R], *, rows: Callable[[], Iterable[R]]
) -> AsyncIterator[Item[R]]:
    """The rows that are there, unless the watch resumes, and a mark behind them; then what changes."""
    after = resume
    if not resume:
        after = store.revision
        for row in rows():
            if admits(row) is not None:
                yield Item(row, EventType.ADDED, 0)
        yield Item(None, EventType.UNSPECIFIED, after)
    async for seen in following.changes(store, after, admits):
        yield Item(seen.resource, seen.event_type, seen.revision)


def owned(
    kind: type[Mine], organization: str, chosen: Callable[[Mine], bool] = lambda _: True
) -> following.Admits[Mine]:
    """Lets through what is of this kind and organization, and is chosen."""

    def admits(resource: Resource | None) -> Mine | None:
        if not isinstance(resource, kind) or resource.organization != organization:
            return None
        return resource if chosen(resource) else None

    return admits
