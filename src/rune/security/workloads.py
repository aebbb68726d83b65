"""Workloads: agents that run as services. Keeps the agent, its keys and its service in agreement.

It looks at the store as it is, never at what happened: a crash between two commits is put right by the next
look, and everything is looked at once when the server starts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Final, Protocol

from msgspec.structs import replace

from rune.api.orchestrator.instances import DesiredState, Instance
from rune.api.orchestrator.services import Service
from rune.api.resource import Key
from rune.core.apikeys import ApiKey
from rune.core.clock import EPOCH, Clock
from rune.core.records import Record
from rune.core.settle import settle
from rune.core.store.base import Change, Delete, Mutation, Put, Store, Write
from rune.core.tokens import SYSTEM
from rune.errors import Closed, OutOfRange, RuneError
from rune.security import quarantine
from rune.security.kinds import Alert, Policy, Registration, space
from rune.security.organizations import DEFAULT

logger = logging.getLogger(__name__)

PAUSE: Final = 1.0
"""Seconds before everything is looked at again after a failure."""


class Notes(Protocol):
    """The audit log."""

    async def note(self, record: Record) -> None:
        """Keep what this server did by itself."""
        ...


class Workloads:
    """Looks at agents whenever something about them changes; `run` has to run as long as the server does."""

    def __init__(self, store: Store, notes: Notes, *, clock: Clock) -> None:
        self._store = store
        self._notes = notes
        self._clock = clock

    async def run(self) -> None:
        """Until it is cancelled or the store closes."""
        while True:
            try:
                await self._follow()
            except OutOfRange:
                continue
            except Closed:
                return
            except RuneError as error:
                logger.warning("agents were not looked at, it tries again", extra={"reason": error.message})
                await asyncio.sleep(PAUSE)

    async def _follow(self) -> None:
        after = self._store.revision
        await self._look_at(set[str]().union(*map(quarantine.names_in, self._store.list(Service))))
        keys = self._store.list(ApiKey, SYSTEM)
        await self._keep(_agents_with(keys))
        await self._sweep(keys)
        async for change in self._store.watch(after):
            await self._look_at(self._touched(change))
            await self._keep(_elsewhere(change))
            if any(mutation.key.kind == Instance.KIND for mutation in change.mutations):
                await self._sweep(self._keys_of(change))

    async def _look_at(self, agents: Iterable[str]) -> None:
        for agent in sorted(agents):
            await self.look(agent)

    async def look(self, agent_id: str) -> None:
        """Bring everything about one agent into agreement, and tell the audit log of a quarantine."""
        await settle(self._store, lambda: self._writes(agent_id), operation="guard_agent")
        agent = self._store.find(Registration, space(DEFAULT), agent_id)
        if agent is None or agent.noted:
            return
        await self._notes.note(self._record(agent))
        await settle(self._store, lambda: self._marked(agent), operation="guard_agent")

    def _writes(self, agent_id: str) -> list[Write]:
        before = self._store.find(Registration, space(DEFAULT), agent_id)
        services = quarantine.services_of(self._store, agent_id)
        claims = [each for each in services if each.agent and each.agent.id == agent_id]
        if before is None and not claims:
            return []
        agent = before or self._fresh(agent_id)
        owner = _owner(agent, claims)
        if owner is None or owner.agent is None:
            agent = replace(agent, service="")
        else:
            agent = self._described(agent, owner)
            cause = quarantine.called_for(self._store, agent, owner.agent)
            agent = quarantine.begun(agent, cause, now=self._clock.now()) if cause else agent
        changed: list[Write] = [] if agent == before else [Put(agent)]
        return [*changed, *quarantine.consequences(self._store, agent)]

    def _fresh(self, agent_id: str) -> Registration:
        return Registration(organization=DEFAULT, id=agent_id, name=agent_id, registered_at=self._clock.now())

    def _described(self, agent: Registration, service: Service) -> Registration:
        """As its service says; alerts from before it was a service lead to no quarantine."""
        said = service.agent
        if said is None:
            return agent
        place = quarantine.place(service)
        heeded = agent.heeded
        if agent.service != place:
            earlier = (alert.position for alert in quarantine.alerts_of(self._store, agent))
            heeded = max([heeded, *earlier])
        return replace(
            agent,
            service=place,
            heeded=heeded,
            framework=said.framework or agent.framework,
            tags=said.tags or agent.tags,
        )

    def _marked(self, told: Registration) -> list[Write]:
        now = self._store.find(Registration, told.key.namespace, told.id)
        return [Put(replace(now, noted=True))] if now is not None and now.at == told.at else []

    def _record(self, agent: Registration) -> Record:
        names = {"alert_id": agent.alert, "service": agent.service}
        return Record(
            time=self._clock.now(),
            operation="quarantine_agent",
            resource="agents",
            verb="update",
            outcome="ok",
            actor=agent.by,
            name=agent.id,
            names={name: value for name, value in names.items() if value},
            message=agent.reason,
            edge="local",
        )

    def _touched(self, change: Change) -> set[str]:
        found = set[str]().union(*map(_agents_of, change.mutations))
        if any(mutation.key.kind == Policy.KIND for mutation in change.mutations):
            named = (each.agent for each in self._store.list(Service))
            found |= {agent.id for agent in named if agent and agent.policies}
        return found

    # Keys of instances

    def _keys_of(self, change: Change) -> list[ApiKey]:
        touched = {f"{each.key.namespace}/{each.key.name}" for each in change.mutations}
        return [key for key in self._store.list(ApiKey, SYSTEM) if key.instance in touched]

    async def _keep(self, agents: Collection[Key]) -> None:
        """Agents that no service can be have keys all the same: one may be made while quarantine begins."""
        if agents:
            await settle(
                self._store,
                lambda: quarantine.keys_as_wanted(self._store, agents),
                operation="guard_agent",
            )

    async def _sweep(self, keys: Iterable[ApiKey]) -> None:
        """Keys whose start is over are gone for good."""
        named = [key.prefix for key in keys if key.instance]
        await settle(self._store, lambda: self._dead(named), operation="guard_agent")

    def _dead(self, prefixes: Iterable[str]) -> list[Write]:
        found = (self._store.find(ApiKey, SYSTEM, prefix) for prefix in prefixes)
        return [Delete(key.key, key.revision) for key in found if key and self._is_over(key)]

    def _is_over(self, key: ApiKey) -> bool:
        instance = self._store.find(Instance, *key.instance.split("/", 1))
        if instance is None or instance.desired is not DesiredState.RUNNING or instance.held:
            return True
        return key.attempt < instance.attempt


def _owner(agent: Registration, claims: Iterable[Service]) -> Service | None:
    """The service that the agent is: the one that it was, or else the oldest that says so."""
    every = sorted(claims, key=_age)
    same = (each for each in every if quarantine.place(each) == agent.service)
    return next(same, None) or next(iter(every), None)


def _age(service: Service) -> tuple[datetime, Key]:
    return ((service.metadata and service.metadata.created_at) or EPOCH, service.key)


def _agents_of(mutation: Mutation) -> set[str]:
    """The agents that a change may matter to."""
    found = set[str]()
    for value in (mutation.before, mutation.after):
        match value:
            case Service():
                found |= quarantine.names_in(value)
            case Registration() if value.organization == DEFAULT:
                found.add(value.id)
            case Alert() if value.organization == DEFAULT:
                found.add(value.agent_id)
            case ApiKey() if value.organization == DEFAULT and value.agent_id:
                found.add(value.agent_id)
            case _:
                pass
    return found


def _agents_with(keys: Iterable[ApiKey]) -> set[Key]:
    """Whom the keys are narrowed to."""
    return {Registration(organization=key.organization, id=key.agent_id).key for key in keys if key.agent_id}


def _elsewhere(change: Change) -> set[Key]:
    """The agents of other organizations whose state or keys a change touched."""
    after = [mutation.after for mutation in change.mutations]
    touched = {each.key for each in after if isinstance(each, Registration)}
    touched |= _agents_with(each for each in after if isinstance(each, ApiKey))
    return {key for key in touched if key.namespace != space(DEFAULT)}
