"""The services of a `Plane`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import msgspec

from rune.api.common import EventType
from rune.api.orchestrator import deletions, services
from rune.core.call import Call
from rune.errors import AlreadyExists, FailedPrecondition, InvalidArgument, ResourceExhausted, Violation
from unit.client.plane import BORN, Plane


def new_plane() -> Plane:
    """A plane that has services too."""
    plane = Plane()
    _reads(plane)
    _writes(plane)
    _changes(plane)
    return plane


def stored(plane: Plane, ask: Any, old: services.Service | None) -> services.Service:
    """The service as it turns out, kept with its copies."""
    plane.asked.append(("put", ask))
    service = ask.service
    if service.name == "busy":
        raise ResourceExhausted("too many calls", retry_after=2.5)
    if service.name == "odd":
        raise InvalidArgument.of([Violation("service.ports[0].port", "is taken by runed itself")])
    before = old.metadata.generation if old and old.metadata else 0
    metadata = services.ServiceMetadata(
        generation=before + 1, observed_generation=before + 1, created_at=BORN
    )
    service = plane.starts(msgspec.structs.replace(service, metadata=metadata, runtime="process"))
    for copy in service.instances:
        plane.put(copy, EventType.ADDED)
    return plane.put(service, EventType.MODIFIED if old else EventType.ADDED)


def _reads(plane: Plane) -> None:
    handles = plane.dispatcher.handles

    @handles(services.get)
    async def get(call: Call, ask: services.GetServiceRequest) -> services.ServiceResponse:
        return services.ServiceResponse(service=plane.find(services.Service, call.namespace, ask.name))

    @handles(services.list_)
    async def list_(call: Call, ask: services.ListServicesRequest) -> services.ListServicesResponse:
        plane.asked.append(("list", ask))
        found = sorted(plane.all(services.Service, call.namespace), key=lambda s: (s.namespace, s.name))
        return services.ListServicesResponse(services=found, revision=plane.revision)

    @handles(services.watch)
    async def watch(
        call: Call, ask: services.WatchServicesRequest
    ) -> AsyncIterator[services.WatchServicesResponse]:
        plane.asked.append(("watch", ask))
        async for revision, event, value in plane.changes(services.Service, call.namespace, ask.resume):
            yield services.WatchServicesResponse(service=value, event_type=event, revision=revision)


def _writes(plane: Plane) -> None:
    handles = plane.dispatcher.handles

    @handles(services.create)
    async def create(call: Call, ask: services.CreateServiceRequest) -> services.ServiceResponse:
        if ask.service.key in plane.kept:
            raise AlreadyExists(f"service {ask.service.name!r} exists")
        return services.ServiceResponse(service=stored(plane, ask, None))

    @handles(services.update)
    async def update(call: Call, ask: services.UpdateServiceRequest) -> services.ServiceResponse:
        old = plane.find(services.Service, call.namespace, ask.service.name)
        return services.ServiceResponse(service=stored(plane, ask, old))

    @handles(services.delete)
    async def delete(call: Call, ask: services.DeleteServiceRequest) -> services.DeleteServiceResponse:
        old = plane.find(services.Service, call.namespace, ask.name)
        if not ask.no_dependencies and any(
            d.service == ask.name for s in plane.all(services.Service, "*") for d in s.dependencies
        ):
            raise FailedPrecondition(f"service {ask.name!r} is what others depend on")
        plane.asked.append(("delete", ask))
        if not ask.dry_run:
            plane.put(old, EventType.DELETED)
        if not ask.dry_run:
            now = BORN + timedelta(seconds=1)
            ended = deletions.DeletionOperation(id="d-1", namespace=call.namespace, end_time=now)
            plane.deletions[ended.id] = ended
        return services.DeleteServiceResponse(deletion_id="d-1")

    @handles(deletions.watch)
    async def watch(
        call: Call, ask: deletions.WatchDeletionsRequest
    ) -> AsyncIterator[deletions.WatchDeletionsResponse]:
        yield deletions.WatchDeletionsResponse(operation=plane.deletions[ask.name])


def _changes(plane: Plane) -> None:
    handles = plane.dispatcher.handles

    @handles(services.scale)
    async def scale(call: Call, ask: services.ScaleServiceRequest) -> services.ServiceResponse:
        old = plane.find(services.Service, call.namespace, ask.name)
        return services.ServiceResponse(
            service=stored(
                plane,
                services.UpdateServiceRequest(service=msgspec.structs.replace(old, scale=ask.scale)),
                old,
            )
        )

    @handles(services.restart)
    async def restart(call: Call, ask: services.RestartServiceRequest) -> services.RestartServiceResponse:
        old = plane.find(services.Service, call.namespace, ask.name)
        stored(plane, services.UpdateServiceRequest(service=old), old)
        return services.RestartServiceResponse(template_generation=2, scale=old.scale)
