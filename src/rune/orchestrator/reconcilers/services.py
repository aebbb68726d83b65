"""Services: as many copies of the newest template as wanted, a true status, and ways back from failures.

One look does one thing, the first of these that is due: keep copies that an older template of the same
words made, undo a rollout that failed, take a scaling on, and else close the gap that is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from rune.api.orchestrator.deletions import DeletionOperation
from rune.api.orchestrator.instances import DesiredState, Instance, InstanceStatus
from rune.api.orchestrator.scaling import ScalingState
from rune.api.orchestrator.services import Service, ServiceMetadata, ServiceStatus, UpdateStatus
from rune.api.resource import Key
from rune.core.clock import Clock
from rune.core.crud import put
from rune.core.store.base import Delete, Put, Store, Write
from rune.errors import Conflict
from rune.orchestrator import finalizers, quarantine, rollouts, scaling
from rune.orchestrator.copies import copies_of, new_copy, templates_of
from rune.orchestrator.machine import Machine
from rune.orchestrator.plan import (
    Action,
    CutOff,
    Fleet,
    Free,
    Hold,
    Retire,
    Start,
    generation,
    plan,
    rollout_of,
)
from rune.orchestrator.respec import Manner
from rune.orchestrator.revisions import returned
from rune.orchestrator.spec import Template
from rune.orchestrator.surge import Surge
from rune.orchestrator.traffic.addresses import Addresses, Pick
from rune.orchestrator.verdicts import Around, judge
from rune.orchestrator.waiting import Wait, Waits

KEPT_TEMPLATES: Final = 10
"""How many templates of a service are kept that no copy runs any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """All that one look at a service sees."""

    fleet: Fleet
    templates: Sequence[Template]
    newest: Template | None
    back: Template | None
    """Where a rollout that fails goes."""
    wait: Wait
    update: UpdateStatus

    @property
    def service(self) -> Service:
        """The service itself."""
        return self.fleet.service


class ServiceReconciler:
    """Makes the copies of a service what its spec says."""

    def __init__(self, store: Store, machine: Machine, surge: Surge, *, clock: Clock) -> None:
        self._store = store
        self._waits = Waits(store, machine.supplies)
        self._clock = clock
        self._node = machine.node
        self._addresses = Addresses(store, clock=clock)
        self._surge = surge

    async def reconcile(self, key: Key) -> float | None:
        """Look at what is there now, and write down one thing that brings it nearer."""
        service = self._store.find(Service, key.namespace, key.name)
        copies = copies_of(self._store, key.namespace, key.name)
        try:
            if service is None:
                return await self._forget(key, copies)
            if service.deletion_id and self._is_unwatched(service):
                return await self._watch_over(service, copies)
            return await self._settle(service, copies)
        except Conflict:
            return 0.0  # somebody was quicker: look again

    async def _settle(self, service: Service, copies: Sequence[Instance]) -> float | None:
        with self._addresses.lend() as pick:
            return await self._settle_with(service, copies, pick)

    async def _settle_with(self, service: Service, copies: Sequence[Instance], pick: Pick) -> float | None:
        if service.ports and not service.address:
            service = msgspec.structs.replace(service, address=pick())
        scene = self._scene(service, copies)
        writes: list[Write] = []
        if not scene.fleet.is_quarantined:
            writes = self._adopted(scene) or self._undone(scene) or self._scaled(scene)
        if writes:
            await self._store.commit(*writes, operation="reconcile.service")
            return 0.0
        await self._store.commit(*self._converged(scene, pick), operation="reconcile.service")
        return self._next_look(scene)

    def _scene(self, service: Service, copies: Sequence[Instance]) -> Scene:
        now = self._clock.now()
        mine = [item for item in copies if item.service_id in ("", service.id)]
        others = [item for item in copies if item.service_id not in ("", service.id)]
        templates = templates_of(self._store, service.namespace, service.name)
        fleet = Fleet(service=service, copies=mine, now=now)
        newest = rollouts.newest_template(fleet, templates)
        rollout = rollout_of(service, recreate=bool(newest and newest.recreate))
        fleet = Fleet(service=service, copies=mine, now=now, rollout=rollout)
        wait = self._waits.of(service, others, now=now)
        is_held = fleet.is_quarantined or bool(wait.why) or self._surge.keeps_waiting(service.key)
        undoes = rollouts.wishes(fleet).rollback and not service.deletion_id
        return Scene(
            fleet=fleet,
            templates=templates,
            newest=newest,
            back=rollouts.way_back(newest, templates) if undoes else None,
            wait=wait,
            update=rollouts.progressed(fleet, is_held=is_held),
        )

    def _adopted(self, scene: Scene) -> list[Write]:
        """Copies of an older template that says the same as the newest become copies of that."""
        newest = scene.newest
        if newest is None or scene.service.deletion_id:
            return []
        lineages = {item.generation: item.lineage for item in scene.templates}
        return [
            put(item, metadata=msgspec.structs.replace(item.metadata, generation=newest.generation))
            for item in scene.fleet.stale
            if item.metadata and lineages.get(generation(item)) == newest.lineage
        ]

    def _undone(self, scene: Scene) -> list[Write]:
        """A rollout whose copies fail goes back to what worked."""
        newest, back = scene.newest, scene.back
        if newest is None or back is None:
            return []
        why = rollouts.failure(scene.fleet, scene.update)
        if not why:
            return []
        note = f"revision {newest.generation} was undone, revision {back.generation} is back: {why}"
        undoes = scene.service.metadata.generation if scene.service.metadata else 0
        manner = Manner(again=True, automatic=True, note=note, undoes=undoes)
        now = self._clock.now()
        writes = returned(self._store, scene.service, back, now=now, manner=manner)
        return [*writes, put(newest, failed=True, note=f"undone: {why}")]

    def _scaled(self, scene: Scene) -> list[Write]:
        """A scaling goes on, ends, or is undone."""
        service = scene.service
        now = scaling.advanced(scene.fleet, is_held=bool(scene.wait.why))
        if now is None:
            return []
        if now.state is not ScalingState.ROLLED_BACK:
            return [put(service, scaling=now)]
        metadata = service.metadata or ServiceMetadata()
        told = msgspec.structs.replace(
            metadata,
            generation=metadata.generation + 1,
            rolled_back_generation=metadata.generation,
            updated_at=self._clock.now(),
        )
        return [
            put(
                service,
                scaling=now,
                scale=now.from_scale,
                metadata=told,
                status=ServiceStatus.UPDATING,
                status_reason="ScalingRolledBack",
                status_message=now.message,
            )
        ]

    def _converged(self, scene: Scene, pick: Pick) -> list[Write]:
        """The plan, what is to be noted, and templates that nobody needs."""
        writes: list[Write] = []
        for action in self._affordable(scene, plan(scene.fleet)):
            match action:
                case Start():
                    copy = new_copy(scene.service, clock=self._clock, node=self._node)
                    alone = scene.service.ports and copy.runner == "process"
                    writes.append(put(copy, ip=pick() if alone else ""))
                case Retire(instance):
                    writes.append(self._retire(instance))
                case Hold() | CutOff() | Free():
                    writes.append(quarantine.carried_out(action, scene.service, now=scene.fleet.now))
        return [*writes, *self._noted(scene), *self._proven(scene), *_outdated(scene)]

    def _affordable(self, scene: Scene, actions: Sequence[Action]) -> list[Action]:
        """The actions that nothing forbids now: neither a wait, nor that there are too many copies in all."""
        fleet, key = scene.fleet, scene.service.key
        others = [action for action in actions if not isinstance(action, Start)]
        starts = 0 if scene.wait.why else len(actions) - len(others)
        there = len(fleet.copies)
        have = max(there - fleet.wanted, 0) if fleet.stale else 0
        more = max(there + starts - fleet.wanted, 0) - have if fleet.stale else 0
        starts -= more - self._surge.claim(key, have, more)
        return [*([Start()] * starts), *others]

    def _noted(self, scene: Scene) -> list[Write]:
        service, newest = scene.service, scene.newest
        late = ""
        if scene.back is None and newest and not newest.proven:
            late = rollouts.overdue(scene.fleet, scene.update)
        around = Around(
            waiting=scene.wait.why,
            is_lost=scene.wait.is_lost,
            late=late,
            undone=newest.note if newest and newest.automatic else "",
            has_way_back=scene.back is not None,
        )
        verdict = judge(scene.fleet, around)
        metadata = service.metadata or ServiceMetadata()
        seen = msgspec.structs.replace(
            service,
            status=verdict.status,
            status_reason=verdict.reason,
            status_message=verdict.message,
            update=scene.update,
            metadata=msgspec.structs.replace(metadata, observed_generation=metadata.generation),
        )
        return [] if seen == self._store.find(Service, *service.key[1:]) else [put(seen)]

    def _proven(self, scene: Scene) -> list[Write]:
        """A template whose copies all came up is one to go back to."""
        newest = scene.newest
        if newest is None or newest.proven or not scene.fleet.wanted or not scene.fleet.is_complete:
            return []
        return [put(newest, proven=True)]

    def _next_look(self, scene: Scene) -> float | None:
        """When something may be different although nothing changed."""
        fleet = scene.fleet
        times = [scene.wait.again, fleet.next_available(), scaling.next_look(fleet)]
        end = rollouts.deadline(fleet, scene.update)
        if end and scene.newest and not scene.newest.proven:
            times.append((end - fleet.now).total_seconds())
        return min((at for at in times if at is not None and at > 0), default=None)

    def _retire(self, instance: Instance) -> Write:
        return retired(instance, clock=self._clock)

    async def _forget(self, key: Key, copies: Sequence[Instance]) -> None:
        """Copies whose service is gone end as well."""
        self._surge.claim(key, 0, 0)
        staying = [item for item in copies if item.desired is not DesiredState.DELETED]
        await self._store.commit(*map(self._retire, staying), operation="reconcile.orphans")

    def _is_unwatched(self, service: Service) -> bool:
        return self._store.find(DeletionOperation, service.namespace, service.deletion_id) is None

    async def _watch_over(self, service: Service, copies: Sequence[Instance]) -> None:
        """A deletion whose operation was lost gets a new one: the mark must lead to an end."""
        operation = finalizers.begin(service, len(copies), clock=self._clock)
        marked = put(service, deletion_id=operation.id)
        await self._store.commit(marked, Put(operation), operation="reconcile.deletion")


def retired(instance: Instance, *, clock: Clock, grace: int | None = None) -> Put:
    """The write that ends a copy; the deletion is noted once."""
    metadata = instance.metadata and msgspec.structs.replace(
        instance.metadata, deletion_timestamp=instance.metadata.deletion_timestamp or clock.now()
    )
    return put(
        instance,
        desired=DesiredState.DELETED,
        status=InstanceStatus.STOPPING,
        ready=False,
        ready_since=None,
        metadata=metadata,
        grace=instance.grace if grace is None else grace,
    )


def _outdated(scene: Scene) -> list[Write]:
    """Templates of which there are enough; never the one to go back to."""
    newest = scene.newest
    used = {generation(item) for item in scene.fleet.copies}
    if newest is not None:
        used.add(newest.generation)
        good = rollouts.last_good(newest, scene.templates)
        used |= {good.generation} if good else set()
    unused = [item for item in scene.templates if item.generation not in used]
    return [Delete(item.key) for item in unused[:-KEPT_TEMPLATES]]
