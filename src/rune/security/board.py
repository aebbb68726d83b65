"""The board: which alerts stand where in a list, kept up to date by the log instead of sorted for each page.

A page of a hundred among a hundred thousand then costs a hundred. What is kept are sort keys, whose end is
the alert's id: of all alerts of an organization, of each status, and of each agent.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from typing import Final

from rune.core.store.base import Change, Store
from rune.errors import OutOfRange
from rune.security.kinds import Alert, space
from rune.security.pages import newest_first

ALL: Final = "all"
DIGITS: Final = 15
"""Of the time that a sort key begins with; the id follows."""
View = tuple[str, str, str]
"""The space of an organization, `status` or `agent`, and which."""


class Board:
    """The order of alerts. It reads the log when it is asked, from where it was asked last."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._views: dict[View, list[str]] = {}
        self._position = -1
        self._turn = asyncio.Lock()

    async def order(self, organization: str, *, status: str, agent: str) -> Sequence[str]:
        """The sort keys of the alerts of an agent, or else of those with the status, the newest first."""
        async with self._turn:
            await self._catch_up()
        where = space(organization)
        view = (where, "agent", agent) if agent else (where, "status", status)
        return self._views.get(view, ())

    async def _catch_up(self) -> None:
        if self._position < self._store.oldest:
            self._begin()
            return
        try:
            changes = self._store.watch(self._position)
            while self._position < self._store.revision:
                change = await anext(changes)
                self._follow(change)
                self._position = change.revision
        except OutOfRange:  # the log went on faster than this
            self._begin()

    def _begin(self) -> None:
        """Everything anew."""
        self._views = {}
        for alert in self._store.list(Alert):
            for view, key in _places(alert):
                self._views.setdefault(view, []).append(key)
        for keys in self._views.values():
            keys.sort()
        self._position = self._store.revision

    def _follow(self, change: Change) -> None:
        for mutation in change.mutations:
            if mutation.key.kind != Alert.KIND:
                continue
            before = set(_places(mutation.before)) if isinstance(mutation.before, Alert) else set[_Place]()
            after = set(_places(mutation.after)) if isinstance(mutation.after, Alert) else set[_Place]()
            for view, key in before - after:
                self._drop(view, key)
            for view, key in after - before:
                insort(self._views.setdefault(view, []), key)

    def _drop(self, view: View, key: str) -> None:
        keys = self._views.get(view, [])
        place = bisect_left(keys, key)
        if place < len(keys) and keys[place] == key:
            del keys[place]
        if not keys:
            self._views.pop(view, None)


_Place = tuple[View, str]


def _places(alert: Alert) -> Iterator[_Place]:
    key, where = newest_first(alert.first_seen, alert.id), space(alert.organization)
    for kind, which in (("status", ALL), ("status", alert.status), ("agent", alert.agent_id)):
        yield (where, kind, which), key


def id_of(key: str) -> str:
    """The alert that a sort key is of."""
    return key[DIGITS:]
