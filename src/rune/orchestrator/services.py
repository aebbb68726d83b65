"""Handlers of services: each writes down what is wanted; the reconcilers see to the rest."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from operator import is_
from typing import Final

import msgspec

from rune.api.common import OK
from rune.api.orchestrator import services as api
from rune.api.orchestrator.instances import DesiredState, Instance
from rune.api.orchestrator.services import Service, ServiceMetadata
from rune.api.orchestrator.specs import ServiceDiscovery
from rune.api.resource import Key
from rune.core.call import Call
from rune.core.clock import Clock
from rune.core.dispatch import Dispatcher
from rune.core.settle import TRIES
from rune.core.store.base import Put, Store, Write
from rune.errors import AlreadyExists, Conflict, InvalidArgument, NotFound
from rune.orchestrator import autoscale, listing
from rune.orchestrator.admission import Admission
from rune.orchestrator.copies import copies_of
from rune.orchestrator.dependents import Dependents
from rune.orchestrator.namespaces import create_in
from rune.orchestrator.plan import template_generation
from rune.orchestrator.reconcilers.services import retired
from rune.orchestrator.respec import Manner, change_service, first_template, get_service, respecified
from rune.orchestrator.same import is_same
from rune.orchestrator.spec import find_cycle, spec_of
from rune.orchestrator.traffic import exposure

TAG: Final = "rune/deployment-tag"
MOST_SHOWN: Final = 4096


class Services:
    """What can be done with services."""

    def __init__(
        self, store: Store, dependents: Dependents, *, clock: Clock, admission: Admission | None = None
    ) -> None:
        self._store = store
        self._admission = admission or Admission()
        self._dependents = dependents
        self._clock = clock
        self._shown: dict[Key, tuple[Service, Service]] = {}

    def register(self, dispatcher: Dispatcher) -> None:
        """Make these the handlers of the operations."""
        for operation, handler in (
            (api.create, self.create),
            (api.get, self.get),
            (api.list_, self.list),
            (api.watch, self.watch),
            (api.update, self.update),
            (api.restart, self.restart),
        ):
            dispatcher.handles(operation)(handler)

    async def create(self, call: Call, ask: api.CreateServiceRequest) -> api.ServiceResponse:
        """Store a new service with its first template."""
        spec = _tagged(spec_of(ask.service), ask.deployment_tag)
        await self._admission.admit(call.principal, spec)
        self._refuse_cycle(spec)
        exposure.refuse_taken(self._store, spec)
        spec = autoscale.begun(None, spec)
        for _ in range(TRIES):
            writes = [*self._made(spec), *self._cleared(spec)]
            try:
                await create_in(
                    self._store,
                    spec.namespace,
                    writes,
                    ensure=ask.ensure_namespace,
                    clock=self._clock,
                    operation=call.operation.permission,
                )
            except (Conflict, NotFound):
                continue  # what was being deleted under this name went on meanwhile
            return self._answer(spec.namespace, spec.name)
        raise Conflict(f"service {spec.namespace}/{spec.name} is changed by others all the time; try again")

    async def get(self, call: Call, ask: api.GetServiceRequest) -> api.ServiceResponse:
        """One service with its copies."""
        return self._answer(ask.namespace, ask.name)

    async def list(self, call: Call, ask: api.ListServicesRequest) -> api.ListServicesResponse:
        """The services that match."""
        revision = self._store.revision
        chosen, paging = listing.listed(self._store, call, ask, kind=listing.SERVICES)
        return api.ListServicesResponse(
            services=[self._with_copies(item) for item in chosen], status=OK, paging=paging, revision=revision
        )

    async def watch(
        self, call: Call, ask: api.WatchServicesRequest
    ) -> AsyncIterator[api.WatchServicesResponse]:
        """What there is, then every change."""
        async for seen in listing.watched(self._store, call, ask, kind=listing.SERVICES):
            yield api.WatchServicesResponse(
                service=seen.resource, event_type=seen.event_type, revision=seen.revision
            )

    async def update(self, call: Call, ask: api.UpdateServiceRequest) -> api.ServiceResponse:
        """Replace the spec; a new template only where the old one differs, or when forced."""
        spec = _tagged(spec_of(ask.service), ask.deployment_tag)
        await self._admission.admit(call.principal, spec)
        self._refuse_cycle(spec)
        exposure.refuse_taken(self._store, spec)

        def decide(found: Service) -> Sequence[Write]:
            wanted = autoscale.begun(found, spec)
            if is_same(found, wanted) and not ask.force:
                return []
            manner = Manner(again=ask.force, recreate=ask.force)
            return respecified(self._store, found, wanted, now=self._clock.now(), manner=manner)

        ref = (spec.namespace, spec.name)
        await change_service(self._store, ref, decide, call=call, revision=ask.service.revision)
        return self._answer(spec.namespace, spec.name)

    async def restart(self, call: Call, ask: api.RestartServiceRequest) -> api.RestartServiceResponse:
        """A new template that says the same: every copy is replaced by one of it."""

        def decide(found: Service) -> Sequence[Write]:
            manner = Manner(again=True, note="restarted")
            return respecified(self._store, found, found, now=self._clock.now(), manner=manner)

        service = await change_service(self._store, (ask.namespace, ask.name), decide, call=call)
        return api.RestartServiceResponse(
            template_generation=template_generation(service), scale=service.scale
        )

    def _made(self, spec: Service) -> list[Write]:
        """The writes of a new service; one that is being deleted leaves it the name, and its numbers."""
        now = self._clock.now()
        old = self._store.find(Service, spec.namespace, spec.name)
        if old is not None and not old.deletion_id:
            raise AlreadyExists(f"service {spec.namespace}/{spec.name} exists: update it instead")
        generation = template_generation(old) + 1 if old else 1
        metadata = ServiceMetadata(
            generation=1,
            template_generation=generation,
            created_at=now,
            updated_at=now,
            last_non_zero_scale=spec.scale,
        )
        service = msgspec.structs.replace(
            spec,
            id=self._clock.new_id(),
            status=api.ServiceStatus.PENDING,
            metadata=metadata,
            revision=old.revision if old else 0,
        )
        return [Put(service), Put(first_template(spec, generation, now=now))]

    def _cleared(self, spec: Service) -> list[Write]:
        """The copies of the service that had the name go on ending, without it."""
        copies = copies_of(self._store, spec.namespace, spec.name)
        return [
            retired(item, clock=self._clock) for item in copies if item.desired is not DesiredState.DELETED
        ]

    def _refuse_cycle(self, spec: Service) -> None:
        cycle = find_cycle((spec.namespace, spec.name), self._dependents.edges_with(self._store, spec))
        if cycle:
            raise InvalidArgument(f"dependency validation failed: dependency cycle detected: {cycle}")

    def _answer(self, namespace: str, name: str) -> api.ServiceResponse:
        return api.ServiceResponse(
            service=self._with_copies(get_service(self._store, (namespace, name))), status=OK
        )

    def _with_copies(self, service: Service) -> Service:
        """The service as answers show it; while nothing changes it is the same object, encoded already."""
        copies = copies_of(self._store, service.namespace, service.name)
        if not copies:
            return service
        known = self._shown.get(service.key)
        if known is not None and known[0] is service and _same(known[1].instances, copies):
            return known[1]
        found = service.discovery or ServiceDiscovery()
        told = msgspec.structs.replace(found, vip=service.address) if service.address else service.discovery
        shown = msgspec.structs.replace(service, instances=copies, discovery=told)
        if len(self._shown) >= MOST_SHOWN:
            self._shown.clear()
        self._shown[service.key] = (service, shown)
        return shown


def _same(some: Sequence[Instance], others: Sequence[Instance]) -> bool:
    return len(some) == len(others) and all(map(is_, some, others))


def _tagged(spec: Service, tag: str) -> Service:
    return msgspec.structs.replace(spec, labels={**spec.labels, TAG: tag}) if tag else spec
