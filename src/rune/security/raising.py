"""From what was detected to writes of alerts: one alert for many events, counted exactly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from rune.core.clock import EPOCH
from rune.core.store.base import Delete, Put, Store, Write
from rune.security import outbox
from rune.security.detect import RANK, Raised
from rune.security.kinds import Alert, Mark, space

MOST: Final = 10_000
"""Alerts of an organization; past it the oldest that is closed goes, or else the oldest of the agent that
has most: one that was taken over pushes out its own."""
MOST_MARKS: Final = 20


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was raised, and when."""

    raised: Raised
    at: datetime
    event_id: str = ""
    position: int = 0
    """Of the event; 0 for what no event raised."""


def writes(store: Store, organization: str, sightings: Iterable[Sighting], *, now: datetime) -> list[Write]:
    """What to commit so that the alerts have counted these; those that they have counted are passed over."""
    before: dict[str, Alert] = {}
    after: dict[str, Alert] = {}
    for sighting in sightings:
        subject = sighting.raised.subject(organization)
        alert = after.get(subject) or _live(store, organization, subject)
        if alert is None:
            after[subject] = _made(store, organization, sighting)
        elif not sighting.position or sighting.position > alert.position:
            if alert.revision:
                before.setdefault(subject, alert)
            after[subject] = _counted(alert, sighting)
    return _written(store, organization, before, after=after, now=now)


def _written(
    store: Store, organization: str, before: Mapping[str, Alert], *, after: Mapping[str, Alert], now: datetime
) -> list[Write]:
    found: list[Write] = [Put(alert) for alert in after.values()]
    fresh = [alert for subject, alert in after.items() if subject not in before]
    worse = [
        alert
        for subject, alert in after.items()
        if subject in before and RANK[alert.severity] > RANK[before[subject].severity]
    ]
    news = [("alert.created", alert) for alert in fresh] + [("alert.updated", alert) for alert in worse]
    found += outbox.deliveries(store, organization, news, now=now)
    return [*found, *_surplus(store, organization, len(fresh))]


def live(store: Store, organization: str, raised: Raised) -> Alert | None:
    """The alert that counts these now, if there is one."""
    return _live(store, organization, raised.subject(organization))


def _live(store: Store, organization: str, subject: str) -> Alert | None:
    found = store.near(Alert, space(organization), f"{subject}.")
    return next((alert for alert in reversed(found) if alert.is_live), None)


def _made(store: Store, organization: str, sighting: Sighting) -> Alert:
    raised = sighting.raised
    subject = raised.subject(organization)
    earlier = store.near(Alert, space(organization), f"{subject}.")
    number = max((int(alert.id.rpartition(".")[2]) for alert in earlier), default=0) + 1
    return Alert(
        organization=organization,
        id=f"{subject}.{number:06d}",
        severity=raised.severity,
        alert_type=raised.alert_type,
        title=raised.title[:300],
        agent_id=raised.agent_id,
        threat=raised.threat,
        rule=raised.rule,
        first_seen=sighting.at,
        last_seen=sighting.at,
        last_event=sighting.event_id,
        details=raised.details,
        marks=_marked([], raised),
        position=sighting.position,
    )


def _counted(alert: Alert, sighting: Sighting) -> Alert:
    raised = sighting.raised
    seen: dict[str, Any] = {"last_event": sighting.event_id, "details": raised.details}
    last = max(alert.last_seen or sighting.at, sighting.at)
    return replace(
        alert,
        occurrences=alert.occurrences + 1,
        severity=max(alert.severity, raised.severity, key=RANK.__getitem__),
        last_seen=last,
        marks=_marked(alert.marks, raised),
        position=max(alert.position, sighting.position),
        **seen,
    )


def _marked(marks: list[Mark], raised: Raised) -> list[Mark]:
    return list(dict.fromkeys([*marks, *raised.marks]))[:MOST_MARKS]


def _surplus(store: Store, organization: str, fresh: int) -> list[Write]:
    """The alerts that go so that there are no more than there may be."""
    if not fresh:
        return []
    every = store.list(Alert, space(organization))
    surplus = len(every) + fresh - MOST
    if surplus <= 0:
        return []
    held = Counter(alert.agent_id for alert in every)
    oldest = sorted(every, key=lambda each: (each.is_live, -held[each.agent_id], each.last_seen or EPOCH))
    return [Delete(alert.key) for alert in oldest[:surplus]]
