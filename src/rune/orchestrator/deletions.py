"""Handlers of deletions: begin one, follow it, try it again, and clear one that is stuck."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

from rune.api.common import Status
from rune.api.orchestrator import deletions as api
from rune.api.orchestrator import services
from rune.api.orchestrator.deletions import DeletionOperation
from rune.api.orchestrator.services import Service
from rune.core.call import Call
from rune.core.clock import Clock
from rune.core.crud import change, put
from rune.core.dispatch import Dispatcher
from rune.core.store.base import Delete, Put, Store, Write
from rune.errors import DeadlineExceeded, FailedPrecondition, NotFound
from rune.orchestrator import finalizers, listing
from rune.orchestrator.copies import copies_of
from rune.orchestrator.dependents import Dependents
from rune.orchestrator.respec import get_service, missing

DELETE_WAIT: Final = 300
DELETIONS: Final = listing.Listed(
    kind=DeletionOperation, fields={"name": lambda item: item.id, "service": lambda item: item.service_name}
)


class Deletions:
    """What can be done with deletions."""

    def __init__(self, store: Store, dependents: Dependents, *, clock: Clock) -> None:
        self._store = store
        self._dependents = dependents
        self._clock = clock

    def register(self, dispatcher: Dispatcher) -> None:
        """Make these the handlers of the operations."""
        for operation, handler in (
            (services.delete, self.delete),
            (api.get, self.get),
            (api.list_, self.list),
            (api.watch, self.watch),
            (api.retry, self.retry),
            (api.force, self.force),
        ):
            dispatcher.handles(operation)(handler)

    async def delete(self, call: Call, ask: services.DeleteServiceRequest) -> services.DeleteServiceResponse:
        """Mark it for deletion; unless detached, wait until it is gone."""
        service = self._store.find(Service, ask.namespace, ask.name)
        if service is None and ask.ignore_not_found:
            return services.DeleteServiceResponse(status=Status(message="not found"))
        if service is None:
            raise missing(ask.namespace, ask.name)
        self._refuse_dependents(service, ask)
        if ask.dry_run:
            return services.DeleteServiceResponse(
                deletion_id="dry-run",
                status=Status(message="dry_run"),
                cleanup_operations=list(finalizers.STEPS),
            )
        marked = await change(
            self._store,
            lambda: get_service(self._store, (ask.namespace, ask.name)),
            lambda found: self._marked(found, ask),
            operation=call.operation.permission,
        )
        if not ask.detach:
            await self._gone(marked, ask.timeout_seconds or DELETE_WAIT)
        return self._deletion(marked)

    async def get(self, call: Call, ask: api.GetDeletionStatusRequest) -> api.GetDeletionStatusResponse:
        """A deletion by its id, or the newest of a service."""
        return api.GetDeletionStatusResponse(operation=self._find(ask.namespace, ask.name))

    async def list(
        self, call: Call, ask: api.ListDeletionOperationsRequest
    ) -> api.ListDeletionOperationsResponse:
        """Deletions, newest first."""
        namespace = None if call.namespace == "*" else call.namespace
        kept = [item for item in self._store.list(DeletionOperation, namespace) if call.sees(item.namespace)]
        chosen = [item for item in kept if not ask.status or item.status == ask.status]
        chosen.sort(key=lambda item: item.start_time.timestamp() if item.start_time else 0.0, reverse=True)
        return api.ListDeletionOperationsResponse(operations=chosen)

    async def watch(
        self, call: Call, ask: api.WatchDeletionsRequest
    ) -> AsyncIterator[api.WatchDeletionsResponse]:
        """What there is, then every change."""
        async for seen in listing.watched(self._store, call, _Asked(ask.resume), kind=DELETIONS):
            if ask.name in ("", seen.resource.id, seen.resource.service_name):
                yield api.WatchDeletionsResponse(
                    operation=seen.resource, event_type=seen.event_type, revision=seen.revision
                )

    async def retry(self, call: Call, ask: api.RetryDeletionRequest) -> api.DeletionResponse:
        """Begin to wait anew; what is left is killed, and looked at at once."""

        def decide(found: DeletionOperation) -> Sequence[Write]:
            copies = finalizers.left(self._store, found)
            now = self._clock.now()
            return [
                finalizers.retried(found, now=now),
                *(put(item, grace=0, updated_at=now) for item in copies),
            ]

        return api.DeletionResponse(operation=await self._change(call, ask, decide))

    async def force(self, call: Call, ask: api.ForceDeletionRequest) -> api.DeletionResponse:
        """Forget the service and its copies now; the runner is told to kill what it still has of them."""

        def decide(found: DeletionOperation) -> Sequence[Write]:
            copies = finalizers.left(self._store, found)
            reason = f"cleared by force: {len(copies)} copies were not seen to end"
            return [
                *finalizers.forgotten(self._store, found),
                *(Delete(item.key, item.revision) for item in copies),
                Put(finalizers.finished(found, now=self._clock.now(), reason=reason)),
            ]

        return api.DeletionResponse(operation=await self._change(call, ask, decide))

    async def _change(
        self,
        call: Call,
        ask: api.RetryDeletionRequest | api.ForceDeletionRequest,
        decide: finalizers.Decide,
    ) -> DeletionOperation:
        """Change a deletion that has not ended; the newest of a service is looked for once."""
        key = self._find(ask.namespace, ask.name).id

        def guarded(found: DeletionOperation) -> Sequence[Write]:
            if found.end_time is not None:
                raise FailedPrecondition(f"deletion {found.id} has ended: nothing is left to be done")
            return decide(found)

        return await change(
            self._store,
            lambda: self._find(ask.namespace, key),
            guarded,
            operation=call.operation.permission,
        )

    def _find(self, namespace: str, name: str) -> DeletionOperation:
        """By its id, or the newest of a service; raises NotFound."""
        found = self._store.find(DeletionOperation, namespace, name)
        if found is not None:
            return found
        near = self._store.near(DeletionOperation, namespace, f"delete-{namespace}-{name}-")
        of_service = [item for item in near if item.service_name == name]
        newest = max(of_service, key=lambda item: (item.end_time is None, item.revision), default=None)
        if newest is None:
            raise NotFound(f"deletion operation not found: {name}")
        return newest

    def _marked(self, found: Service, ask: services.DeleteServiceRequest) -> Sequence[Write]:
        if found.deletion_id:
            raise FailedPrecondition(
                f"deletion operation already in progress for service {found.namespace}/{found.name}"
                f" (ID: {found.deletion_id})"
            )
        copies = copies_of(self._store, found.namespace, found.name)
        mine = [item for item in copies if item.service_id in ("", found.id)]
        operation = finalizers.begin(found, len(mine), clock=self._clock)
        grace = 0 if ask.force or ask.now else ask.grace_period or None
        told = [put(item, grace=grace) for item in mine if grace is not None]
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

    def _deletion(self, marked: Service) -> services.DeleteServiceResponse:
        operation = self._store.find(DeletionOperation, marked.namespace, marked.deletion_id)
        return services.DeleteServiceResponse(
            deletion_id=marked.deletion_id,
            status=Status(message="completed" if operation and operation.end_time else "in_progress"),
            cleanup_operations=list(finalizers.STEPS),
            finalizers=operation.finalizers if operation else [],
        )

    def _refuse_dependents(self, service: Service, ask: services.DeleteServiceRequest) -> None:
        users = self._dependents.of(service.namespace, service.name)
        if users and not (ask.no_dependencies or ask.force):
            names = ", ".join(f"{namespace}/{name}" for namespace, name in sorted(users))
            raise FailedPrecondition(
                f"cannot delete {service.namespace}/{service.name}; dependents exist: {names}"
                " (use --no-dependencies to override)"
            )


class _Asked:
    """A watch request without selectors."""

    label_selector: dict[str, str] = {}
    field_selector: dict[str, str] = {}

    def __init__(self, resume: int) -> None:
        self.resume = resume
