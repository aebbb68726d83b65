"""One instance's next step, from every state it can be found in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rune.api.orchestrator.instances import DesiredState, Instance, InstanceMetadata, InstanceStatus
from rune.api.orchestrator.specs import RestartPolicy
from rune.orchestrator.lifecycle import (
    FORGIVEN_AFTER,
    LONGEST_BACKOFF,
    Note,
    Rest,
    Run,
    Stop,
    View,
    backoff,
    decide,
)
from rune.orchestrator.runners.base import Observed, State

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def instance(**fields: Any) -> Instance:
    given: dict[str, Any] = {"id": "api-instance-1", "namespace": "default", **fields}
    return Instance(metadata=InstanceMetadata(generation=1), **given)


def seen(state: State, *, attempt: int = 1, code: int | None = None, ran: float = 1.0) -> Observed:
    return Observed(
        instance="api-instance-1",
        attempt=attempt,
        state=state,
        pid=7 if state is State.RUNNING else 0,
        exit_code=code,
        started_at=NOW - timedelta(seconds=ran),
    )


def view(item: Instance, what: Observed, **fields: Any) -> View:
    return View(instance=item, seen=what, now=NOW, **fields)


ABSENT = seen(State.ABSENT, attempt=0)
RUNNING = seen(State.RUNNING)


def test_what_does_not_run_is_started() -> None:
    assert decide(view(instance(), ABSENT)) == Run()


def test_what_runs_is_written_down_once() -> None:
    step = decide(view(instance(), RUNNING))
    assert isinstance(step, Note)
    assert (step.instance.status, step.instance.pid, step.instance.ready) == (InstanceStatus.RUNNING, 7, True)
    assert decide(view(step.instance, RUNNING)) == Rest()


def test_what_is_not_ready_yet_is_starting() -> None:
    step = decide(view(instance(), RUNNING, ready=False))
    assert isinstance(step, Note)
    assert (step.instance.status, step.instance.ready) == (InstanceStatus.STARTING, False)


def test_where_it_is_and_what_the_runner_remarks_is_written_down_while_it_runs() -> None:
    remarked = msgspec.structs.replace(RUNNING, address="10.0.0.2", container="c1", message="may be old")
    step = decide(view(instance(), remarked))
    assert isinstance(step, Note)
    noted = step.instance
    assert (noted.ip, noted.container_id, noted.status_message) == ("10.0.0.2", "c1", "may be old")
    over = decide(view(noted, seen(State.EXITED, code=1)))
    assert isinstance(over, Note)
    assert (over.instance.ip, over.instance.container_id) == ("", "c1")


@pytest.mark.parametrize(
    "policy, code, again",
    [
        (RestartPolicy.ALWAYS, 0, True),
        (RestartPolicy.ALWAYS, 1, True),
        (RestartPolicy.UNSPECIFIED, 1, True),
        (RestartPolicy.ON_FAILURE, 0, False),
        (RestartPolicy.ON_FAILURE, 3, True),
        (RestartPolicy.ON_FAILURE, None, True),
        (RestartPolicy.NEVER, 0, False),
        (RestartPolicy.NEVER, 1, False),
    ],
)
def test_the_restart_policy_decides_what_follows_an_end(
    policy: RestartPolicy, code: int | None, again: bool
) -> None:
    step = decide(view(instance(pid=7), seen(State.EXITED, code=code), policy=policy))
    assert isinstance(step, Note)
    assert (step.instance.attempt == 2) is again
    if not again:
        ended = InstanceStatus.EXITED if code == 0 else InstanceStatus.FAILED
        assert step.instance.status is ended


def test_the_first_short_run_is_restarted_at_once_and_counted() -> None:
    step = decide(view(instance(), seen(State.EXITED, code=1)))
    assert isinstance(step, Note)
    assert step.instance.start_after is None
    assert step.instance.metadata
    assert step.instance.metadata.restart_count == 1
    assert decide(view(step.instance, seen(State.EXITED, code=1))) == Run()


def test_a_crash_loop_backs_off_and_says_so() -> None:
    step = decide(view(instance(streak=3), seen(State.EXITED, code=1)))
    assert isinstance(step, Note)
    assert step.instance.status is InstanceStatus.FAILED
    assert step.instance.status_message == (
        "exited with code 1; starts again in 4 s, at 12:00:04 UTC (restart 1)"
    )
    waiting = decide(view(step.instance, seen(State.EXITED, code=1)))
    assert waiting == Rest(4.0)


def test_a_long_run_makes_short_ones_forgotten() -> None:
    step = decide(view(instance(streak=9), seen(State.EXITED, code=1, ran=FORGIVEN_AFTER)))
    assert isinstance(step, Note)
    assert (step.instance.streak, step.instance.start_after) == (1, None)


def test_a_sick_instance_is_given_up_stopped_and_started_again() -> None:
    step = decide(view(instance(), RUNNING, sick="the liveness probe failed 3 times"))
    assert isinstance(step, Note)
    assert step.instance.failure_reason == "HealthCheckFailure"
    assert decide(view(step.instance, RUNNING)) == Stop()
    assert decide(view(step.instance, seen(State.EXITED, code=143))) == Run()


def test_a_deleted_instance_is_stopped_and_removed_whatever_its_state() -> None:
    for state in State:
        assert decide(view(instance(desired=DesiredState.DELETED), seen(state))) == Stop(remove=True)


def test_a_stopped_instance_stays_stopped() -> None:
    stopping = instance(desired=DesiredState.STOPPED)
    assert decide(view(stopping, RUNNING)) == Stop()
    step = decide(view(stopping, seen(State.EXITED, code=143)))
    assert isinstance(step, Note)
    assert step.instance.status is InstanceStatus.STOPPED
    assert decide(view(step.instance, seen(State.EXITED, code=143))) == Rest()


def test_an_end_that_nobody_saw_is_a_failure_without_a_code() -> None:
    step = decide(view(instance(), seen(State.EXITED), policy=RestartPolicy.NEVER))
    assert isinstance(step, Note)
    assert step.instance.exit_code is None
    assert "nobody could see" in step.instance.status_message


def test_back_off_doubles_from_one_second_to_five_minutes() -> None:
    assert [backoff(streak) for streak in (0, 1, 2, 3, 9, 10, 500)] == [0, 1, 2, 4, 256, 300, 300]


instances = st.builds(
    instance,
    desired=st.sampled_from([DesiredState.RUNNING, DesiredState.STOPPED, DesiredState.DELETED]),
    attempt=st.integers(1, 4),
    streak=st.integers(0, 12),
    start_after=st.none() | st.just(NOW + timedelta(seconds=5)) | st.just(NOW - timedelta(seconds=5)),
)
observations = st.builds(
    seen,
    st.sampled_from(State),
    attempt=st.integers(0, 4),
    code=st.none() | st.integers(0, 137),
    ran=st.floats(0, 1000),
)


@given(instances, observations, st.booleans(), st.sampled_from(["", "sick"]), st.sampled_from(RestartPolicy))
def test_notes_come_to_rest_or_to_an_act_in_three_steps(
    item: Instance, what: Observed, ready: bool, sick: str, policy: RestartPolicy
) -> None:
    for _ in range(3):
        step = decide(view(item, what, ready=ready, sick=sick, policy=policy))
        if not isinstance(step, Note):
            return
        item = step.instance
    assert not isinstance(decide(view(item, what, ready=ready, sick=sick, policy=policy)), Note)


@pytest.mark.parametrize("back", [LONGEST_BACKOFF, 3600.0])
def test_a_clock_that_was_set_back_does_not_keep_an_instance_from_running(back: float) -> None:
    waiting = instance(start_after=NOW + timedelta(seconds=LONGEST_BACKOFF))
    assert decide(view(waiting, ABSENT)) == Rest(LONGEST_BACKOFF)
    assert decide(View(instance=waiting, seen=ABSENT, now=NOW - timedelta(seconds=back))) == Run()
