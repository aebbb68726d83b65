"""Deletions: each goes through its stages to its end, also when runed was away in the middle of one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rune.api.orchestrator.deletions import DeletionOperation
from rune.api.orchestrator.instances import DesiredState, Instance
from rune.api.resource import Key
from rune.core.clock import Clock
from rune.core.store.base import Delete, Put, Store
from rune.errors import Conflict, NotFound
from rune.orchestrator import finalizers
from rune.orchestrator.reconcilers.services import retired

OPERATION = "reconcile.deletion"


class DeletionReconciler:
    """Takes deletions on, one stage a look."""

    def __init__(self, store: Store, *, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def reconcile(self, key: Key) -> float | None:
        """The next stage; an operation that ended is forgotten when it has been kept long enough."""
        operation = self._store.find(DeletionOperation, key.namespace, key.name)
        if operation is None:
            return None
        try:
            return await self._take_on(operation, self._clock.now())
        except (Conflict, NotFound):
            return 0.0  # somebody was quicker: look again

    async def _take_on(self, operation: DeletionOperation, now: datetime) -> float | None:
        if operation.end_time is not None:
            return await self._keep(operation, until=operation.end_time + finalizers.KEPT_FOR, now=now)
        copies = finalizers.left(self._store, operation)
        if copies:
            return await self._end(operation, copies, now=now)
        if operation.status != finalizers.FINALIZING:
            await self._store.commit(Put(finalizers.deregistering(operation, now=now)), operation=OPERATION)
            return 0.0
        writes = finalizers.forgotten(self._store, operation)
        await self._store.commit(*writes, Put(finalizers.finished(operation, now=now)), operation=OPERATION)
        return None

    async def _end(
        self, operation: DeletionOperation, copies: Sequence[Instance], *, now: datetime
    ) -> float | None:
        """Wait for the copies; looked at again at each that is gone, and when they are late."""
        unmarked = [item for item in copies if item.desired is not DesiredState.DELETED]
        writes = [retired(item, clock=self._clock) for item in unmarked]
        seen = finalizers.progressed(self._store, operation, copies, now=now)
        await self._store.commit(*writes, *finalizers.noted(operation, seen), operation=OPERATION)
        late = (finalizers.late_at(self._store, operation, copies) - now).total_seconds()
        return late if late > 0 else None

    async def _keep(self, operation: DeletionOperation, *, until: datetime, now: datetime) -> float | None:
        over = (until - now).total_seconds()
        if over > 0:
            return over
        await self._store.commit(Delete(operation.key, operation.revision), operation=OPERATION)
        return None
