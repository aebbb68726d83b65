"""The stages of a deletion: what is to be done before a service is forgotten, and how far that has come.

An operation stands by itself: it names whose copies it ends, so that the name is free for a new service
while they do. Every stage is worked out from the store anew, so a crash between two loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from rune.api.orchestrator.deletions import DeletionOperation, Finalizer
from rune.api.orchestrator.instances import DesiredState, Instance
from rune.api.orchestrator.services import Service
from rune.core.clock import Clock
from rune.core.crud import put
from rune.core.store.base import Delete, Put, Store, Write
from rune.orchestrator.copies import copies_of, template_of, templates_of
from rune.orchestrator.spec import Template

KEPT_FOR: Final = timedelta(hours=1)
LATE_AFTER: Final = timedelta(seconds=120)
"""What copies may take to end beyond their grace; then the deletion says that it is stuck, and goes on."""
INSTANCES, DEREGISTER = "instance-cleanup", "service-deregister"
STEPS: Final = (INSTANCES, DEREGISTER)
PENDING, RUNNING, COMPLETED, FAILED = "pending", "running", "completed", "failed"
DELETING, FINALIZING = "deleting-instances", "running-finalizers"
EVER: Final = datetime.fromtimestamp(0, UTC)
MOST_NAMED: Final = 5
Decide = Callable[[DeletionOperation], Sequence[Write]]


def begin(service: Service, copies: int, *, clock: Clock) -> DeletionOperation:
    """The operation that deletes a service, about to begin."""
    now = clock.now()
    finalizers = [
        Finalizer(id=f"{step}-{int(now.timestamp())}", name=step, type=step, status=PENDING, created_at=now)
        for step in STEPS
    ]
    return DeletionOperation(
        id=f"delete-{service.namespace}-{service.name}-{clock.new_id()[:8]}",
        namespace=service.namespace,
        service_name=service.name,
        service_id=service.id,
        template_generation=service.metadata.template_generation if service.metadata else 0,
        total_instances=copies,
        start_time=now,
        attempt_at=now,
        status=DELETING,
        pending_operations=list(STEPS),
        finalizers=[msgspec.structs.replace(finalizers[0], status=RUNNING), *finalizers[1:]],
        finalizer_order=list(STEPS),
        finalizer_status=RUNNING,
    )


def left(store: Store, operation: DeletionOperation) -> list[Instance]:
    """The copies that have not ended yet."""
    return [
        item
        for item in copies_of(store, operation.namespace, operation.service_name)
        if (item.service_id == operation.service_id if operation.service_id else _is_marked(item))
    ]


def progressed(
    store: Store, operation: DeletionOperation, copies: Sequence[Instance], *, now: datetime
) -> DeletionOperation:
    """The operation while copies are left: how many have ended, and whether it takes too long."""
    is_late = now >= late_at(store, operation, copies)
    why = _why_late(copies) if is_late else ""
    failing = FAILED if is_late else RUNNING
    finalizers = [
        _changed(item, now, status=failing, error=why) if item.type == INSTANCES else item
        for item in operation.finalizers
    ]
    return msgspec.structs.replace(
        operation,
        status=FAILED if is_late else DELETING,
        failure_reason=why,
        deleted_instances=max(operation.total_instances - len(copies), 0),
        failed_instances=len(copies) if is_late else 0,
        finalizers=finalizers,
        finalizer_status=failing,
    )


def deregistering(operation: DeletionOperation, *, now: datetime) -> DeletionOperation:
    """The copies are gone; what is left is to forget the service."""
    states = {INSTANCES: COMPLETED, DEREGISTER: RUNNING}
    return msgspec.structs.replace(
        operation,
        status=FINALIZING,
        failure_reason="",
        deleted_instances=operation.total_instances,
        failed_instances=0,
        pending_operations=[DEREGISTER],
        finalizers=[
            _changed(item, now, status=states.get(item.type, item.status)) for item in operation.finalizers
        ],
        finalizer_status=RUNNING,
    )


def finished(operation: DeletionOperation, *, now: datetime, reason: str = "") -> DeletionOperation:
    """The operation at its end; a reason tells of an end that was forced."""
    return msgspec.structs.replace(
        operation,
        status=COMPLETED,
        failure_reason=reason,
        end_time=now,
        deleted_instances=operation.total_instances,
        failed_instances=0,
        pending_operations=[],
        finalizers=[_changed(item, now, status=COMPLETED) for item in operation.finalizers],
        finalizer_status=COMPLETED,
    )


def forgotten(store: Store, operation: DeletionOperation) -> list[Write]:
    """The writes that remove the service and its templates, not those of one that took its name."""
    service = store.find(Service, operation.namespace, operation.service_name)
    is_mine = service is not None and service.deletion_id == operation.id
    writes: list[Write] = [Delete(service.key, service.revision)] if service and is_mine else []
    templates = templates_of(store, operation.namespace, operation.service_name)
    return [*writes, *(Delete(item.key) for item in templates if is_mine or _is_of(item, operation))]


def late_at(store: Store, operation: DeletionOperation, copies: Sequence[Instance]) -> datetime:
    """When the copies should have ended."""
    graces = [_grace(store, item) for item in copies]
    began = operation.attempt_at or operation.start_time or EVER
    return began + LATE_AFTER + timedelta(seconds=max(graces, default=0))


def retried(operation: DeletionOperation, *, now: datetime) -> Write:
    """The write that gives it its time anew."""
    return put(operation, attempt_at=now, status=DELETING, failure_reason="", failed_instances=0)


def _grace(store: Store, item: Instance) -> int:
    if item.grace is not None:
        return item.grace
    template = template_of(store, item)
    return template.spec.drain_seconds if template else 0


def _is_marked(item: Instance) -> bool:
    return item.desired is DesiredState.DELETED


def _is_of(item: Template, operation: DeletionOperation) -> bool:
    return item.generation <= operation.template_generation


def _why_late(copies: Sequence[Instance]) -> str:
    names = ", ".join(item.id for item in copies[:MOST_NAMED])
    more = f" and {len(copies) - MOST_NAMED} more" if len(copies) > MOST_NAMED else ""
    return f"the runner has not confirmed the end of {names}{more}; it is tried again all the time"


def _changed(item: Finalizer, now: datetime, *, status: str, error: str = "") -> Finalizer:
    if (item.status, item.error) == (status, error):
        return item
    done = now if status == COMPLETED else None
    return msgspec.structs.replace(
        item, status=status, error=error, updated_at=now, completed_at=item.completed_at or done
    )


def noted(operation: DeletionOperation, now: DeletionOperation) -> list[Write]:
    """The write that brings one to the other, if that is news."""
    return [] if now == operation else [Put(now)]
