"""How a service is, in one word and a reason, judged from its copies and what is known around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rune.api.orchestrator.instances import Instance, InstanceStatus
from rune.api.orchestrator.scaling import ScalingState
from rune.api.orchestrator.services import ServiceStatus
from rune.orchestrator.plan import Fleet

SHAKY: Final = 2
"""Short runs in a row after which a copy is not trusted at once: the first may have been an accident."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a service is, and why."""

    status: ServiceStatus
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What the copies alone do not show."""

    waiting: str = ""
    """What copies are not started for."""
    is_lost: bool = False
    """The wait has gone on for longer than it may."""
    late: str = ""
    """Why the rollout has failed, where nothing undoes it."""
    undone: str = ""
    """What the newest template puts right: the note of an automatic rollback."""
    has_way_back: bool = False
    """A rollout that fails will be undone."""


def judge(fleet: Fleet, around: Around | None = None) -> Verdict:
    """How a service is."""
    around = around or Around()
    if fleet.service.deletion_id:
        return Verdict(status=ServiceStatus.UPDATING, reason="Deleting", message="is being deleted")
    if fleet.is_quarantined:
        return Verdict(status=ServiceStatus.FAILED, reason="Quarantined", message=_quarantine(fleet))
    failed = [item for item in fleet.staying if item.status is InstanceStatus.FAILED]
    is_rolling = bool(fleet.stale) or (around.has_way_back and not fleet.is_complete)
    if failed and not (is_rolling and around.has_way_back):
        worst = _worst(failed)
        reason = worst.failure_reason or "InstanceFailed"
        return Verdict(status=ServiceStatus.FAILED, reason=reason, message=_said(worst))
    if around.waiting and len(fleet.staying) < fleet.wanted:
        status = ServiceStatus.FAILED if around.is_lost else ServiceStatus.PENDING
        reason = "DependencyTimeout" if around.is_lost else "WaitingForDependencies"
        return Verdict(status=status, reason=reason, message=around.waiting)
    if around.late:
        return Verdict(status=ServiceStatus.FAILED, reason="ProgressDeadlineExceeded", message=around.late)
    if is_rolling:
        return _judge_rolling(fleet, failed, around)
    return _judge_settled(fleet, around)


def _quarantine(fleet: Fleet) -> str:
    guard = fleet.service.guard
    agent, why = (guard.agent_id, guard.reason) if guard else ("", "")
    return f"agent {agent!r} is in quarantine: {why}; `rune agents release {agent}` ends that"


def _judge_rolling(fleet: Fleet, failed: Sequence[Instance], around: Around) -> Verdict:
    if around.undone:
        return Verdict(status=ServiceStatus.UPDATING, reason="RollingBack", message=around.undone)
    message = f"{len(fleet.fresh)} of {fleet.wanted} copies are of the newest spec"
    if failed:
        message += f"; {_said(_worst(failed))}"
    return Verdict(status=ServiceStatus.UPDATING, reason="RollingOut", message=message)


def _judge_settled(fleet: Fleet, around: Around) -> Verdict:
    service, staying, wanted = fleet.service, fleet.staying, fleet.wanted
    scaling = service.scaling
    if scaling and scaling.state is ScalingState.IN_PROGRESS and wanted != service.scale:
        message = f"{len(staying)} of {service.scale} copies: this step wants {wanted}"
        return Verdict(status=ServiceStatus.UPDATING, reason="Scaling", message=message)
    if wanted == 0 and not staying:
        return Verdict(status=ServiceStatus.RUNNING, reason="ScaledToZero")
    over = (InstanceStatus.EXITED, InstanceStatus.STOPPED)
    done = sum(1 for item in staying if item.status in over and not item.held)
    ready = sum(1 for item in staying if item.ready and _holds(fleet, item))
    if ready + done >= wanted and len(staying) == wanted:
        return _running(fleet, done, around)
    message = f"{ready} of {wanted} copies are ready"
    seen_before = bool(service.metadata and service.metadata.observed_generation)
    status = ServiceStatus.UPDATING if seen_before else ServiceStatus.PENDING
    return Verdict(status=status, reason="Starting", message=message)


def _running(fleet: Fleet, done: int, around: Around) -> Verdict:
    """It is as it should be; what went wrong on the way is still told."""
    scaling = fleet.service.scaling
    if around.undone:
        return Verdict(status=ServiceStatus.RUNNING, reason="RolledBack", message=around.undone)
    if scaling and scaling.state is ScalingState.ROLLED_BACK:
        return Verdict(status=ServiceStatus.RUNNING, reason="ScalingRolledBack", message=scaling.message)
    reason = "Ended" if done == fleet.wanted else ""
    message = f"{done} of {fleet.wanted} copies have ended or were stopped" if done else ""
    remarks = (_said(item) for item in fleet.staying if item.status_message)
    return Verdict(status=ServiceStatus.RUNNING, reason=reason, message=message or next(remarks, ""))


def _holds(fleet: Fleet, item: Instance) -> bool:
    """One that crashed again and again must stay up for a while, or the status would flicker."""
    return item.streak < SHAKY or fleet.is_available(item)


def _worst(failed: Sequence[Instance]) -> Instance:
    return max(failed, key=lambda item: item.metadata.restart_count if item.metadata else 0)


def _said(item: Instance) -> str:
    return f"{item.id}: {item.status_message}"
