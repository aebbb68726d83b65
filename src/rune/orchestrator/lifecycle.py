"""What becomes of one instance next: a pure decision from what is wanted and what was seen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import msgspec

from rune.api.orchestrator.instances import DesiredState, Instance, InstanceMetadata, InstanceStatus
from rune.api.orchestrator.specs import RestartPolicy
from rune.orchestrator.runners.base import Observed, State

FIRST_BACKOFF: Final = 1.0
LONGEST_BACKOFF: Final = 300.0
SIGNALLED: Final = 128
"""An exit code above it is this plus the number of the signal that ended the run."""
LOOPING: Final = 3
"""Short runs in a row that make a crash loop: the first is forgiven, the second may be a coincidence."""
FORGIVEN_AFTER: Final = 60.0
"""Seconds that a run must last for the short runs before it to be forgotten."""


@dataclass(frozen=True, slots=True)
class Run:
    """Start this attempt, unless the runner has it already."""


@dataclass(frozen=True, slots=True)
class Stop:
    """End it; `remove` forgets it as well."""

    remove: bool = False


@dataclass(frozen=True, slots=True)
class Note:
    """Write down the instance as it is now, then look again."""

    instance: Instance


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to do, for so many seconds or (None) until something changes."""

    seconds: float | None = None


Step = Run | Stop | Note | Rest


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """All that a decision is made from."""

    instance: Instance
    seen: Observed
    now: datetime
    policy: RestartPolicy = RestartPolicy.ALWAYS
    ready: bool = True
    """What the readiness probe says; true without one."""
    sick: str = ""
    """Why the liveness probe wants it replaced; empty when it does not."""


def decide(view: View) -> Step:
    """The next step for an instance."""
    wanted, seen = view.instance.desired, view.seen
    if wanted is DesiredState.DELETED:
        return Stop(remove=True)
    if seen.state is State.RUNNING and seen.attempt != view.instance.attempt:
        return Stop()  # an attempt that was given up: a restart by hand, or the liveness probe's verdict
    if view.instance.held:
        return Stop() if seen.state is State.RUNNING else _noted(view, _held(view))
    if wanted is DesiredState.STOPPED:
        return Stop() if seen.state is State.RUNNING else _noted(view, _stopped(view))
    if seen.state is State.RUNNING:
        return _running(view)
    if seen.state is State.EXITED and seen.attempt == view.instance.attempt:
        return _ended(view)
    return _starting(view)


def _running(view: View) -> Step:
    if view.sick:
        return Note(_again(view, view.sick, reason="HealthCheckFailure"))
    instance = msgspec.structs.replace(
        view.instance,
        status=InstanceStatus.RUNNING if view.ready else InstanceStatus.STARTING,
        status_message=view.seen.message if view.ready else "the readiness probe has not agreed yet",
        pid=view.seen.pid,
        container_id=view.seen.container,
        ip=view.seen.address or view.instance.ip,
        ready=view.ready,
        ready_since=_ready_since(view),
        start_after=None,
    )
    return _noted(view, instance)


def _ready_since(view: View) -> datetime | None:
    if not view.ready:
        return None
    return view.instance.ready_since if view.instance.ready else view.now


def _ended(view: View) -> Step:
    """The attempt is over: start the next one, or leave it at that."""
    code = view.seen.exit_code
    if view.instance.cut_off:
        return _noted(view, _over(view))  # the next one would have a network
    if view.policy is RestartPolicy.NEVER or (view.policy is RestartPolicy.ON_FAILURE and code == 0):
        return _noted(view, _over(view))
    crashed = "CrashLoop" if view.instance.streak + 1 >= LOOPING else "Crashed"
    return Note(_again(view, describe_exit(view.seen), reason="Exited" if code == 0 else crashed))


def _starting(view: View) -> Step:
    after = view.instance.start_after
    left = (after - view.now).total_seconds() if after else 0.0
    if 0.0 < left <= LONGEST_BACKOFF:  # more is left only of a clock that was set back
        return Rest(left)
    return Run()


def _again(view: View, why: str, *, reason: str) -> Instance:
    """The instance with its next attempt, which waits longer the more runs in a row were short."""
    instance, seen = view.instance, view.seen
    ran = (view.now - seen.started_at).total_seconds() if seen.started_at else 0.0
    streak = 0 if ran >= FORGIVEN_AFTER else instance.streak
    delay = backoff(streak)
    metadata = instance.metadata or InstanceMetadata()
    count = metadata.restart_count + 1
    waits = f"; starts again in {delay:g} s, {at_clock(view.now, delay)}" if delay else ""
    return msgspec.structs.replace(
        instance,
        attempt=instance.attempt + 1,
        streak=streak + 1,
        start_after=later(view.now, delay),
        status=InstanceStatus.FAILED if delay else InstanceStatus.STARTING,
        status_message=f"{why}{waits} (restart {count})",
        failure_reason=reason,
        failed_at=view.now,
        exit_code=seen.exit_code if seen.state is State.EXITED else None,
        pid=0,
        ip=_kept_address(instance),
        ready=False,
        ready_since=None,
        updated_at=view.now,
        metadata=msgspec.structs.replace(metadata, restart_count=count),
    )


def _over(view: View) -> Instance:
    code = view.seen.exit_code
    failed = code != 0
    return msgspec.structs.replace(
        view.instance,
        status=InstanceStatus.FAILED if failed else InstanceStatus.EXITED,
        status_message=describe_exit(view.seen),
        failure_reason="Crashed" if failed else "",
        exit_code=code,
        pid=0,
        ip=_kept_address(view.instance),
        ready=False,
        ready_since=None,
    )


def _stopped(view: View) -> Instance:
    return msgspec.structs.replace(
        view.instance,
        status=InstanceStatus.STOPPED,
        status_message="stopped by an operator; `rune restart` or a change of the service starts it again",
        exit_code=view.seen.exit_code,
        pid=0,
        ip=_kept_address(view.instance),
        ready=False,
        ready_since=None,
        start_after=None,
    )


def _held(view: View) -> Instance:
    return msgspec.structs.replace(_stopped(view), status_message=view.instance.held)


def _noted(view: View, instance: Instance) -> Step:
    """Write it down if it says anything new."""
    if instance == view.instance:
        return Rest()
    return Note(msgspec.structs.replace(instance, updated_at=view.now))


def _kept_address(instance: Instance) -> str:
    """A process was given its address for life; a container has one while it runs."""
    return instance.ip if instance.runner == "process" else ""


def backoff(streak: int) -> float:
    """Seconds to wait after this many short runs in a row: none after the first, then 1 doubling to 300."""
    return 0.0 if streak == 0 else min(FIRST_BACKOFF * 2 ** min(streak - 1, 20), LONGEST_BACKOFF)


def later(now: datetime, delay: float) -> datetime | None:
    """When a delay is over; None for no delay."""
    return now + timedelta(seconds=delay) if delay else None


def at_clock(now: datetime, delay: float) -> str:
    """When a delay is over, for people who read it later: `at 12:00:05 UTC`."""
    return f"at {now + timedelta(seconds=delay):%H:%M:%S} UTC"


def describe_exit(seen: Observed) -> str:
    """How a run ended, in words."""
    code = seen.exit_code
    if seen.message:
        return seen.message
    if code is None:
        return "ended while nobody could see its exit code"
    if code > SIGNALLED:
        return f"was ended by signal {code - SIGNALLED}"
    return f"exited with code {code}"
