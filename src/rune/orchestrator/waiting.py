"""What a service waits for before its copies start: dependencies, and the ports of the one before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from rune.api.orchestrator.instances import Instance, InstanceStatus
from rune.api.orchestrator.services import Service
from rune.api.orchestrator.specs import DependencyRef, ReadyWhen
from rune.core.store.base import Store
from rune.orchestrator.copies import copies_of
from rune.orchestrator.mounts import Supplies
from rune.orchestrator.uses import CONFIGMAP, SECRET, Use

PREDECESSOR: Final = timedelta(seconds=60)
"""How long the copies of a deleted service may keep their ports from one that took its name: longer than
most need to end, and short enough that one that never ends holds nobody up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Why copies do not start yet; no reason, no wait."""

    why: str = ""
    again: float | None = None
    """In how many seconds it looks different by itself; None: only when something changes."""
    is_lost: bool = False
    """It has gone on for longer than it may."""


NO_WAIT: Final = Wait()


class Waits:
    """Says what services wait for."""

    def __init__(self, store: Store, supplies: Supplies) -> None:
        self._store = store
        self._supplies = supplies

    def of(self, service: Service, others: Sequence[Instance], *, now: datetime) -> Wait:
        """What the service waits for; `others` are copies of a service that had its name before."""
        if service.deletion_id:
            return NO_WAIT
        wait = Wait(why=unguarded(service))
        wait = wait if wait.why else _predecessor(service, others, now=now)
        wait = wait if wait.why else self._dependencies(service, now=now)
        return wait if wait.why else Wait(why=self._supplies.missing(service))

    def _dependencies(self, service: Service, *, now: datetime) -> Wait:
        since = (service.metadata and service.metadata.updated_at) or now
        waited = (now - since).total_seconds()
        lost: Wait | None = None
        for ref in service.dependencies:
            why = self._why_unmet(service, ref)
            if not why:
                continue
            left = ref.timeout_seconds - waited if ref.timeout_seconds else None
            if left is None or left > 0:
                return Wait(why=why, again=left)
            if not ref.optional:
                lost = lost or Wait(why=f"{why}, and {ref.timeout_seconds} s are over", is_lost=True)
        return lost or NO_WAIT

    def _why_unmet(self, service: Service, ref: DependencyRef) -> str:
        namespace = ref.namespace or service.namespace
        if not ref.service:
            kind, needed = (SECRET, ref.secret) if ref.secret else (CONFIGMAP, ref.configmap)
            use = Use(kind, namespace, needed)
            return "" if ref.optional or self._supplies.has(use) else f"{use} does not exist"
        name = ref.service if namespace == service.namespace else f"{namespace}/{ref.service}"
        if self._store.find(Service, namespace, ref.service) is None:
            return "" if ref.optional else f"service {name} does not exist"
        if any(
            is_far_enough(item, ref.ready_when) for item in copies_of(self._store, namespace, ref.service)
        ):
            return ""
        return f"service {name} is not {_word(ref.ready_when)} yet"


def unguarded(service: Service) -> str:
    """Why agent security does not let copies start; empty when it does, or when it is no agent."""
    if service.agent is None:
        return ""
    if service.guard is None or service.guard.agent_id != service.agent.id:
        return f"agent {service.agent.id!r} is not registered yet"
    return service.guard.waits


def is_far_enough(copy: Instance, ready_when: ReadyWhen) -> bool:
    """A copy of a dependency has come as far as it must."""
    if ready_when is ReadyWhen.STARTED:
        return copy.status not in (InstanceStatus.PENDING, InstanceStatus.CREATED)
    if ready_when is ReadyWhen.RUNNING:
        return copy.pid > 0
    return copy.ready


def _predecessor(service: Service, others: Sequence[Instance], *, now: datetime) -> Wait:
    ends = [item.metadata.deletion_timestamp for item in others if item.metadata]
    left = max((end + PREDECESSOR - now for end in ends if end), default=timedelta())
    if not _may_want_the_same_ports(service) or left <= timedelta():
        return NO_WAIT
    why = f"{len(others)} copies of the deleted service of this name still end"
    return Wait(why=why, again=left.total_seconds())


def _word(ready_when: ReadyWhen) -> str:
    return "healthy" if ready_when is ReadyWhen.UNSPECIFIED else ready_when.name.lower()


def _may_want_the_same_ports(service: Service) -> bool:
    """Of a process nobody knows before it runs whether it keeps to its own address."""
    return any(port.host_port or service.runtime != "docker" for port in service.ports)
