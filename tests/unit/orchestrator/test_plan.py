"""The plan: empty for a world that agrees, and a way there from any other."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rune.api.orchestrator.instances import DesiredState, Instance, InstanceMetadata, InstanceStatus
from rune.api.orchestrator.rollout import Rollout as Wishes
from rune.api.orchestrator.services import Service, ServiceMetadata, ServiceStatus
from rune.api.orchestrator.specs import HealthCheck, Probe, ProbeType, ServicePort, UpdateStrategy
from rune.orchestrator.plan import Action, Fleet, Retire, Rollout, Start, generation, plan, rollout_of
from rune.orchestrator.verdicts import Around, judge

NEWEST = 3
ROUNDS = 100
PORTS = [ServicePort(port=80)]
PROBE = Probe(type=ProbeType.TCP, port=80)


def service(scale: int, *, deleting: bool = False) -> Service:
    return Service(
        name="api",
        namespace="default",
        scale=scale,
        deletion_id="d" if deleting else "",
        metadata=ServiceMetadata(template_generation=NEWEST, generation=1),
    )


def copy(number: int, *, of: int = NEWEST, ready: bool = True, gone: bool = False) -> Instance:
    return Instance(
        id=f"api-instance-{number:08x}",
        service_name="api",
        ready=ready and not gone,
        status=InstanceStatus.RUNNING if ready else InstanceStatus.STARTING,
        desired=DesiredState.DELETED if gone else DesiredState.RUNNING,
        metadata=InstanceMetadata(generation=of),
    )


EPOCH = datetime(2026, 1, 1, tzinfo=UTC)

copies = st.lists(
    st.builds(copy, st.just(0), of=st.integers(1, NEWEST), ready=st.booleans(), gone=st.booleans()),
    max_size=8,
).map(lambda made: [msgspec.structs.replace(item, id=f"{n:08x}") for n, item in enumerate(made)])
rollouts = st.builds(
    Rollout, surge=st.integers(0, 3), unavailable=st.integers(0, 3), min_ready=st.sampled_from([0, 5])
).filter(lambda chosen: bool(chosen.surge or chosen.unavailable))


def fleet(wanted: Service, world: list[Instance], rollout: Rollout | None = None, at: float = 0) -> Fleet:
    now = EPOCH + timedelta(seconds=at)
    return Fleet(service=wanted, copies=world, now=now, rollout=rollout or Rollout())


def perform(world: list[Instance], actions: Sequence[Action], serial: int, at: float = 0) -> list[Instance]:
    """The world a moment later: what was started is ready, what was retired is on its way out."""
    retired = {action.instance.id for action in actions if isinstance(action, Retire)}
    left = [item for item in world if item.desired is not DesiredState.DELETED]
    left = [copy(0, of=generation(i), gone=True) if i.id in retired else i for i in left]
    named = [msgspec.structs.replace(item, id=item.id or "x") for item in left]
    since = EPOCH + timedelta(seconds=at)
    starts = [copy(serial + n) for n, action in enumerate(actions) if isinstance(action, Start)]
    return named + [msgspec.structs.replace(item, ready_since=since) for item in starts]


@given(st.integers(0, 6), copies, st.booleans(), rollouts)
def test_performing_plans_leads_to_a_world_that_agrees(
    scale: int, world: list[Instance], deleting: bool, rollout: Rollout
) -> None:
    wanted = service(scale, deleting=deleting)
    world = [msgspec.structs.replace(item, ready=item.desired is DesiredState.RUNNING) for item in world]
    for serial in range(ROUNDS):
        here = fleet(wanted, world, rollout, serial * 6)
        actions = plan(here)
        if not actions and all(item.desired is DesiredState.RUNNING for item in world):
            break
        world = perform(world, actions, 1000 + serial * 10, serial * 6)
    assert len(world) == (0 if deleting else scale)
    assert all(generation(item) == NEWEST for item in world)


@given(st.integers(0, 6))
def test_the_plan_of_an_agreeing_world_is_empty(scale: int) -> None:
    world = [copy(number) for number in range(scale)]
    assert plan(fleet(service(scale), world)) == []


@given(st.integers(1, 6), copies, rollouts)
def test_a_roll_out_never_takes_ready_copies_below_what_may_be_missing(
    scale: int, world: list[Instance], rollout: Rollout
) -> None:
    here = fleet(service(scale), world, rollout)
    retired = [action.instance for action in plan(here) if isinstance(action, Retire)]
    before = sum(item.ready for item in world)
    after = before - sum(item.ready for item in retired)
    assert after >= min(before, scale - rollout.unavailable)


@given(st.integers(1, 6), copies, rollouts)
def test_a_roll_out_adds_at_most_the_surge(scale: int, world: list[Instance], rollout: Rollout) -> None:
    starts = [action for action in plan(fleet(service(scale), world, rollout)) if isinstance(action, Start)]
    staying = [item for item in world if item.desired is DesiredState.RUNNING]
    assert not starts or len(staying) + len(starts) <= scale + rollout.surge


@given(st.integers(1, 6), copies)
def test_without_surge_an_old_copy_is_gone_before_a_new_one_comes(scale: int, world: list[Instance]) -> None:
    rollout = Rollout(surge=0, unavailable=1)
    starts = [action for action in plan(fleet(service(scale), world, rollout)) if isinstance(action, Start)]
    assert not starts or len(world) + len(starts) <= scale


def test_a_new_copy_counts_only_when_it_has_been_ready_for_long_enough() -> None:
    since = {"ready_since": EPOCH}
    new = msgspec.structs.replace(copy(1), **since)
    world = [new, copy(2, of=1)]
    rollout = Rollout(surge=1, unavailable=0, min_ready=5)
    assert plan(fleet(service(1), world, rollout, 4.9)) == []
    assert fleet(service(1), world, rollout, 4).next_available() == 1.0
    assert plan(fleet(service(1), world, rollout, 5)) == [Retire(world[1])]


def test_a_job_that_has_ended_well_counts_as_available() -> None:
    done = msgspec.structs.replace(copy(1, ready=False), status=InstanceStatus.EXITED)
    assert fleet(service(1), [done]).is_complete


@pytest.mark.parametrize(
    "fields, expected",
    [
        ({}, Rollout(surge=1, unavailable=0, min_ready=5)),
        ({"health": HealthCheck(readiness=PROBE)}, Rollout(surge=1, unavailable=0, min_ready=0)),
        ({"ports": PORTS}, Rollout(surge=1, unavailable=0, min_ready=5)),
        ({"ports": PORTS, "shares_ports": True}, Rollout(surge=0, unavailable=1, min_ready=5)),
        ({"ports": [ServicePort(port=80, host_port=80)]}, Rollout(surge=0, unavailable=1, min_ready=5)),
        ({"rollout": Wishes(max_surge=2)}, Rollout(surge=2, unavailable=0, min_ready=5)),
        ({"rollout": Wishes(max_surge=0)}, Rollout(surge=0, unavailable=1, min_ready=5)),
        ({"rollout": Wishes(min_ready_seconds=0)}, Rollout(surge=1, unavailable=0, min_ready=0)),
        ({"update_strategy": UpdateStrategy(type="recreate")}, Rollout(surge=0, unavailable=4, min_ready=5)),
        (
            {"rollout": Wishes(max_unavailable=3), "update_strategy": UpdateStrategy(min_serving=3)},
            Rollout(surge=1, unavailable=1, min_ready=5),
        ),
        (  # nothing could ever change: progress goes before the wish
            {"shares_ports": True, "update_strategy": UpdateStrategy(min_serving=4)},
            Rollout(surge=0, unavailable=1, min_ready=5),
        ),
    ],
)
def test_a_roll_out_is_what_the_service_is_and_asks_for(fields: dict[str, Any], expected: Rollout) -> None:
    assert rollout_of(msgspec.structs.replace(service(4), **fields), recreate=False) == expected


def test_a_forced_recreation_ends_everything_first() -> None:
    wanted = service(3)
    old = [copy(number, of=1) for number in range(3)]
    actions = plan(fleet(wanted, old, rollout_of(wanted, recreate=True)))
    assert actions == [Retire(item) for item in old]


def test_a_failed_copy_is_told_with_its_reason() -> None:
    failed = msgspec.structs.replace(
        copy(1, ready=False), status=InstanceStatus.FAILED, failure_reason="Crashed", status_message="exited"
    )
    verdict = judge(fleet(service(1), [failed]))
    assert verdict.status is ServiceStatus.FAILED
    assert (verdict.reason, verdict.message) == ("Crashed", f"{failed.id}: exited")


def test_a_failed_copy_of_a_roll_out_that_will_be_undone_does_not_fail_the_service() -> None:
    failed = msgspec.structs.replace(
        copy(1, ready=False), status=InstanceStatus.FAILED, status_message="exited"
    )
    verdict = judge(fleet(service(1), [failed, copy(2, of=1)]), Around(has_way_back=True))
    assert (verdict.status, verdict.reason) == (ServiceStatus.UPDATING, "RollingOut")
    assert f"{failed.id}: exited" in verdict.message


def test_a_service_runs_when_every_copy_is_ready() -> None:
    assert judge(fleet(service(2), [copy(1), copy(2)])).status is ServiceStatus.RUNNING
    assert judge(fleet(service(2), [copy(1), copy(2, ready=False)])).status is ServiceStatus.PENDING
    assert judge(fleet(service(0), [])).reason == "ScaledToZero"


def test_a_service_that_waits_says_for_what() -> None:
    verdict = judge(fleet(service(1), []), Around(waiting="service db is not healthy yet"))
    assert (verdict.status, verdict.reason) == (ServiceStatus.PENDING, "WaitingForDependencies")
    assert verdict.message == "service db is not healthy yet"
    lost = judge(fleet(service(1), []), Around(waiting="too long", is_lost=True))
    assert (lost.status, lost.reason) == (ServiceStatus.FAILED, "DependencyTimeout")


def test_a_service_between_two_specs_is_updating() -> None:
    verdict = judge(fleet(service(2), [copy(1), copy(2, of=1)]))
    assert (verdict.status, verdict.reason) == (ServiceStatus.UPDATING, "RollingOut")


def test_what_a_runner_remarks_on_a_copy_that_runs_is_told_of_the_service() -> None:
    remarked = msgspec.structs.replace(copy(2), status_message="last known state: the engine is away")
    verdict = judge(fleet(service(2), [copy(1), remarked]))
    assert verdict.status is ServiceStatus.RUNNING
    assert verdict.message == f"{remarked.id}: last known state: the engine is away"


def test_a_clock_that_was_set_back_does_not_hold_up_a_rollout() -> None:
    """A copy that became ready in the future has been ready for nobody knows how long."""
    ready = msgspec.structs.replace(copy(1), ready_since=EPOCH + timedelta(hours=1))
    seen = fleet(service(1), [ready], Rollout(min_ready=5))
    assert seen.is_available(ready)
    assert seen.next_available() is None
