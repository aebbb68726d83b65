"""Handlers of agents: what people said of them, and what their events say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from msgspec.structs import replace

from rune.api.common import EventType
from rune.api.security import agents as api
from rune.api.security.words import Updated
from rune.core.call import Call
from rune.core.clock import Clock
from rune.core.dispatch import Dispatcher
from rune.core.events.base import Agent as Seen
from rune.core.events.base import EventStore, Span
from rune.core.following import changes
from rune.core.settle import settle
from rune.core.store.base import Put, Store, Write
from rune.errors import AlreadyExists, NotFound, ResourceExhausted
from rune.security import following
from rune.security.kinds import Registration, space
from rune.security.meeting import MOST, SILENCE
from rune.security.pages import Cursors
from rune.security.quarantine import Cause, begun, consequences, ended, keys_of

BASELINE: Final = timedelta(days=7)


class Agents:
    """What can be done with agents. An agent that sends an event is one, registered or not."""

    def __init__(self, store: Store, events: EventStore, cursors: Cursors, *, clock: Clock) -> None:
        self._store = store
        self._events = events
        self._cursors = cursors
        self._clock = clock

    def register(self, dispatcher: Dispatcher) -> None:
        """Make these the handlers of the operations."""
        dispatcher.handles(api.list_)(self.list)
        dispatcher.handles(api.watch)(self.watch)
        dispatcher.handles(api.get)(self.get)
        dispatcher.handles(api.register)(self.create)
        dispatcher.handles(api.update)(self.update)
        dispatcher.handles(api.quarantine)(self.quarantine)
        dispatcher.handles(api.release)(self.release)

    async def list(self, call: Call, ask: api.ListAgentsRequest) -> api.ListAgentsResponse:
        """The agents, by agentId."""
        organization, now = call.principal.organization, self._clock.now()
        said, seen = await self._known(organization, now)

        def at(name: str) -> api.Agent | None:
            agent = _agent(organization, name, now, said=said.get(name), seen=seen.get(name))
            return agent if ask.status in ("", agent.status) else None

        names = sorted(said.keys() | seen.keys())
        found, cursor = self._cursors.walk(call, names, at, limit=ask.limit, cursor=ask.cursor)
        return api.ListAgentsResponse(agents=found, next_cursor=cursor)

    async def watch(self, call: Call, ask: api.WatchAgentsRequest) -> AsyncIterator[api.WatchAgentsResponse]:
        """The agents, and every change of what is written of them, with their figures of then."""
        organization, after = call.principal.organization, ask.resume
        if not after:
            after = self._store.revision
            for agent in sorted(await self.all(organization), key=lambda each: each.agent_id):
                yield api.WatchAgentsResponse(agent=agent, event_type=EventType.ADDED)
            yield api.WatchAgentsResponse(revision=after)
        admits = following.owned(Registration, organization)
        async for each in changes(self._store, after, admits):
            agent = await self._now(each.resource)
            yield api.WatchAgentsResponse(agent=agent, event_type=each.event_type, revision=each.revision)

    async def _now(self, said: Registration) -> api.Agent:
        now = self._clock.now()
        found = await self._events.agents(said.organization, now, agent_id=said.id)
        return _agent(said.organization, said.id, now, said=said, seen=found[0] if found else None)

    async def all(self, organization: str) -> Sequence[api.Agent]:
        """Every agent of an organization."""
        now = self._clock.now()
        said, seen = await self._known(organization, now)
        return [
            _agent(organization, name, now, said=said.get(name), seen=seen.get(name))
            for name in said.keys() | seen.keys()
        ]

    async def _known(
        self, organization: str, now: datetime
    ) -> tuple[Mapping[str, Registration], Mapping[str, Seen]]:
        """What people said of agents, and what their events say, by agentId."""
        said = {each.id: each for each in self._store.list(Registration, space(organization))}
        return said, {each.agent_id: each for each in await self._events.agents(organization, now)}

    async def get(self, call: Call, ask: api.GetAgentRequest) -> api.AgentDetails:
        """An agent, and how it behaves."""
        organization, now = call.principal.organization, self._clock.now()
        said, seen = await self._find(organization, ask.agent_id)
        baseline = await self._events.baseline(organization, ask.agent_id, Span(now - BASELINE, now))
        events = sum(hour.events for hour in baseline.hours)
        return api.AgentDetails(
            agent=_agent(organization, ask.agent_id, now, said=said, seen=seen),
            registered_at=(said.registered_at if said else None) or (seen.first_seen if seen else None),
            baseline_hours=len(baseline.hours),
            events_per_hour=events / max(len(baseline.hours), 1),
            block_rate=sum(hour.blocked for hour in baseline.hours) / max(events, 1),
            service=(said and said.service) or None,
            quarantined_at=said.at if said else None,
            quarantined_by=(said and said.by) or None,
            quarantine_alert=(said and said.alert) or None,
        )

    async def create(self, call: Call, ask: api.RegisterAgentRequest) -> api.RegisterAgentResponse:
        """Register an agent that is neither registered nor known from its events."""
        organization = call.principal.organization
        known = id_of(organization, ask.agent_id)
        there = AlreadyExists(f"agent {ask.agent_id!r} exists already, with id {known}: update it instead")
        if await self._events.agents(organization, self._clock.now(), agent_id=ask.agent_id):
            raise there

        def decide() -> list[Write]:
            registered = self._store.list(Registration, space(organization))
            if self._store.find(Registration, space(organization), ask.agent_id) is not None:
                raise there
            if len(registered) >= MOST:
                raise ResourceExhausted(f"there are {MOST} registered agents, the most there may be")
            return [Put(self._registration(organization, ask))]

        await settle(self._store, decide, operation=call.operation.name)
        return api.RegisterAgentResponse(id=known, agent_id=ask.agent_id)

    async def update(self, call: Call, ask: api.UpdateAgentRequest) -> Updated:
        """Change what is given; quarantine reaches the agent's own keys in the same commit."""

        def changed(before: Registration) -> Registration:
            names = ("name", "framework", "tags")
            given = {name: value for name in names if (value := getattr(ask, name)) is not None}
            after = replace(before, **given)
            if ask.quarantined is None:
                return after
            return self._quarantined(after, call) if ask.quarantined else ended(self._store, after)

        await self._change(call, ask.agent_id, changed)
        return Updated()

    async def quarantine(self, call: Call, ask: api.QuarantineAgentRequest) -> api.QuarantineResponse:
        """Everything at once; for an agent that is there already its first reason stays."""
        return await self._change(
            call, ask.agent_id, lambda agent: self._quarantined(agent, call, ask.reason or "by hand")
        )

    async def release(self, call: Call, ask: api.ReleaseAgentRequest) -> api.QuarantineResponse:
        """Everything back at once; alerts that are open by now do not lead back."""
        return await self._change(call, ask.agent_id, lambda agent: ended(self._store, agent))

    def _quarantined(self, agent: Registration, call: Call, reason: str = "by hand") -> Registration:
        return begun(agent, Cause(reason=reason, by=call.principal.name), now=self._clock.now())

    async def _change(
        self, call: Call, agent_id: str, changed: Callable[[Registration], Registration]
    ) -> api.QuarantineResponse:
        """Change an agent, with all that follows from it, in one commit."""
        organization = call.principal.organization
        _, seen = await self._find(organization, agent_id)
        fresh = Registration(
            organization=organization,
            id=agent_id,
            name=agent_id,
            registered_at=seen.first_seen if seen else self._clock.now(),
        )

        def decide() -> list[Write]:
            before = self._store.find(Registration, space(organization), agent_id) or fresh
            after = changed(before)
            if after == before and before.revision:
                return []
            return [Put(after), *consequences(self._store, after)]

        await settle(self._store, decide, operation=call.operation.name)
        now = self._store.get(Registration, space(organization), agent_id)
        return api.QuarantineResponse(
            agent_id=now.id,
            quarantined=now.quarantined,
            reason=now.reason or None,
            service=now.service or None,
            keys=len(keys_of(self._store, now)),
        )

    async def _find(self, organization: str, agent_id: str) -> tuple[Registration | None, Seen | None]:
        """What is known of an agent; raises NotFound when nothing is."""
        said = self._store.find(Registration, space(organization), agent_id)
        found = await self._events.agents(organization, self._clock.now(), agent_id=agent_id)
        if said is None and not found:
            raise NotFound(f"there is no agent {agent_id!r}")
        return said, found[0] if found else None

    def _registration(self, organization: str, ask: api.RegisterAgentRequest) -> Registration:
        return Registration(
            organization=organization,
            id=ask.agent_id,
            name=ask.name or ask.agent_id,
            framework=ask.framework,
            tags=ask.tags,
            registered_at=self._clock.now(),
        )


def id_of(organization: str, agent_id: str) -> str:
    """The id of an agent: the same whether it was registered or came by itself."""
    return "agt_" + sha256(f"{organization}\0{agent_id}".encode()).hexdigest()[:24]


def _agent(
    organization: str, agent_id: str, now: datetime, *, said: Registration | None, seen: Seen | None
) -> api.Agent:
    framework = (said.framework if said else "") or (seen.framework if seen else "")
    return api.Agent(
        id=id_of(organization, agent_id),
        agent_id=agent_id,
        name=said.name if said else agent_id,
        framework=framework,
        status=_status(now, said, seen),
        tags=said.tags if said else [],
        risk_score=round(seen.risk_score, 4) if seen else 0.0,
        event_count=seen.events if seen else 0,
        block_count=seen.blocked if seen else 0,
        last_seen=seen.last_seen if seen else None,
        service=(said and said.service) or None,
        quarantine_reason=(said and said.reason) or None,
    )


def _status(now: datetime, said: Registration | None, seen: Seen | None) -> str:
    if said and said.quarantined:
        return "quarantined"
    last = (seen.last_seen if seen else None) or (said.registered_at if said else None)
    return "inactive" if last is None or last < now - SILENCE else "active"
