"""Handlers of scaling: set a number of copies, at once or by steps, and follow how it is reached."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

import msgspec

from rune.api.common import OK, Status
from rune.api.orchestrator import services as api
from rune.api.orchestrator.autoscale import Autoscaling
from rune.api.orchestrator.instances import DesiredState, Instance, InstanceStatus
from rune.api.orchestrator.scaling import Scaling, ScalingState
from rune.api.orchestrator.services import Service
from rune.core.call import Call
from rune.core.clock import Clock
from rune.core.crud import put
from rune.core.dispatch import Dispatcher
from rune.core.store.base import Put, Store, Write
from rune.errors import Conflict, FailedPrecondition
from rune.orchestrator import autoscale, scaling
from rune.orchestrator.copies import copies_of
from rune.orchestrator.respec import change_service, get_service, respecified

ACTIVE: Final = ScalingState.IN_PROGRESS


class Scalings:
    """What can be done with the number of copies."""

    def __init__(self, store: Store, *, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def register(self, dispatcher: Dispatcher) -> None:
        """Make these the handlers of the operations."""
        dispatcher.handles(api.scale)(self.scale)
        dispatcher.handles(api.watch_scaling)(self.watch)

    async def scale(self, call: Call, ask: api.ScaleServiceRequest) -> api.ServiceResponse:
        """Set the number of copies; a scaling that is under way ends with it."""
        ref = (ask.namespace, ask.name)
        service = await change_service(self._store, ref, lambda found: self._scaled(found, ask), call=call)
        copies = copies_of(self._store, *ref)
        return api.ServiceResponse(service=msgspec.structs.replace(service, instances=copies), status=OK)

    async def watch(
        self, call: Call, ask: api.WatchScalingRequest
    ) -> AsyncIterator[api.ScalingStatusResponse]:
        """How it is going, at every change, until it is complete or never will be."""
        revision = self._store.revision
        last = self._seen(ask)
        yield last
        if _is_over(last):
            return
        async for seen in self._store.watch(revision):
            if not any(_concerns(item.key, ask) for item in seen.mutations):
                continue
            now = self._seen(ask)
            if now != last:
                yield now
            if _is_over(now):
                return
            last = now

    def _scaled(self, found: Service, ask: api.ScaleServiceRequest) -> Sequence[Write]:
        at = _steps_at(found)
        begun = scaling.begun(ask, at=at, now=self._clock.now())
        is_same = _is_same(found.scaling, begun) if begun else at == found.scale
        told = autoscale.by_hand(found, ask.scale, now=self._clock.now())
        if found.scale == ask.scale and is_same:
            return [] if told == found.autoscaling else [put(found, autoscaling=told)]
        wanted = msgspec.structs.replace(found, scale=ask.scale)
        writes = respecified(self._store, found, wanted, now=self._clock.now())
        return [_with(write, begun, told) for write in writes]

    def _seen(self, ask: api.WatchScalingRequest) -> api.ScalingStatusResponse:
        service = get_service(self._store, (ask.namespace, ask.service_name))
        target = ask.target_scale or service.scale
        copies = copies_of(self._store, ask.namespace, ask.service_name)
        copies = [item for item in copies if item.service_id in ("", service.id)]
        staying = [item for item in copies if item.desired is not DesiredState.DELETED]
        running = sum(item.ready for item in staying)
        failed = [item for item in staying if item.status is InstanceStatus.FAILED]
        steps = service.scaling
        is_settled = steps is None or steps.state is not ACTIVE
        return api.ScalingStatusResponse(
            current_scale=len(staying),
            target_scale=target,
            running_instances=running,
            pending_instances=max(len(staying) - running - len(failed), 0),
            complete=running == len(staying) == target == len(copies) and is_settled,
            status=_never(service, ask.target_scale),
            failed_instances=len(failed),
            terminating_instances=len(copies) - len(staying),
            problems=[_problem(item) for item in failed],
            scaling=steps,
        )


def _steps_at(service: Service) -> int:
    """How many copies the service wants at this moment."""
    steps = service.scaling
    return steps.step_scale if steps and steps.state is ACTIVE else service.scale


def _is_same(old: Scaling | None, new: Scaling) -> bool:
    """The same wish again: it goes on as it was."""
    return (
        old is not None
        and old.state is ACTIVE
        and all(
            getattr(old, name) == getattr(new, name)
            for name in ("mode", "target_scale", "step_size", "interval_seconds", "rollback")
        )
    )


def _with(write: Write, steps: Scaling | None, told: Autoscaling | None) -> Write:
    if isinstance(write, Put) and isinstance(write.value, Service):
        return Put(msgspec.structs.replace(write.value, scaling=steps, autoscaling=told))
    return write


def _never(service: Service, target: int) -> Status | None:
    """Why the number that is waited for will not be reached; None while it may be."""
    steps = service.scaling
    if steps and steps.state is ScalingState.ROLLED_BACK and target in (0, steps.target_scale):
        return Status(code=FailedPrecondition.codes.grpc, message=steps.message)
    if target and target != service.scale:
        return Status(
            code=Conflict.codes.grpc,
            message=f"another change came: {service.scale} copies are wanted now, not {target}",
        )
    return None


def _is_over(seen: api.ScalingStatusResponse) -> bool:
    return seen.complete or seen.status is not None


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
        next_try_at=instance.start_after,
    )
