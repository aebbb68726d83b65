"""The messages that webhooks are owed; they are written in the commit that gives rise to them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Final

from rune.core.store.base import Put, Store, Write
from rune.security.detect import RANK
from rune.security.kinds import Alert, Delivery, Webhook, space

MOST: Final = 1_000
"""Messages of an organization that wait; more alerts than that are not told of."""


def deliveries(
    store: Store, organization: str, news: Sequence[tuple[str, Alert]], *, now: datetime
) -> list[Write]:
    """A message for every webhook that wants to know of these, as far as there is room."""
    where = space(organization)
    hooks = store.list(Webhook, where) if news else ()
    if not hooks:
        return []
    room = max(MOST - len(store.list(Delivery, where)), 0)
    owed = ((hook, event, alert) for event, alert in news for hook in hooks if _wants(hook, event, alert))
    return [Put(_delivery(*each, now=now)) for each in islice(owed, room)]


def _delivery(hook: Webhook, event: str, alert: Alert, *, now: datetime) -> Delivery:
    return Delivery(
        organization=alert.organization,
        id=f"{hook.id}.{alert.id}.{event}.{now.timestamp():.6f}",
        webhook=hook.id,
        event=event,
        alert=told(alert),
        created_at=now,
    )


def told(alert: Alert) -> dict[str, Any]:
    """The alert as the API shows it."""
    return {
        "_id": alert.id,
        "severity": alert.severity,
        "alertType": alert.alert_type,
        "title": alert.title,
        "status": alert.status,
        "agentId": alert.agent_id,
        "occurrences": alert.occurrences,
        "threat": alert.threat or None,
        "rule": alert.rule or None,
        "lastSeen": round(alert.last_seen.timestamp() * 1000) if alert.last_seen else None,
    }


def _wants(hook: Webhook, event: str, alert: Alert) -> bool:
    return (not hook.events or event in hook.events) and RANK[alert.severity] >= RANK[hook.min_severity]
