"""Namespaces that are marked for deletion: what is in them ends in the ordinary ways, then all of it goes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, NoReturn

from rune.api.orchestrator.instances import Instance
from rune.api.orchestrator.namespaces import Namespace, NamespaceDeletion
from rune.api.orchestrator.services import Service
from rune.api.resource import Key, Resource
from rune.core.clock import Clock
from rune.core.crud import change, put
from rune.core.reconcile import Worker, follow
from rune.core.store.base import Delete, Mutation, Put, Store, Write
from rune.errors import Conflict, NotFound
from rune.orchestrator import finalizers
from rune.orchestrator.copies import copies_of
from rune.orchestrator.namespaces import contents

OPERATION: Final = "reconcile.namespace"


class NamespaceReconciler:
    """Carries deletions of namespaces through, also those that an earlier runed began."""

    def __init__(self, store: Store, kinds: Sequence[type[Resource]], *, clock: Clock) -> None:
        self._store = store
        self._kinds = kinds
        self._clock = clock
        self._worker = Worker(self.reconcile, clock=clock, concurrency=4)

    async def run(self) -> NoReturn:
        """Follow the log until cancelled. Every namespace is looked at once in the beginning."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._worker.run())
            await follow(self._store, self._worker, Namespace, route=self._route)

    def _route(self, mutation: Mutation) -> None:
        kind, namespace, _ = mutation.key
        if kind == Namespace.KIND:
            self._worker.look(mutation.key)
        elif kind in (Service.KIND, Instance.KIND) and mutation.after is None:
            self._worker.look(Key(Namespace.KIND, "", namespace))

    async def reconcile(self, key: Key) -> float | None:
        """End what is in it, then remove it; call it off when it was to go only if empty, and is not."""
        namespace = self._store.find(Namespace, "", key.name)
        if namespace is None or namespace.deletion is NamespaceDeletion.UNSPECIFIED:
            return None
        try:
            if self._is_to_stay(namespace):
                await self._call_off(namespace)
            elif not await self._is_idle(namespace):
                return None  # looked at again when the next service or instance is gone
            else:
                return await self._remove(namespace)
        except (Conflict, NotFound):
            return 0.0  # somebody was quicker: look again
        return None

    async def _remove(self, namespace: Namespace) -> float | None:
        """Everything at once, when nobody can add to it any more.

        Whatever was on its way when the mark became visible is visible after one more commit.
        """
        await self._store.commit(put(namespace, updated_at=self._clock.now()), operation=OPERATION)
        last = self._store.get(Namespace, "", namespace.name)
        if self._is_to_stay(last) or not await self._is_idle(last):
            return 0.0
        writes: list[Write] = [
            Delete(item.key, item.revision)
            for kind in self._kinds
            for item in self._store.list(kind, namespace.name)
        ]
        await self._store.commit(*writes, Delete(last.key, last.revision), operation=OPERATION)
        return None

    def _is_to_stay(self, namespace: Namespace) -> bool:
        """It was to go only if it were empty, and is not."""
        only_if_empty = namespace.deletion is NamespaceDeletion.IF_EMPTY
        return only_if_empty and bool(contents(self._store, self._kinds, namespace.name))

    async def _call_off(self, namespace: Namespace) -> None:
        kept = put(namespace, deletion=NamespaceDeletion.UNSPECIFIED, updated_at=self._clock.now())
        await self._store.commit(kept, operation=OPERATION)

    async def _is_idle(self, namespace: Namespace) -> bool:
        """Nothing runs in it. Every service that is not yet being deleted is from now on."""
        services = self._store.list(Service, namespace.name)
        for service in services:
            if not service.deletion_id:
                await self._end(service)
        return not services and not self._store.list(Instance, namespace.name)

    async def _end(self, service: Service) -> None:
        await change(
            self._store,
            lambda: self._store.get(Service, service.namespace, service.name),
            self._ended,
            operation=OPERATION,
        )

    def _ended(self, service: Service) -> Sequence[Write]:
        if service.deletion_id:
            return []
        copies = copies_of(self._store, service.namespace, service.name)
        operation = finalizers.begin(service, len(copies), clock=self._clock)
        return [put(service, deletion_id=operation.id), Put(operation)]
