"""Scaling by steps: when the next one comes, when it is done, and when it is undone. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import msgspec

from rune.api.orchestrator.instances import Instance
from rune.api.orchestrator.scaling import ScaleServiceRequest, Scaling, ScalingMode, ScalingState
from rune.orchestrator.plan import Fleet
from rune.orchestrator.rollouts import has_failed, what_happened, wishes

STEP, INTERVAL = 1, 30
"""What the zeros of a gradual scaling stand for."""
NEVER: Final = timedelta.max


def begun(ask: ScaleServiceRequest, *, at: int, now: datetime) -> Scaling | None:
    """What is to be watched over; None for a scaling that is simply done. `at` is how many there are."""
    is_gradual = ask.mode is ScalingMode.GRADUAL
    if at == ask.scale or not (is_gradual or ask.rollback_on_fail):
        return None
    interval = (ask.interval_seconds or INTERVAL) if is_gradual else 0
    size = (ask.step_size or STEP) if is_gradual else 0
    return Scaling(
        mode=ScalingMode.GRADUAL if is_gradual else ScalingMode.IMMEDIATE,
        state=ScalingState.IN_PROGRESS,
        from_scale=at,
        target_scale=ask.scale,
        step_scale=_toward(at, ask.scale, size) if is_gradual else ask.scale,
        step_size=size,
        interval_seconds=interval,
        rollback=is_gradual or ask.rollback_on_fail,
        started_at=now,
        step_at=now,
        next_step_at=now + timedelta(seconds=interval) if is_gradual else None,
    )


def advanced(fleet: Fleet, *, is_held: bool) -> Scaling | None:
    """The scaling as it goes on; None when nothing about it changes now."""
    scaling = fleet.service.scaling
    if scaling is None or scaling.state is not ScalingState.IN_PROGRESS or fleet.stale:
        return None
    if fleet.is_complete:
        return _stepped(scaling, fleet.now)
    why = "" if is_held else _trouble(fleet, scaling)
    if not why or not scaling.rollback:
        return None
    message = f"scaling to {scaling.target_scale} was undone: {why}"
    return msgspec.structs.replace(
        scaling, state=ScalingState.ROLLED_BACK, next_step_at=None, message=message
    )


def next_look(fleet: Fleet) -> float | None:
    """In how many seconds something may change about it by itself."""
    scaling = fleet.service.scaling
    if scaling is None or scaling.state is not ScalingState.IN_PROGRESS:
        return None
    times = [_late_at(fleet, scaling)]
    if scaling.next_step_at:
        times.append(scaling.next_step_at)
    ahead = [(at - fleet.now).total_seconds() for at in times if at > fleet.now]
    return min(ahead, default=None)


def _stepped(scaling: Scaling, now: datetime) -> Scaling | None:
    if scaling.step_scale == scaling.target_scale:
        return msgspec.structs.replace(scaling, state=ScalingState.COMPLETED, next_step_at=None)
    if scaling.next_step_at and now < scaling.next_step_at:
        return None
    return msgspec.structs.replace(
        scaling,
        step_scale=_toward(scaling.step_scale, scaling.target_scale, scaling.step_size),
        step_at=now,
        next_step_at=now + timedelta(seconds=scaling.interval_seconds),
    )


def _trouble(fleet: Fleet, scaling: Scaling) -> str:
    failed = [item for item in fleet.fresh if has_failed(item) and _is_new(item, scaling)]
    if failed:
        return f"{failed[0].id}: {what_happened(failed[0])}"
    if fleet.now < _late_at(fleet, scaling):
        return ""
    count, seconds = len(fleet.available), wishes(fleet).progress_seconds
    return f"{count} of {scaling.step_scale} copies were available after {seconds} s"


def _is_new(item: Instance, scaling: Scaling) -> bool:
    """The scaling brought it; what failed before is not its fault."""
    return bool(item.created_at and scaling.started_at and item.created_at >= scaling.started_at)


def _late_at(fleet: Fleet, scaling: Scaling) -> datetime:
    return (scaling.step_at or fleet.now) + timedelta(seconds=wishes(fleet).progress_seconds)


def _toward(at: int, target: int, size: int) -> int:
    return min(at + size, target) if target > at else max(at - size, target)
