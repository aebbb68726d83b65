"""Handlers of services: each writes down what is wanted; the reconcilers see to the rest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import msgspec

from rune.api.common import OK, Status
from rune.api.orchestrator import services as api
from rune.api.orchestrator.deletions import DeletionOperation
from rune.api.orchestrator.instances import DesiredState, Instance, InstanceStatus
from rune.api.orchestrator.services import Service, ServiceMetadata
from rune.api.resource import Key
from rune.core.call import Call
from rune.core.clock import Clock
from rune.core.crud import change, put
from rune.core.dispatch import Dispatcher
from rune.core.store.base import Put, Store, Write
from rune.errors import (
    AlreadyExists,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unimplemented,
)
from rune.orchestrator import deletions, listing
from rune.orchestrator.copies import copies_of
from rune.orchestrator.dependents import Dependents, Ref
from rune.orchestrator.fitting import Fits, anything_fits
from rune.orchestrator.namespaces import create_in
from rune.orchestrator.spec import SPEC, TEMPLATE, Template, find_cycle, is_same, spec_of, template_name

TAG: Final = "rune/deployment-tag"
DELETE_WAIT: Final = 300
MOST_SHOWN: Final = 4096

Decide = Callable[[Service], Sequence[Write]]


class Services:
    """What can be done with services."""

    def __init__(
        self, store: Store, dependents: Dependents, *, clock: Clock, fits: Fits = anything_fits
    ) -> None:
        self._store = store
        self._fits = fits
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
            (api.delete, self.delete),
            (api.scale, self.scale),
            (api.watch_scaling, self.watch_scaling),
            (api.restart, self.restart),
        ):
            dispatcher.handles(operation)(handler)

    async def create(self, call: Call, ask: api.CreateServiceRequest) -> api.ServiceResponse:
        """Store a new service with its first template."""
        spec = _tagged(spec_of(ask.service), ask.deployment_tag)
        await self._fits(spec)
        self._refuse_cycle(spec)
        if self._store.find(Service, spec.namespace, spec.name) is not None:
            raise AlreadyExists(f"service {spec.namespace}/{spec.name} exists: update it instead")
        now = self._clock.now()
        metadata = ServiceMetadata(
            generation=1,
            template_generation=1,
            created_at=now,
            updated_at=now,
            last_non_zero_scale=spec.scale,
        )
        service = msgspec.structs.replace(
            spec, id=self._clock.new_id(), status=api.ServiceStatus.PENDING, metadata=metadata
        )
        await create_in(
            self._store,
            spec.namespace,
            [Put(service), Put(_template(spec, 1))],
            ensure=ask.ensure_namespace,
            clock=self._clock,
            operation=call.operation.permission,
        )
        return self._answer(spec.namespace, spec.name)

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
        await self._fits(spec)
        self._refuse_cycle(spec)

        def decide(found: Service) -> Sequence[Write]:
            if is_same(found, spec) and not ask.force:
                return []
            return self._respecified(found, spec, again=ask.force, recreate=ask.force)

        await self._change(call, (spec.namespace, spec.name), decide, revision=ask.service.revision)
        return self._answer(spec.namespace, spec.name)

    async def scale(self, call: Call, ask: api.ScaleServiceRequest) -> api.ServiceResponse:
        """Set the number of copies."""
        if ask.mode is api.ScalingMode.GRADUAL:
            raise Unimplemented("mode GRADUAL is not supported: gradual scaling is not part of this release")

        def decide(found: Service) -> Sequence[Write]:
            if found.scale == ask.scale:
                return []
            return self._respecified(found, msgspec.structs.replace(found, scale=ask.scale), again=False)

        await self._change(call, (ask.namespace, ask.name), decide)
        return self._answer(ask.namespace, ask.name)

    async def restart(self, call: Call, ask: api.RestartServiceRequest) -> api.RestartServiceResponse:
        """A new template that says the same: every copy is replaced by one of it."""

        def decide(found: Service) -> Sequence[Write]:
            return self._respecified(found, found, again=True)

        service = await self._change(call, (ask.namespace, ask.name), decide)
        generation = service.metadata.template_generation if service.metadata else 0
        return api.RestartServiceResponse(template_generation=generation, scale=service.scale)

    async def delete(self, call: Call, ask: api.DeleteServiceRequest) -> api.DeleteServiceResponse:
        """Mark it for deletion; unless detached, wait until it is gone."""
        service = self._store.find(Service, ask.namespace, ask.name)
        if service is None and ask.ignore_not_found:
            return api.DeleteServiceResponse(status=Status(message="not found"))
        if service is None:
            raise _missing(ask.namespace, ask.name)
        self._refuse_dependents(service, ask)
        if ask.dry_run:
            return api.DeleteServiceResponse(
                deletion_id="dry-run",
                status=Status(message="dry_run"),
                cleanup_operations=list(deletions.STEPS),
            )
        marked = await change(
            self._store,
            lambda: self._get(ask.namespace, ask.name),
            lambda found: self._marked(found, ask),
            operation=call.operation.permission,
        )
        if not ask.detach:
            await self._gone(marked, ask.timeout_seconds or DELETE_WAIT)
        return self._deletion(marked)

    async def watch_scaling(
        self, call: Call, ask: api.WatchScalingRequest
    ) -> AsyncIterator[api.ScalingStatusResponse]:
        """How the scaling is going, at every change, until it is complete."""
        revision = self._store.revision
        last = self._scaling(ask)
        yield last
        if last.complete:
            return
        async for seen in self._store.watch(revision):
            if not any(_concerns(item.key, ask) for item in seen.mutations):
                continue
            now = self._scaling(ask)
            if now != last:
                yield now
            if now.complete:
                return
            last = now

    def _scaling(self, ask: api.WatchScalingRequest) -> api.ScalingStatusResponse:
        service = self._get(ask.namespace, ask.service_name)
        target = ask.target_scale or service.scale
        copies = copies_of(self._store, ask.namespace, ask.service_name)
        staying = [item for item in copies if item.desired is not DesiredState.DELETED]
        running = sum(item.ready for item in staying)
        failed = [item for item in staying if item.status is InstanceStatus.FAILED]
        return api.ScalingStatusResponse(
            current_scale=len(staying),
            target_scale=target,
            running_instances=running,
            pending_instances=max(len(staying) - running - len(failed), 0),
            complete=running == len(staying) == target == len(copies),
            failed_instances=len(failed),
            terminating_instances=len(copies) - len(staying),
            problems=[_problem(item) for item in failed],
        )

    def _get(self, namespace: str, name: str) -> Service:
        service = self._store.find(Service, namespace, name)
        if service is None:
            raise _missing(namespace, name)
        return service

    async def _change(self, call: Call, ref: Ref, decide: Decide, *, revision: int = 0) -> Service:
        def guarded(found: Service) -> Sequence[Write]:
            if found.deletion_id:
                raise FailedPrecondition(f"service {ref[0]}/{ref[1]} is being deleted ({found.deletion_id})")
            return decide(found)

        return await change(
            self._store,
            lambda: self._get(*ref),
            guarded,
            revision=revision,
            operation=call.operation.permission,
        )

    def _respecified(
        self, found: Service, spec: Service, *, again: bool, recreate: bool = False
    ) -> Sequence[Write]:
        """The writes of a changed spec: the service, and a template when its copies change."""
        metadata = found.metadata or ServiceMetadata()
        renewed = again or not is_same(found, spec, TEMPLATE)
        generation = metadata.template_generation + (1 if renewed else 0)
        told = msgspec.structs.replace(
            metadata,
            generation=metadata.generation + 1,
            template_generation=generation,
            updated_at=self._clock.now(),
            last_non_zero_scale=spec.scale or metadata.last_non_zero_scale,
        )
        taken = {name: getattr(spec, name) for name in SPEC}
        service = put(found, **taken, metadata=told, status=api.ServiceStatus.UPDATING)
        return [service, Put(_template(spec, generation, recreate=recreate))] if renewed else [service]

    def _marked(self, found: Service, ask: api.DeleteServiceRequest) -> Sequence[Write]:
        if found.deletion_id:
            raise FailedPrecondition(
                f"deletion operation already in progress for service {found.namespace}/{found.name}"
                f" (ID: {found.deletion_id})"
            )
        copies = copies_of(self._store, found.namespace, found.name)
        operation = deletions.begin(found, len(copies), clock=self._clock)
        grace = 0 if ask.force or ask.now else ask.grace_period or None
        told = [put(item, grace=grace) for item in copies if grace is not None]
        return [put(found, deletion_id=operation.id), Put(operation), *told]

    async def _gone(self, service: Service, seconds: int) -> None:
        """Until the deletion has ended; raises DeadlineExceeded."""
        key = (service.namespace, service.deletion_id)
        revision = self._store.revision
        try:
            async with asyncio.timeout(seconds):
                changes = self._store.watch(revision)
                while (found := self._store.find(DeletionOperation, *key)) and found.end_time is None:
                    await anext(changes)
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"service {service.namespace}/{service.name} is not gone after {seconds} s;"
                f" follow it with deletion {service.deletion_id}"
            ) from error

    def _deletion(self, marked: Service) -> api.DeleteServiceResponse:
        operation = self._store.find(DeletionOperation, marked.namespace, marked.deletion_id)
        return api.DeleteServiceResponse(
            deletion_id=marked.deletion_id,
            status=Status(message="completed" if operation and operation.end_time else "in_progress"),
            cleanup_operations=list(deletions.STEPS),
            finalizers=operation.finalizers if operation else [],
        )

    def _refuse_cycle(self, spec: Service) -> None:
        cycle = find_cycle((spec.namespace, spec.name), self._dependents.edges_with(self._store, spec))
        if cycle:
            raise InvalidArgument(f"dependency validation failed: dependency cycle detected: {cycle}")

    def _refuse_dependents(self, service: Service, ask: api.DeleteServiceRequest) -> None:
        users = self._dependents.of(service.namespace, service.name)
        if users and not (ask.no_dependencies or ask.force):
            names = ", ".join(f"{namespace}/{name}" for namespace, name in sorted(users))
            raise FailedPrecondition(
                f"cannot delete {service.namespace}/{service.name}; dependents exist: {names}"
                " (use --no-dependencies to override)"
            )

    def _answer(self, namespace: str, name: str) -> api.ServiceResponse:
        return api.ServiceResponse(service=self._with_copies(self._get(namespace, name)), status=OK)

    def _with_copies(self, service: Service) -> Service:
        """The service as answers show it; while nothing changes it is the same object, encoded already."""
        copies = copies_of(self._store, service.namespace, service.name)
        if not copies:
            return service
        known = self._shown.get(service.key)
        if known is not None and known[0] is service and _same(known[1].instances, copies):
            return known[1]
        shown = msgspec.structs.replace(service, instances=copies)
        if len(self._shown) >= MOST_SHOWN:
            self._shown.clear()
        self._shown[service.key] = (service, shown)
        return shown


def _same(some: Sequence[Instance], others: Sequence[Instance]) -> bool:
    return len(some) == len(others) and all(one is other for one, other in zip(some, others, strict=True))


def _template(spec: Service, generation: int, *, recreate: bool = False) -> Template:
    return Template(
        name=template_name(spec.name, generation),
        namespace=spec.namespace,
        generation=generation,
        spec=Service(
            name=spec.name, namespace=spec.namespace, **{name: getattr(spec, name) for name in SPEC}
        ),
        recreate=recreate,
    )


def _tagged(spec: Service, tag: str) -> Service:
    return msgspec.structs.replace(spec, labels={**spec.labels, TAG: tag}) if tag else spec


def _missing(namespace: str, name: str) -> NotFound:
    return NotFound(f"service not found: {namespace}/{name}")


def _concerns(key: tuple[str, str, str], ask: api.WatchScalingRequest) -> bool:
    kind, namespace, name = key
    if namespace != ask.namespace:
        return False
    if kind == Service.KIND:
        return name == ask.service_name
    return kind == Instance.KIND and name.startswith(f"{ask.service_name}-instance-")


def _problem(instance: Instance) -> api.InstanceProblem:
    return api.InstanceProblem(
        name=instance.id,
        status=instance.status.value,
        reason=instance.failure_reason,
        message=instance.status_message,
        restart_count=instance.metadata.restart_count if instance.metadata else 0,
    )
