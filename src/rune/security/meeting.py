"""Meeting: the first event of an agent registers it, and an event of one that was silent ends its silence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from rune.core.events.event import Event
from rune.core.store.base import Put, Store, Write
from rune.security.kinds import Registration, space

SILENCE: Final = timedelta(minutes=15)
"""After so long without an event an agent is inactive."""
MOST: Final = 10_000
"""Registered agents of an organization; those that come later are known from their events alone."""


def writes(store: Store, organization: str, events: Iterable[Event], *, now: datetime) -> list[Write]:
    """What the log shall tell of the agents that sent these."""
    newest: dict[str, datetime] = {}
    for event in events:
        newest[event.agent_id] = max(event.timestamp, newest.get(event.agent_id, event.timestamp))
    return list(_changed(store, organization, newest, now=now))


def _changed(
    store: Store, organization: str, newest: dict[str, datetime], *, now: datetime
) -> Iterator[Write]:
    where = space(organization)
    room = -1
    for agent_id, at in newest.items():
        found = store.find(Registration, where, agent_id)
        if found is None:
            room = MOST - len(store.list(Registration, where)) if room < 0 else room
            if room > 0:
                room -= 1
                yield Put(
                    Registration(organization=organization, id=agent_id, name=agent_id, registered_at=at)
                )
        elif found.silent and at > now - SILENCE:
            yield Put(replace(found, silent=False))
