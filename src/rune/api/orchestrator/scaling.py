"""Scaling: the messages of how a new number of copies is reached; the operations are those of services."""

from __future__ import annotations

from rune.api.common import Status
from rune.api.fields import Count, Message, Name, NamespaceName, Scale, Seconds, Timestamp, WireEnum


class ScalingMode(WireEnum):
    """How a new number of copies is reached."""

    UNSPECIFIED = "SCALING_MODE_UNSPECIFIED"
    IMMEDIATE = "SCALING_MODE_IMMEDIATE"
    GRADUAL = "SCALING_MODE_GRADUAL"


class ScalingState(WireEnum):
    """How a scaling that is watched over goes."""

    UNSPECIFIED = "SCALING_STATE_UNSPECIFIED"
    IN_PROGRESS = "SCALING_STATE_IN_PROGRESS"
    COMPLETED = "SCALING_STATE_COMPLETED"
    ROLLED_BACK = "SCALING_STATE_ROLLED_BACK"


class Scaling(Message):
    """A scaling that goes step by step, or is undone when its copies fail."""

    mode: ScalingMode = ScalingMode.UNSPECIFIED
    state: ScalingState = ScalingState.UNSPECIFIED
    from_scale: Count = 0
    target_scale: Count = 0
    step_scale: Count = 0
    """How many copies the step that is being taken wants."""
    step_size: Count = 0
    interval_seconds: Seconds = 0
    rollback: bool = False
    """Return to `from_scale` when the new copies fail."""
    started_at: Timestamp = None
    step_at: Timestamp = None
    """When the last step was begun."""
    next_step_at: Timestamp = None
    """The next step is not begun before, and not before every copy of this one is available."""
    message: str = ""


class ScaleServiceRequest(Message):
    """How many copies should run; an absent `scale` is 0 and stops them all."""

    name: Name
    namespace: NamespaceName = ""
    scale: Scale = 0
    mode: ScalingMode = ScalingMode.UNSPECIFIED
    """At once (also when unspecified), or gradually."""
    step_size: Count = 0
    """gradual: copies that come or go at a time; 1 when 0."""
    interval_seconds: Seconds = 0
    """gradual: how long to wait at least from one step to the next; 30 when 0."""
    rollback_on_fail: bool = False
    """Return to the scale before when the new copies fail. A gradual scaling always does."""


class WatchScalingRequest(Message):
    """Whose scaling to follow. `target_scale` 0 means the service's own scale."""

    service_name: Name
    namespace: NamespaceName = ""
    target_scale: Scale = 0


class InstanceProblem(Message):
    """Why a copy does not run."""

    name: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    restart_count: Count = 0
    next_try_at: Timestamp = None
    """When it is started again; absent when it is being started, or never will be."""


class ScalingStatusResponse(Message):
    """How far the scaling has come. The stream ends with the item that says complete, or with one whose
    `status` says why it never will be: it was undone, or another scaling came.
    """

    current_scale: Count = 0
    target_scale: Count = 0
    running_instances: Count = 0
    pending_instances: Count = 0
    complete: bool = False
    status: Status | None = None
    failed_instances: Count = 0
    stalled_instances: Count = 0
    terminating_instances: Count = 0
    problems: list[InstanceProblem] = []
    scaling: Scaling | None = None
    """The steps, where it goes by steps."""
