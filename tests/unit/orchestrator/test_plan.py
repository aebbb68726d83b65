"""The plan: empty for a world that agrees, and a way there from any other."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from rune.api.orchestrator.instances import DesiredState, Instance, InstanceMetadata, InstanceStatus
from rune.api.orchestrator.services import Service, ServiceMetadata, ServiceStatus
from rune.api.orchestrator.specs import ServicePort
from rune.orchestrator.plan import Retire, Rollout, Start, generation, judge, plan, rollout_of

NEWEST = 3
ROUNDS = 100


def service(scale: int, *, deleting: bool = False, ports: bool = False) -> Service:
    return Service(
        name="api",
        namespace="default",
        scale=scale,
        ports=[ServicePort(port=80)] if ports else [],
        shares_ports=ports,
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


copies = st.lists(
    st.builds(copy, st.just(0), of=st.integers(1, NEWEST), ready=st.booleans(), gone=st.booleans()),
    max_size=8,
).map(lambda made: [msgspec.structs.replace(item, id=f"{n:08x}") for n, item in enumerate(made)])


def perform(world: list[Instance], actions: list[Start | Retire], serial: int) -> list[Instance]:
    """The world a moment later: what was started is ready, what was retired is on its way out."""
    retired = {action.instance.id for action in actions if isinstance(action, Retire)}
    left = [item for item in world if item.desired is not DesiredState.DELETED]
    left = [copy(0, of=generation(i), gone=True) if i.id in retired else i for i in left]
    named = [msgspec.structs.replace(item, id=item.id or "x") for item in left]
    return named + [copy(serial + n) for n, action in enumerate(actions) if isinstance(action, Start)]


@given(st.integers(0, 6), copies, st.booleans(), st.booleans())
def test_performing_plans_leads_to_a_world_that_agrees(
    scale: int, world: list[Instance], ports: bool, deleting: bool
) -> None:
    wanted = service(scale, ports=ports, deleting=deleting)
    rollout = rollout_of(wanted, recreate=False)
    world = [msgspec.structs.replace(item, ready=item.desired is DesiredState.RUNNING) for item in world]
    for serial in range(ROUNDS):
        actions = plan(wanted, world, rollout)
        if not actions and all(item.desired is DesiredState.RUNNING for item in world):
            break
        world = perform(world, actions, 1000 + serial * 10)
    assert len(world) == (0 if deleting else scale)
    assert all(generation(item) == NEWEST for item in world)


@given(st.integers(0, 6))
def test_the_plan_of_an_agreeing_world_is_empty(scale: int) -> None:
    world = [copy(number) for number in range(scale)]
    assert plan(service(scale), world, Rollout()) == []


@given(st.integers(1, 6), copies)
def test_a_roll_out_never_takes_ready_copies_below_the_scale(scale: int, world: list[Instance]) -> None:
    before = sum(item.ready for item in world)
    retired = [
        action.instance for action in plan(service(scale), world, Rollout()) if isinstance(action, Retire)
    ]
    after = before - sum(item.ready for item in retired)
    assert after >= min(before, scale)


@given(st.integers(1, 6), copies)
def test_a_roll_out_adds_at_most_the_surge(scale: int, world: list[Instance]) -> None:
    staying = [item for item in world if item.desired is DesiredState.RUNNING]
    starts = [action for action in plan(service(scale), world, Rollout()) if isinstance(action, Start)]
    assert not starts or len(staying) + len(starts) <= scale + 1


def test_copies_that_share_ports_leave_before_the_next_one_comes() -> None:
    wanted = service(1, ports=True)
    rollout = rollout_of(wanted, recreate=False)
    old = copy(1, of=NEWEST - 1)
    assert plan(wanted, [old], rollout) == [Retire(old)]
    assert plan(wanted, [copy(1, of=NEWEST - 1, gone=True)], rollout) == []
    assert plan(wanted, [], rollout) == [Start()]


def test_recreating_replaces_all_at_once() -> None:
    wanted = service(2)
    old = [copy(1, of=1), copy(2, of=1)]
    actions = plan(wanted, old, rollout_of(wanted, recreate=True))
    assert actions.count(Start()) == 2
    assert [action.instance for action in actions if isinstance(action, Retire)] == old


def test_failed_copies_are_the_first_to_go_when_there_are_too_many() -> None:
    failed = msgspec.structs.replace(copy(2, ready=False), status=InstanceStatus.FAILED)
    assert plan(service(1), [copy(1), failed], Rollout()) == [Retire(failed)]


def test_a_service_with_a_failed_copy_has_failed_and_says_why() -> None:
    failed = msgspec.structs.replace(
        copy(1, ready=False), status=InstanceStatus.FAILED, failure_reason="Crashed", status_message="exited"
    )
    verdict = judge(service(1), [failed])
    assert verdict.status is ServiceStatus.FAILED
    assert (verdict.reason, verdict.message) == ("Crashed", f"{failed.id}: exited")


def test_a_service_runs_when_every_copy_is_ready() -> None:
    assert judge(service(2), [copy(1), copy(2)]).status is ServiceStatus.RUNNING
    assert judge(service(2), [copy(1), copy(2, ready=False)]).status is ServiceStatus.PENDING
    assert judge(service(0), []).reason == "ScaledToZero"


def test_a_service_that_waits_says_for_what() -> None:
    verdict = judge(service(1), [], "service db is not healthy yet")
    assert (verdict.status, verdict.reason) == (ServiceStatus.PENDING, "WaitingForDependencies")
    assert verdict.message == "service db is not healthy yet"


def test_a_service_between_two_specs_is_updating() -> None:
    verdict = judge(service(2), [copy(1), copy(2, of=1)])
    assert (verdict.status, verdict.reason) == (ServiceStatus.UPDATING, "RollingOut")


def test_what_a_runner_remarks_on_a_copy_that_runs_is_told_of_the_service() -> None:
    remarked = msgspec.structs.replace(copy(2), status_message="last known state: the engine is away")
    verdict = judge(service(2), [copy(1), remarked])
    assert verdict.status is ServiceStatus.RUNNING
    assert verdict.message == f"{remarked.id}: last known state: the engine is away"
