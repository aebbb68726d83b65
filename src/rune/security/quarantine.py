"""Quarantine, as writes: the agent, its keys and what is wanted of its service change in one commit.

Nothing here talks to the orchestrator. The service's `guard` says what is wanted; its plan reads that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from msgspec.structs import replace

from rune.api.orchestrator.guard import QuarantineWhen, ServiceAgent, ServiceGuard
from rune.api.orchestrator.services import Service
from rune.api.resource import Key
from rune.core.apikeys import ApiKey
from rune.core.store.base import Put, Store, Write
from rune.core.tokens import SYSTEM
from rune.security.detect import RANK
from rune.security.kinds import Alert, Policy, Registration, space
from rune.security.organizations import DEFAULT

BY_POLICY: Final = "policy"
"""Who puts an agent into quarantine when its service's spec says so."""
FROM: Final = {QuarantineWhen.ON_CRITICAL: RANK["critical"], QuarantineWhen.ON_HIGH: RANK["high"]}
"""The severity from which an alert puts an agent into quarantine."""
LONGEST: Final = 500
"""Characters of a reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why an agent goes into quarantine."""

    reason: str
    by: str
    alert: str = ""
    noted: bool = True
    """The audit log hears of it from the call that asked for it."""


def begun(agent: Registration, cause: Cause, *, now: datetime) -> Registration:
    """The agent in quarantine; for one that is there already nothing changes, its first cause included."""
    if agent.quarantined:
        return agent
    return replace(
        agent,
        quarantined=True,
        reason=cause.reason[:LONGEST],
        by=cause.by,
        alert=cause.alert,
        at=now,
        noted=cause.noted,
    )


def ended(store: Store, agent: Registration) -> Registration:
    """The agent at large; alerts that are there by now do not lead back."""
    if not agent.quarantined:
        return agent
    heeded = max((alert.position for alert in alerts_of(store, agent)), default=0)
    return replace(
        agent,
        quarantined=False, reason="", by="", alert="", at=None, noted=True,
        heeded=max(agent.heeded, heeded),
    )  # fmt: skip


def called_for(store: Store, agent: Registration, wanted: ServiceAgent) -> Cause | None:
    """The alert that the spec of its service says leads to quarantine, and that was not dealt with yet."""
    least = FROM.get(wanted.quarantine)
    if least is None or agent.quarantined:
        return None
    found = [
        alert
        for alert in alerts_of(store, agent)
        if alert.is_live and alert.position > agent.heeded and RANK[alert.severity] >= least
    ]
    if not found:
        return None
    worst = max(found, key=lambda alert: (RANK[alert.severity], alert.position))
    reason = f"{worst.severity} alert {worst.id}: {worst.title}"
    return Cause(reason=reason, by=BY_POLICY, alert=worst.id, noted=False)


def consequences(store: Store, agent: Registration) -> list[Write]:
    """What has to be written besides the agent so that its keys and services are as its state wants."""
    return [*_keys(store, agent), *_guards(store, agent)]


def alerts_of(store: Store, agent: Registration) -> Sequence[Alert]:
    """The alerts about an agent."""
    every = store.list(Alert, space(agent.organization))
    return [alert for alert in every if alert.agent_id == agent.id]


def is_held(store: Store, organization: str, agent_id: str) -> bool:
    """The agent is in quarantine: a key that is made for it now is good only after its release."""
    found = store.find(Registration, space(organization), agent_id) if agent_id else None
    return found is not None and found.quarantined


def keys_as_wanted(store: Store, agents: Iterable[Key]) -> list[Write]:
    """What has to be written so that the keys of these agents are as their state wants."""
    found = (store.find(Registration, key.namespace, key.name) for key in agents)
    return [write for agent in found if agent is not None for write in _keys(store, agent)]


def keys_of(store: Store, agent: Registration) -> list[ApiKey]:
    """The keys that are narrowed to the agent."""
    return [
        key
        for key in store.list(ApiKey, SYSTEM)
        if key.agent_id == agent.id and key.organization == agent.organization
    ]


def services_of(store: Store, agent_id: str) -> list[Service]:
    """The services whose spec names the agent, and those that are still told about it."""
    return [service for service in store.list(Service) if agent_id in names_in(service)]


def names_in(service: Service) -> set[str]:
    """The agents that a service has to do with."""
    named = {service.agent.id} if service.agent else set[str]()
    return named | ({service.guard.agent_id} if service.guard else set())


def place(service: Service) -> str:
    """`namespace/name`."""
    return f"{service.namespace}/{service.name}"


def _keys(store: Store, agent: Registration) -> list[Write]:
    return [
        Put(replace(key, suspended=agent.quarantined))
        for key in keys_of(store, agent)
        if key.suspended is not agent.quarantined
    ]


def _guards(store: Store, agent: Registration) -> list[Write]:
    if agent.organization != DEFAULT:
        return []
    return [
        Put(replace(service, guard=guard))
        for service in services_of(store, agent.id)
        if (guard := _guard(store, agent, service)) != service.guard
    ]


def _guard(store: Store, agent: Registration, service: Service) -> ServiceGuard | None:
    """What is wanted of the service; a name that it has given up is no longer its business."""
    wanted = service.agent
    if wanted is None:
        return None
    if wanted.id != agent.id:  # another agent's look writes that one
        return service.guard
    if agent.service != place(service):
        why = f"agent {agent.id!r} is service {agent.service} already: one agent is one service"
        return ServiceGuard(agent_id=agent.id, waits=why)
    return ServiceGuard(
        agent_id=agent.id,
        quarantined=agent.quarantined,
        reason=agent.reason,
        by=agent.by,
        alert=agent.alert,
        at=agent.at,
        waits=_lacking(store, wanted),
    )


def _lacking(store: Store, wanted: ServiceAgent) -> str:
    """The first policy that is to be active and is not, in words."""
    if not wanted.policies:
        return ""
    active = [policy for policy in store.list(Policy, space(DEFAULT)) if policy.active]
    known = {policy.name for policy in active} | {policy.id for policy in active}
    lacking = [name for name in wanted.policies if name not in known]
    return f"security policy {lacking[0]!r} is not there, or not active" if lacking else ""
