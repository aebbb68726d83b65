"""Quarantine in the plan and in a whole orchestrator: what runs is held, and nothing starts meanwhile."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rune.api.orchestrator import instances as instance_operations
from rune.api.orchestrator import services as service_operations
from rune.api.orchestrator.guard import QuarantineMode, ServiceAgent, ServiceGuard
from rune.api.orchestrator.instances import DesiredState, Instance, InstanceStatus
from rune.api.orchestrator.services import ServiceStatus
from rune.core.access import Principal, rule
from rune.core.store.base import Put
from rune.errors import FailedPrecondition, InvalidArgument, PermissionDenied
from rune.orchestrator.plan import CutOff, Fleet, Free, Hold, Retire, plan
from rune.orchestrator.quarantine import carried_out
from rune.orchestrator.runners.base import State
from unit.orchestrator.test_plan import copies, fleet, service
from world import World, world

pytestmark = pytest.mark.looptime
BOT = ServiceAgent(id="bot")


def in_quarantine(here: Fleet, mode: QuarantineMode = QuarantineMode.STOP) -> Fleet:
    """The same service, whose agent is in quarantine."""
    guarded = msgspec.structs.replace(
        here.service,
        agent=ServiceAgent(id="bot", quarantine_mode=mode),
        guard=ServiceGuard(agent_id="bot", quarantined=True, reason="odd"),
    )
    return fleet(guarded, list(here.copies), here.rollout)


def carry_out(here: Fleet) -> Fleet:
    """The world after the plan of a quarantine was performed."""
    done = {
        action.instance.id: carried_out(action, here.service, now=here.now).value
        for action in plan(here)
        if isinstance(action, Hold | CutOff | Free)
    }
    left = [done.get(item.id, item) for item in here.copies]
    return fleet(here.service, [item for item in left if isinstance(item, Instance)], here.rollout)


@given(st.integers(0, 6), copies, st.sampled_from([QuarantineMode.STOP, QuarantineMode.ISOLATE]))
def test_in_quarantine_nothing_starts_nothing_is_deleted_and_one_round_is_enough(
    scale: int, seen: list[Instance], mode: QuarantineMode
) -> None:
    numbered = [msgspec.structs.replace(item, id=f"i{n}") for n, item in enumerate(seen)]
    here = in_quarantine(fleet(service(scale), numbered), mode)
    wanted = CutOff if mode is QuarantineMode.ISOLATE else Hold
    assert all(isinstance(action, wanted) for action in plan(here))
    after = carry_out(here)
    assert plan(after) == []
    assert all(item.held or item.cut_off for item in after.staying)


@given(st.integers(0, 6), copies)
def test_after_a_release_everything_is_free_or_retired_and_nothing_both(
    scale: int, seen: list[Instance]
) -> None:
    numbered = [msgspec.structs.replace(item, id=f"i{n}") for n, item in enumerate(seen)]
    held = carry_out(in_quarantine(fleet(service(scale), numbered)))
    released = fleet(service(scale), list(held.copies))
    actions = [action for action in plan(released) if isinstance(action, Retire | Free)]
    named = [action.instance.id for action in actions]
    assert len(named) == len(set(named))
    assert set(named) >= {item.id for item in released.staying}


def guarded(w: World, **fields: Any) -> Put:
    """What agent security writes of the service `bot`."""
    return Put(msgspec.structs.replace(w.service("bot"), guard=ServiceGuard(agent_id="bot", **fields)))


async def test_copies_of_an_agent_start_when_it_is_registered_and_not_before() -> None:
    async with world() as w:
        await w.cast("bot", agent=BOT)
        await w.until(lambda: w.service("bot").status_reason == "WaitingForDependencies")
        assert "not registered yet" in w.service("bot").status_message
        assert w.copies("bot") == []
        await w.store.commit(guarded(w, waits="security policy 'p' is not there"))
        await w.until(lambda: "security policy" in w.service("bot").status_message)
        assert w.copies("bot") == []


async def test_what_is_held_is_killed_at_once_kept_and_started_anew_by_a_release() -> None:
    async with world() as w:
        await w.cast("bot")
        await w.until(lambda: w.service("bot").status is ServiceStatus.RUNNING)
        (copy,) = w.copies("bot")
        await w.store.commit(guarded(w, quarantined=True, reason="odd"))
        await w.until(lambda: w.copies("bot")[0].status is InstanceStatus.STOPPED)
        assert w.runner.observe(copy.id).state is State.EXITED
        assert w.service("bot").status_reason == "Quarantined"
        ask = instance_operations.InstanceActionRequest(id=copy.id, namespace="default")
        with pytest.raises(FailedPrecondition, match="is held"):
            await w.call(instance_operations.restart, ask)
        await w.store.commit(guarded(w))
        await w.until(lambda: w.service("bot").status is ServiceStatus.RUNNING)
        (again,) = w.copies("bot")
        assert (again.id, again.attempt, again.desired) == (copy.id, copy.attempt + 1, DesiredState.RUNNING)


async def test_a_service_in_quarantine_can_be_deleted() -> None:
    async with world() as w:
        await w.cast("bot")
        await w.until(lambda: w.service("bot").status is ServiceStatus.RUNNING)
        await w.store.commit(guarded(w, quarantined=True, reason="odd"))
        await w.until(lambda: w.copies("bot")[0].status is InstanceStatus.STOPPED)
        await w.call(service_operations.delete, service_operations.DeleteServiceRequest(name="bot"))
        assert w.copies("bot") == []


async def test_isolate_is_refused_for_processes_by_name() -> None:
    async with world() as w:
        agent = ServiceAgent(id="bot", quarantine_mode=QuarantineMode.ISOLATE)
        with pytest.raises(InvalidArgument, match="isolate is for containers") as caught:
            await w.cast("bot", agent=agent)
        assert [each.field for each in caught.value.details] == ["service.agent.quarantine_mode"]


async def test_an_agent_takes_the_right_to_create_agents() -> None:
    async with world() as w:
        w.identity.principals["ann"] = Principal(id="ann", name="ann", rules=(rule("services", ["*"]),))
        given = service_operations.Service(
            name="bot", process=service_operations.specs.ProcessSpec(command="sleep"), agent=BOT
        )
        with pytest.raises(PermissionDenied, match="agents:create"):
            ask = service_operations.CreateServiceRequest(service=given)
            await w.call(service_operations.create, ask, who="ann")
