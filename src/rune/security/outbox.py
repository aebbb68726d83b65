"""The messages that webhooks are owed; they are written in the commit that gives rise to them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from rune.core.store.base import Put, Store, Write
from rune.security.detect import RANK
from rune.security.kinds import Alert, Delivery, Webhook, space

MOST: Final = 1_000
"""Messages of an organization that wait; more alerts than that are not told of."""


def deliveries(store: Store, event: str, alert: Alert, *, now: datetime) -> list[Write]:
    """A message for every webhook that wants to know of this."""
    where = space(alert.organization)
    hooks = [hook for hook in store.list(Webhook, where) if _wants(hook, event, alert)]
    if not hooks or len(store.list(Delivery, where)) + len(hooks) > MOST:
        return []
    return [
        Put(
            Delivery(
                organization=alert.organization,
                id=f"{hook.id}.{alert.id}.{event}.{now.timestamp():.6f}",
                webhook=hook.id,
                event=event,
                alert=told(alert),
                created_at=now,
            )
        )
        for hook in hooks
    ]


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
