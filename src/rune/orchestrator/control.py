"""Control: the reconcilers, fed from the log and from the runners."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import NoReturn

from rune.api.orchestrator.deletions import DeletionOperation
from rune.api.orchestrator.instances import Instance
from rune.api.orchestrator.services import Service
from rune.api.resource import Key
from rune.core.clock import Clock
from rune.core.reconcile import Worker
from rune.core.store.base import Mutation, Store
from rune.errors import OutOfRange
from rune.orchestrator.dependents import Dependents
from rune.orchestrator.machine import Machine
from rune.orchestrator.reconcilers.deletions import DeletionReconciler
from rune.orchestrator.reconcilers.instances import InstanceReconciler
from rune.orchestrator.reconcilers.services import ServiceReconciler
from rune.orchestrator.runners.base import Observed, Runner
from rune.orchestrator.surge import Surge
from rune.orchestrator.uses import CONFIGMAP, SECRET, Use, holders, users

logger = logging.getLogger(__name__)


class Control:
    """Turns every change of the log, and every start and end on a runner, into a look at a key."""

    def __init__(self, store: Store, dependents: Dependents, machine: Machine, *, clock: Clock) -> None:
        self._store = store
        self._dependents = dependents
        self._runners = machine.runners
        self._where: dict[str, Key] = {}
        surge = Surge(store, most=machine.surge)
        services = ServiceReconciler(store, machine, surge, clock=clock)
        instances = InstanceReconciler(store, machine, clock=clock)
        self._services = Worker(services.reconcile, clock=clock)
        surge.on_room(self._services.look)
        self._deletions = Worker(DeletionReconciler(store, clock=clock).reconcile, clock=clock)
        # Ending an instance takes as long as its grace: many of them must not hold up the rest.
        self._instances = Worker(instances.reconcile, clock=clock, concurrency=512)
        self._hurries = Worker(instances.hurry, clock=clock, concurrency=512)

    @property
    def depth(self) -> int:
        """How many keys wait for a look or are being looked at."""
        return self._services.depth + self._instances.depth + self._deletions.depth

    def look_at(self, instance: str) -> None:
        """Something about an instance may have changed: its probe spoke, or its runner saw something."""
        key = self._where.get(instance)
        if key is not None:
            self._instances.look(key)

    def look_at_runner(self, name: str) -> None:
        """Its engine was lost, or is back: everything there may be otherwise than it is written down."""
        for instance in self._store.list(Instance):
            if instance.runner == name:
                self._instances.look(instance.key)
        self._look_at_strangers([self._runners[name]])

    async def run(self) -> NoReturn:
        """Follow the log until cancelled. Everything is looked at once in the beginning."""
        for runner in self._runners.values():
            runner.on_change(self._saw)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._services.run())
            tasks.create_task(self._instances.run())
            tasks.create_task(self._deletions.run())
            tasks.create_task(self._hurries.run())
            while True:
                await self._follow(self._look_at_all())

    async def _follow(self, after: int) -> None:
        """Route every change after a revision; returns when the log went on too fast to be followed."""
        try:
            async for change in self._store.watch(after):
                for mutation in change.mutations:
                    self._route(mutation)
        except OutOfRange:
            logger.warning("the log was not followed fast enough: everything is looked at again")

    def _look_at_all(self) -> int:
        """Look at everything once; returns the revision from which on changes must be followed."""
        revision = self._store.revision
        for service in self._store.list(Service):
            self._dependents.saw(service, service)
            self._services.look(service.key)
        for deletion in self._store.list(DeletionOperation):
            self._deletions.look(deletion.key)
        for instance in self._store.list(Instance):
            self._where[instance.id] = instance.key
            self._instances.look(instance.key)
            self._services.look(Key(Service.KIND, instance.namespace, instance.service_name))
        self._look_at_strangers(self._runners.values())
        return revision

    def _look_at_strangers(self, runners: Iterable[Runner]) -> None:
        """What runs and nobody wants is stopped and removed: the store alone says who is wanted."""
        wanted = {instance.id for instance in self._store.list(Instance)}
        for seen in (seen for runner in runners for seen in runner.all()):
            if seen.instance not in wanted:
                self._instances.look(Key(Instance.KIND, "", seen.instance))

    def _saw(self, seen: Observed) -> None:
        self.look_at(seen.instance)

    def _route(self, mutation: Mutation) -> None:
        kind, namespace, name = mutation.key
        if kind == Instance.KIND:
            self._route_instance(mutation)
        elif kind == DeletionOperation.KIND:
            self._deletions.look(mutation.key)
        elif kind == Service.KIND:
            before = mutation.before if isinstance(mutation.before, Service) else None
            after = mutation.after if isinstance(mutation.after, Service) else None
            self._dependents.saw(before, after)
            self._services.look(mutation.key)
            self._look_at_dependents(namespace, name)
        elif kind in (SECRET, CONFIGMAP):
            self._look_at_users(Use(kind, namespace, name))

    def _look_at_users(self, use: Use) -> None:
        """Some may wait for it, and some may have it mounted."""
        for service in users(self._store, use):
            self._services.look(service.key)
        for instance in holders(self._store, use):
            self._instances.look(instance.key)

    def _route_instance(self, mutation: Mutation) -> None:
        instance = mutation.after or mutation.before
        if not isinstance(instance, Instance):
            return
        if mutation.after is None:
            self._where.pop(instance.id, None)
            self._look_at_deletions(instance)
        else:
            self._where[instance.id] = mutation.key
        self._instances.look(mutation.key)
        if mutation.after is None or instance.grace is not None:
            self._hurries.look(mutation.key)
        self._services.look(Key(Service.KIND, instance.namespace, instance.service_name))
        self._look_at_dependents(instance.namespace, instance.service_name)

    def _look_at_deletions(self, gone: Instance) -> None:
        """Those that may have waited for this copy."""
        name = f"delete-{gone.namespace}-{gone.service_name}-"
        for deletion in self._store.near(DeletionOperation, gone.namespace, name):
            self._deletions.look(deletion.key)

    def _look_at_dependents(self, namespace: str, name: str) -> None:
        for user in self._dependents.of(namespace, name):
            self._services.look(Key(Service.KIND, *user))
