"""Handlers of instances: reads, and the three things an operator can do with one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

from rune.api.common import OK
from rune.api.orchestrator import instances as api
from rune.api.orchestrator import services
from rune.api.orchestrator.instances import DesiredState, Instance, InstanceStatus
from rune.api.orchestrator.services import Service
from rune.core.call import Call
from rune.core.clock import Clock
from rune.core.crud import change, page, put
from rune.core.dispatch import Dispatcher
from rune.core.store.base import Store, Write
from rune.errors import FailedPrecondition, NotFound
from rune.orchestrator import listing
from rune.orchestrator.usages import Usages

Decide = Callable[[Instance], Sequence[Write]]


class Instances:
    """What can be done with instances."""

    def __init__(self, store: Store, *, clock: Clock, usages: Usages | None = None) -> None:
        self._store = store
        self._usages = usages or Usages({})
        self._clock = clock

    def register(self, dispatcher: Dispatcher) -> None:
        """Make these the handlers of the operations."""
        for operation, handler in (
            (api.get, self.get),
            (api.list_, self.list),
            (services.list_instances, self.list),
            (api.watch, self.watch),
            (api.start, self.start),
            (api.stop, self.stop),
            (api.restart, self.restart),
        ):
            dispatcher.handles(operation)(handler)

    async def get(self, call: Call, ask: api.GetInstanceRequest) -> api.InstanceResponse:
        """One instance, with what it uses now."""
        instance = await self._usages.shown(self._get(ask.namespace, ask.id))
        return api.InstanceResponse(instance=instance, status=OK)

    async def list(self, call: Call, ask: api.ListInstancesRequest) -> api.ListInstancesResponse:
        """The instances that match."""
        revision = self._store.revision
        rows = [
            row
            for row in listing.visible(self._store, call, ask, kind=listing.INSTANCES)
            if ask.service_name in ("", row.service_name, row.service_id)
            and ask.node_id in ("", row.node_id)
            and ask.status in (api.InstanceStatus.UNSPECIFIED, row.status)
        ]
        chosen, paging = page(rows, ask.paging)
        return api.ListInstancesResponse(instances=chosen, status=OK, paging=paging, revision=revision)

    async def watch(
        self, call: Call, ask: api.WatchInstancesRequest
    ) -> AsyncIterator[api.WatchInstancesResponse]:
        """What there is, then every change."""
        async for seen in listing.watched(self._store, call, ask, kind=listing.INSTANCES):
            if ask.service_id in ("", seen.resource.service_id, seen.resource.service_name):
                yield api.WatchInstancesResponse(
                    instance=seen.resource, event_type=seen.event_type, revision=seen.revision
                )

    async def start(self, call: Call, ask: api.InstanceActionRequest) -> api.InstanceResponse:
        """Run it again, at once; one that runs is left alone."""

        def decide(found: Instance) -> Sequence[Write]:
            if found.desired is DesiredState.RUNNING and found.pid:
                return []
            return [self._begun(found)]

        return await self._change(call, ask, decide)

    async def stop(self, call: Call, ask: api.InstanceActionRequest) -> api.InstanceResponse:
        """End it, and leave it so."""

        def decide(found: Instance) -> Sequence[Write]:
            if found.desired is DesiredState.STOPPED:
                return []
            return [
                put(
                    found,
                    desired=DesiredState.STOPPED,
                    status=InstanceStatus.STOPPING,
                    ready=False,
                    grace=_grace(ask),
                    updated_at=self._clock.now(),
                )
            ]

        return await self._change(call, ask, decide)

    async def restart(self, call: Call, ask: api.InstanceActionRequest) -> api.InstanceResponse:
        """Its next attempt begins as soon as the last one has ended, from whatever state."""
        return await self._change(call, ask, lambda found: [self._begun(found, _grace(ask))])

    def _begun(self, found: Instance, grace: int | None = None) -> Write:
        if found.held:
            raise FailedPrecondition(f"instance {found.namespace}/{found.id} is held: {found.held}")
        return put(
            found,
            desired=DesiredState.RUNNING,
            attempt=found.attempt + 1,
            streak=0,
            start_after=None,
            status=InstanceStatus.STARTING,
            status_message="",
            failure_reason="",
            ready=False,
            grace=grace,
            updated_at=self._clock.now(),
        )

    def _get(self, namespace: str, name: str) -> Instance:
        instance = self._store.find(Instance, namespace, name)
        if instance is None:
            raise NotFound(f"instance not found: {namespace}/{name}")
        return instance

    async def _change(
        self, call: Call, ask: api.InstanceActionRequest, decide: Decide
    ) -> api.InstanceResponse:
        def guarded(found: Instance) -> Sequence[Write]:
            if found.desired is DesiredState.DELETED or self._owner(found) is None:
                raise FailedPrecondition(f"instance {found.namespace}/{found.id} is being removed")
            return decide(found)

        changed = await change(
            self._store,
            lambda: self._get(ask.namespace, ask.id),
            guarded,
            operation=call.operation.permission,
        )
        return api.InstanceResponse(instance=changed, status=OK)

    def _owner(self, instance: Instance) -> Service | None:
        return self._store.find(Service, instance.namespace, instance.service_name)


def _grace(ask: api.InstanceActionRequest) -> int | None:
    return 0 if ask.force else ask.timeout_seconds or None
