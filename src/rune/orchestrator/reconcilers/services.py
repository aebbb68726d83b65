"""Services: as many copies of the newest template as wanted, a true status, and the end of deletions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from rune.api.orchestrator.instances import DesiredState, Instance, InstanceStatus
from rune.api.orchestrator.services import Service, ServiceMetadata, UpdateStatus
from rune.api.orchestrator.specs import DependencyRef, ReadyWhen
from rune.api.resource import Key
from rune.core.clock import Clock
from rune.core.crud import put
from rune.core.store.base import Delete, Store, Write
from rune.errors import Conflict
from rune.orchestrator import deletions
from rune.orchestrator.copies import copies_of, new_copy, templates_of
from rune.orchestrator.mounts import NOTHING, Supplies
from rune.orchestrator.plan import Retire, Start, generation, judge, plan, rollout_of, template_generation
from rune.orchestrator.uses import CONFIGMAP, SECRET, Use

KEPT_TEMPLATES: Final = 10
"""How many templates of a service are kept that no copy runs any more."""


class ServiceReconciler:
    """Makes the copies of a service what its spec says."""

    def __init__(self, store: Store, *, clock: Clock, node: str, supplies: Supplies = NOTHING) -> None:
        self._store = store
        self._supplies = supplies
        self._clock = clock
        self._node = node

    async def reconcile(self, key: Key) -> float | None:
        """Plan from what is there now and write it down, all in one commit."""
        service = self._store.find(Service, key.namespace, key.name)
        copies = copies_of(self._store, key.namespace, key.name)
        try:
            if service is None:
                return await self._forget(copies)
            if service.deletion_id and not copies:
                await deletions.finish(self._store, service, clock=self._clock)
                return None
            return await self._settle(service, copies)
        except Conflict:
            return 0.0  # somebody was quicker: look again

    async def _settle(self, service: Service, copies: Sequence[Instance]) -> float | None:
        templates = templates_of(self._store, service.namespace, service.name)
        recreate = bool(templates and templates[-1].recreate)
        waiting, look_again = ("", None) if service.deletion_id else self._unmet(service)
        writes: list[Write] = []
        for action in plan(service, copies, rollout_of(service, recreate=recreate)):
            match action:
                case Start() if not waiting:
                    writes.append(put(new_copy(service, clock=self._clock, node=self._node)))
                case Retire(instance):
                    writes.append(self._retire(instance))
                case Start():
                    pass
        writes += self._noted(service, copies, waiting)
        used = {generation(item) for item in copies} | {template_generation(service)}
        unused = [item for item in templates if item.generation not in used]
        writes += [Delete(item.key) for item in unused[:-KEPT_TEMPLATES]]
        if service.deletion_id:
            writes += deletions.progress(self._store, service, len(copies))
        await self._store.commit(*writes, operation="reconcile.service")
        return look_again

    def _retire(self, instance: Instance) -> Write:
        metadata = instance.metadata and msgspec.structs.replace(
            instance.metadata, deletion_timestamp=self._clock.now()
        )
        return put(
            instance,
            desired=DesiredState.DELETED,
            status=InstanceStatus.STOPPING,
            ready=False,
            metadata=metadata,
        )

    def _noted(self, service: Service, copies: Sequence[Instance], waiting: str) -> list[Write]:
        verdict = judge(service, copies, waiting)
        metadata = service.metadata or ServiceMetadata()
        seen = msgspec.structs.replace(
            service,
            status=verdict.status,
            status_reason=verdict.reason,
            status_message=verdict.message,
            update=_update_status(service, copies),
            metadata=msgspec.structs.replace(metadata, observed_generation=metadata.generation),
        )
        return [] if seen == service else [put(seen)]

    async def _forget(self, copies: Sequence[Instance]) -> None:
        """Copies whose service is gone end as well."""
        staying = [item for item in copies if item.desired is not DesiredState.DELETED]
        await self._store.commit(*map(self._retire, staying), operation="reconcile.orphans")

    def _unmet(self, service: Service) -> tuple[str, float | None]:
        """What the service waits for, in words, and when to look again if that has an end."""
        waited = self._clock.now() - ((service.metadata and service.metadata.updated_at) or self._clock.now())
        for ref in service.dependencies:
            why = self._why_unmet(service, ref)
            if not why:
                continue
            left = ref.timeout_seconds - waited.total_seconds() if ref.timeout_seconds else None
            if left is None or left > 0:
                return why, left
            if not ref.optional:
                return f"{why}, and {ref.timeout_seconds} s are over", None
        return self._supplies.missing(service), None

    def _why_unmet(self, service: Service, ref: DependencyRef) -> str:
        namespace = ref.namespace or service.namespace
        if not ref.service:
            use = (
                Use(SECRET, namespace, ref.secret) if ref.secret else Use(CONFIGMAP, namespace, ref.configmap)
            )
            return "" if ref.optional or self._supplies.has(use) else f"{use} does not exist"
        name = ref.service if namespace == service.namespace else f"{namespace}/{ref.service}"
        if self._store.find(Service, namespace, ref.service) is None:
            return "" if ref.optional else f"service {name} does not exist"
        copies = copies_of(self._store, namespace, ref.service)
        if any(_is_far_enough(item, ref.ready_when) for item in copies):
            return ""
        return f"service {name} is not {_word(ref.ready_when)} yet"


def _is_far_enough(copy: Instance, ready_when: ReadyWhen) -> bool:
    if ready_when is ReadyWhen.STARTED:
        return copy.status not in (InstanceStatus.PENDING, InstanceStatus.CREATED)
    if ready_when is ReadyWhen.RUNNING:
        return copy.pid > 0
    return copy.ready


def _word(ready_when: ReadyWhen) -> str:
    return "healthy" if ready_when is ReadyWhen.UNSPECIFIED else ready_when.name.lower()


def _update_status(service: Service, copies: Sequence[Instance]) -> UpdateStatus:
    newest = template_generation(service)
    staying = [item for item in copies if item.desired is not DesiredState.DELETED]
    updated = [item for item in staying if generation(item) == newest]
    return UpdateStatus(
        template_generation=newest,
        desired=service.scale,
        updated=len(updated),
        updated_ready=sum(item.ready for item in updated),
        available=sum(item.ready for item in staying),
        outdated=len(staying) - len(updated),
    )
