"""What the product decides, in pure functions: which copies of a service should there be, and how is it.

Two properties hold and are tested: the plan of a world that agrees is empty, and a plan that was
performed leaves a world that agrees, in a bounded number of rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rune.api.orchestrator.instances import DesiredState, Instance, InstanceStatus
from rune.api.orchestrator.services import Service, ServiceStatus

SURGE: Final = 1
"""How many copies above the scale a roll-out may add for a while."""


@dataclass(frozen=True, slots=True)
class Start:
    """Add a copy of the newest template."""


@dataclass(frozen=True, slots=True)
class Retire:
    """End a copy, then forget it."""

    instance: Instance


Action = Start | Retire


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """How a changed template reaches the copies."""

    surge: int = SURGE
    """Copies above the scale."""
    unavailable: int = 0
    """Copies that may be missing from the scale."""


def rollout_of(service: Service, *, recreate: bool) -> Rollout:
    """One more at a time and none missing, unless the copies would fight for their ports."""
    if recreate:
        return Rollout(surge=service.scale, unavailable=service.scale)
    if _share_ports_of_the_host(service):  # an old copy must leave before a new one comes
        return Rollout(surge=0, unavailable=1)
    return Rollout()


def _share_ports_of_the_host(service: Service) -> bool:
    """Processes that do not keep to their own address, and containers that are published at one port."""
    return service.shares_ports or any(port.host_port for port in service.ports)


def plan(service: Service, instances: Sequence[Instance], rollout: Rollout) -> list[Action]:
    """What must change so that `scale` copies of the newest template are all there is."""
    staying = [item for item in instances if item.desired is not DesiredState.DELETED]
    wanted = 0 if service.deletion_id else service.scale
    newest = template_generation(service)
    fresh = [item for item in staying if generation(item) == newest]
    stale = [item for item in staying if generation(item) != newest]
    actions: list[Action] = [Retire(item) for item in _least_useful(fresh)[: max(len(fresh) - wanted, 0)]]
    fresh_kept = len(fresh) - len(actions)
    going = len(instances) - len(staying)
    room = wanted + rollout.surge - fresh_kept - len(stale) - (going if not rollout.surge else 0)
    starts = max(0, min(wanted - fresh_kept, room))
    actions += [Start()] * starts
    available = sum(1 for item in staying if item.ready and generation(item) == newest)
    available += sum(1 for item in stale if item.ready)
    spare = available - max(wanted - rollout.unavailable, 0)
    for item in _least_useful(stale):
        if not item.ready:
            actions.append(Retire(item))
        elif spare > 0:
            actions.append(Retire(item))
            spare -= 1
    return actions


def generation(instance: Instance) -> int:
    """The template generation that a copy was made from."""
    return instance.metadata.generation if instance.metadata else 0


def template_generation(service: Service) -> int:
    """The newest template generation of a service."""
    return service.metadata.template_generation if service.metadata else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a service is, and why."""

    status: ServiceStatus
    reason: str = ""
    message: str = ""


def judge(service: Service, instances: Sequence[Instance], waiting_for: str = "") -> Verdict:
    """How a service is, seen from its copies."""
    if service.deletion_id:
        return Verdict(status=ServiceStatus.UPDATING, reason="Deleting", message="is being deleted")
    staying = [item for item in instances if item.desired is not DesiredState.DELETED]
    newest = template_generation(service)
    failed = [item for item in staying if item.status is InstanceStatus.FAILED]
    if failed:
        worst = max(failed, key=lambda item: item.metadata.restart_count if item.metadata else 0)
        return Verdict(
            status=ServiceStatus.FAILED,
            reason=worst.failure_reason or "InstanceFailed",
            message=f"{worst.id}: {worst.status_message}",
        )
    if waiting_for and len(staying) < service.scale:
        return Verdict(status=ServiceStatus.PENDING, reason="WaitingForDependencies", message=waiting_for)
    stale = sum(1 for item in staying if generation(item) != newest)
    if stale:
        message = f"{len(staying) - stale} of {service.scale} copies are of the newest spec"
        return Verdict(status=ServiceStatus.UPDATING, reason="RollingOut", message=message)
    return _judge_settled(service, staying)


def _judge_settled(service: Service, staying: Sequence[Instance]) -> Verdict:
    if service.scale == 0 and not staying:
        return Verdict(status=ServiceStatus.RUNNING, reason="ScaledToZero")
    done = sum(1 for item in staying if item.status in (InstanceStatus.EXITED, InstanceStatus.STOPPED))
    ready = sum(1 for item in staying if item.ready)
    if ready + done >= service.scale and len(staying) == service.scale:
        reason = "Ended" if done == service.scale else ""
        message = f"{done} of {service.scale} copies have ended or were stopped" if done else _remark(staying)
        return Verdict(status=ServiceStatus.RUNNING, reason=reason, message=message)
    message = f"{ready} of {service.scale} copies are ready"
    seen_before = bool(service.metadata and service.metadata.observed_generation)
    status = ServiceStatus.UPDATING if seen_before else ServiceStatus.PENDING
    return Verdict(status=status, reason="Starting", message=message)


def _remark(staying: Sequence[Instance]) -> str:
    """What a runner says of copies that run: that what is known of them may be old."""
    return next((f"{item.id}: {item.status_message}" for item in staying if item.status_message), "")


def _least_useful(instances: Sequence[Instance]) -> list[Instance]:
    """Those that are missed least first: failed, not ready, then the youngest."""
    return sorted(
        instances,
        key=lambda item: (
            item.status is not InstanceStatus.FAILED,
            item.ready,
            -(item.created_at.timestamp() if item.created_at else 0.0),
            item.id,
        ),
    )
