"""Deletions of services: operations that can be followed from the first mark to the last step."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import msgspec

from rune.api.orchestrator import deletions as api
from rune.api.orchestrator.deletions import DeletionOperation, Finalizer
from rune.api.orchestrator.services import Service
from rune.core.call import Call
from rune.core.clock import Clock
from rune.core.crud import put
from rune.core.dispatch import Dispatcher
from rune.core.store.base import Delete, Put, Store, Write
from rune.errors import NotFound
from rune.orchestrator.copies import templates_of

KEPT_FOR: Final = timedelta(hours=1)
INSTANCES, DEREGISTER = "instance-cleanup", "service-deregister"
STEPS: Final = (INSTANCES, DEREGISTER)


class Deletions:
    """What can be asked about deletions."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def register(self, dispatcher: Dispatcher) -> None:
        """Make these the handlers of the operations."""
        dispatcher.handles(api.get)(self.get)
        dispatcher.handles(api.list_)(self.list)

    async def get(self, call: Call, ask: api.GetDeletionStatusRequest) -> api.GetDeletionStatusResponse:
        """A deletion by its id, or the newest of a service."""
        found = self._store.find(DeletionOperation, ask.namespace, ask.name)
        kept = self._store.list(DeletionOperation, ask.namespace)
        of_service = [item for item in kept if item.service_name == ask.name]
        operation = found or max(of_service, key=lambda item: item.revision, default=None)
        if operation is None:
            raise NotFound(f"deletion operation not found: {ask.name}")
        return api.GetDeletionStatusResponse(operation=operation)

    async def list(
        self, call: Call, ask: api.ListDeletionOperationsRequest
    ) -> api.ListDeletionOperationsResponse:
        """Deletions, newest first."""
        namespace = None if call.namespace == "*" else call.namespace
        kept = [item for item in self._store.list(DeletionOperation, namespace) if call.sees(item.namespace)]
        chosen = [item for item in kept if not ask.status or item.status == ask.status]
        chosen.sort(key=lambda item: item.start_time.timestamp() if item.start_time else 0.0, reverse=True)
        return api.ListDeletionOperationsResponse(operations=chosen)


def begin(service: Service, copies: int, *, clock: Clock) -> DeletionOperation:
    """The operation that deletes a service, about to begin."""
    now = clock.now()
    finalizers = [
        Finalizer(id=f"{step}-{int(now.timestamp())}", name=step, type=step, status="pending", created_at=now)
        for step in STEPS
    ]
    return DeletionOperation(
        id=f"delete-{service.namespace}-{service.name}-{clock.new_id()[:8]}",
        namespace=service.namespace,
        service_name=service.name,
        total_instances=copies,
        start_time=now,
        status="deleting-instances",
        pending_operations=list(STEPS),
        finalizers=finalizers,
        finalizer_order=list(STEPS),
        finalizer_status="pending",
    )


def progress(store: Store, service: Service, left: int) -> list[Write]:
    """The write that tells how many copies are left, if that is news."""
    operation = store.find(DeletionOperation, service.namespace, service.deletion_id)
    if operation is None:
        return []
    done = max(operation.total_instances - left, 0)
    return [] if operation.deleted_instances == done else [put(operation, deleted_instances=done)]


async def finish(store: Store, service: Service, *, clock: Clock) -> None:
    """Remove the service, its templates and its operation's last steps, in one commit."""
    writes: list[Write] = [Delete(service.key, service.revision)]
    writes += [Delete(item.key) for item in templates_of(store, service.namespace, service.name)]
    operation = store.find(DeletionOperation, service.namespace, service.deletion_id)
    if operation is not None:
        writes.append(Put(_finished(operation, clock=clock)))
    writes += [Delete(item.key) for item in outdated(store, service.namespace, clock=clock)]
    await store.commit(*writes, operation="reconcile.deletion")


def outdated(store: Store, namespace: str, *, clock: Clock) -> Sequence[DeletionOperation]:
    """Operations that ended too long ago to be kept."""
    horizon = clock.now() - KEPT_FOR
    kept = store.list(DeletionOperation, namespace)
    return [item for item in kept if item.end_time is not None and item.end_time < horizon]


def _finished(operation: DeletionOperation, *, clock: Clock) -> DeletionOperation:
    now = clock.now()
    finalizers = [
        msgspec.structs.replace(item, status="completed", updated_at=now, completed_at=now)
        for item in operation.finalizers
    ]
    return msgspec.structs.replace(
        operation,
        status="completed",
        end_time=now,
        deleted_instances=operation.total_instances,
        pending_operations=[],
        finalizers=finalizers,
        finalizer_status="completed",
    )
