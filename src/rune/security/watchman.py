"""Looks at every active agent now and then, and raises an alert for behaviour that is unlike its own."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import msgspec

from rune.core.clock import Clock
from rune.core.events.base import Agent, EventStore, Span
from rune.core.settle import settle
from rune.core.store.base import Store
from rune.core.tokens import SYSTEM
from rune.security import raising
from rune.security.agents import BASELINE
from rune.security.baselines import Anomaly, anomalies
from rune.security.detect import Raised
from rune.security.kinds import Tenant
from rune.security.rounds import rounds

PERIOD: Final = 300.0
"""Seconds between two rounds."""
_HOUR: Final = timedelta(hours=1)


class Watchman:
    """Compares agents with their baselines. `run` has to run for as long as the server does."""

    def __init__(self, store: Store, events: EventStore, *, clock: Clock) -> None:
        self._store = store
        self._events = events
        self._clock = clock

    async def run(self) -> None:
        """A round every five minutes, until it is cancelled or the stores close."""
        await rounds(self.round, every=PERIOD, of="baselines")

    async def round(self) -> None:
        """Look at every agent that was active in this hour."""
        now = self._clock.now()
        start = now.replace(minute=0, second=0, microsecond=0)
        for tenant in self._store.list(Tenant, SYSTEM):
            for agent in await self._events.agents(tenant.name, now):
                if agent.last_seen >= start:
                    await self._look(tenant.name, agent, start, now=now)

    async def _look(self, organization: str, agent: Agent, start: datetime, *, now: datetime) -> None:
        before = await self._events.baseline(organization, agent.agent_id, Span(start - BASELINE, start))
        present = await self._events.baseline(organization, agent.agent_id, Span(start, start + _HOUR))
        if not present.hours:
            return
        found = anomalies(present.hours[0], before.hours, tools=present.tools, usual_tools=before.tools)
        # One alert an hour for each metric: what stays unusual is not news every five minutes.
        sightings = [
            raising.Sighting(raised=each, at=now)
            for anomaly in found
            if not self._is_told(organization, each := _raised(agent.agent_id, anomaly), start)
        ]
        await settle(
            self._store,
            lambda: raising.writes(self._store, organization, sightings, now=now),
            operation="raise_anomalies",
        )

    def _is_told(self, organization: str, raised: Raised, since: datetime) -> bool:
        alert = raising.live(self._store, organization, raised)
        return alert is not None and alert.last_seen is not None and alert.last_seen >= since


def _raised(agent_id: str, anomaly: Anomaly) -> Raised:
    return Raised(
        agent_id=agent_id,
        alert_type="behavioral_anomaly",
        severity="medium",
        title=f"Behavioral anomaly detected on {agent_id}: {anomaly.words}",
        rule=anomaly.metric,
        details=msgspec.to_builtins(anomaly),
    )
