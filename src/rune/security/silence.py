"""Silence: notes agents that send nothing any more, and raises an alert where that is unlike them.

What was told is read from the alerts themselves: a restart neither forgets a silence nor tells of it twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from msgspec.structs import replace

from rune.api.orchestrator.services import Service
from rune.core.clock import Clock
from rune.core.events.base import Agent, EventStore, Span
from rune.core.settle import settle
from rune.core.store.base import Put, Store, Write
from rune.core.tokens import SYSTEM
from rune.security import raising
from rune.security.baselines import longest_pause
from rune.security.detect import Raised
from rune.security.kinds import Alert, Registration, Tenant, space
from rune.security.meeting import SILENCE
from rune.security.rounds import rounds

PERIOD: Final = 60.0
"""Seconds between two rounds."""
BASELINE: Final = timedelta(days=8)
"""What is looked at of the time before a silence: a week and a day, so that it holds every day's night."""
OLDEST: Final = timedelta(days=7)
"""A silence that began before that is nobody's news."""
GRACE: Final = timedelta(hours=2)
"""Agents have so long (or their usual pause, where it is shorter) to come back to a server that starts."""
AT_ONCE: Final = 200
"""Agents of one commit."""
SILENCES: Final = "silent_since"
"""The detail of an alert with the beginnings of the silences that it tells of, in milliseconds."""
MOST: Final = 50
"""Silences that an alert names."""
_SAME: Final[dict[str, Any]] = {"alert_type": "agent_silent", "severity": "high", "title": "Silence"}
_HOUR: Final = timedelta(hours=1)


class Silence:
    """Looks for agents that fell silent. `run` has to run for as long as the server does."""

    def __init__(self, store: Store, events: EventStore, *, clock: Clock) -> None:
        self._store = store
        self._events = events
        self._clock = clock
        self._started = clock.now()
        self._pauses: dict[tuple[str, str], tuple[datetime, timedelta | None]] = {}

    async def run(self) -> None:
        """A round every minute, until it is cancelled or the stores close."""
        await rounds(self.round, every=PERIOD, of="silences")

    async def round(self) -> None:
        """Look at every agent that is silent now."""
        now, known = self._clock.now(), self._pauses
        self._pauses = {}
        for tenant in self._store.list(Tenant, SYSTEM):
            every = await self._events.agents(tenant.name, now)
            silent = [agent for agent in every if agent.last_seen < now - SILENCE]
            keys = [(tenant.name, agent.agent_id) for agent in silent]
            self._pauses |= {key: known[key] for key in keys if key in known}
            await self._note(tenant.name, silent)
            due = [agent for agent in silent if await self._is_due(tenant.name, agent, now=now)]
            await self._raise(tenant.name, due, now=now)

    async def _note(self, organization: str, silent: Sequence[Agent]) -> None:
        """Write down who is inactive, so that whoever watches agents hears of it."""
        names = [agent.agent_id for agent in silent]
        for first in range(0, len(names), AT_ONCE):
            part = names[first : first + AT_ONCE]
            await settle(
                self._store,
                lambda part=part: list(self._noted(organization, part)),
                operation="note_silence",
            )

    def _noted(self, organization: str, names: Iterable[str]) -> Iterator[Write]:
        for name in names:
            found = self._store.find(Registration, space(organization), name)
            if found is not None and not found.silent:
                yield Put(replace(found, silent=True))

    async def _is_due(self, organization: str, agent: Agent, *, now: datetime) -> bool:
        """It is silent for longer than it ever was, nobody made it so, and it had time to come back."""
        if agent.last_seen < now - OLDEST or self._is_meant(organization, agent.agent_id):
            return False
        pause = await self._pause(organization, agent)
        return (
            pause is not None and now - agent.last_seen >= pause and now - self._started >= min(pause, GRACE)
        )

    def _is_meant(self, organization: str, agent_id: str) -> bool:
        """It is in quarantine, or its service runs no copy."""
        said = self._store.find(Registration, space(organization), agent_id)
        if said is None or not (said.quarantined or said.service):
            return False
        service = self._store.find(Service, *said.service.split("/", 1)) if said.service else None
        return said.quarantined or service is None or not service.scale

    async def _pause(self, organization: str, agent: Agent) -> timedelta | None:
        """Worked out once for each silence: while it lasts there is nothing new to learn from."""
        key = (organization, agent.agent_id)
        known = self._pauses.get(key)
        if known is not None and known[0] == agent.last_seen:
            return known[1]
        end = agent.last_seen.replace(minute=0, second=0, microsecond=0) + _HOUR
        before = await self._events.baseline(organization, agent.agent_id, Span(end - BASELINE, end))
        pause = longest_pause(before.hours, self._missed(organization, agent.agent_id))
        self._pauses[key] = (agent.last_seen, pause)
        return pause

    def _missed(self, organization: str, agent_id: str) -> list[datetime]:
        """When the silences began that were told of, but those that somebody took for ordinary."""
        alerts = self._alerts(organization, Raised(agent_id=agent_id, **_SAME))
        return [
            datetime.fromtimestamp(since / 1000, UTC)
            for alert in alerts
            if alert.status != "false_positive"
            for since in alert.details.get(SILENCES, [])
        ]

    async def _raise(self, organization: str, due: Sequence[Agent], *, now: datetime) -> None:
        def decide() -> list[Write]:
            fresh = (self._raised(organization, agent) for agent in due)
            sightings = [
                raising.Sighting(raised=each, at=now)
                for each in fresh
                if not self._is_told(organization, each)
            ]
            return raising.writes(self._store, organization, sightings, now=now)

        await settle(self._store, decide, operation="raise_silence")

    def _raised(self, organization: str, agent: Agent) -> Raised:
        _, pause = self._pauses[organization, agent.agent_id]
        subject = Raised(agent_id=agent.agent_id, **_SAME)
        open_ = raising.live(self._store, organization, subject)
        before: list[int] = open_.details.get(SILENCES, []) if open_ else []
        since = round(agent.last_seen.timestamp() * 1000)
        details = {
            SILENCES: [*(each for each in before if each != since), since][-MOST:],
            "longest_pause_seconds": round((pause or SILENCE).total_seconds()),
        }
        title = f"Silence detected on {agent.agent_id}: nothing since {agent.last_seen:%Y-%m-%d %H:%M} UTC"
        return replace(subject, title=title, details=details)

    def _is_told(self, organization: str, raised: Raised) -> bool:
        """An alert tells of this very silence, whatever became of it."""
        since = raised.details[SILENCES][-1]
        return any(since in alert.details.get(SILENCES, []) for alert in self._alerts(organization, raised))

    def _alerts(self, organization: str, raised: Raised) -> Sequence[Alert]:
        return self._store.near(Alert, space(organization), f"{raised.subject(organization)}.")
