"""Scaling in virtual time: at once, step by step, undone, and from many callers at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from promises import promise
from rune.api.orchestrator import services as api
from rune.api.orchestrator.rollout import Rollout
from rune.api.orchestrator.scaling import ScalingMode, ScalingState
from rune.api.orchestrator.services import Service, ServiceStatus
from rune.api.orchestrator.specs import HealthCheck, Probe, ProbeType, ProcessSpec
from rune.errors import FailedPrecondition
from rune.orchestrator.runners.fake import Script
from world import World, world

pytestmark = pytest.mark.looptime
GRADUAL = ScalingMode.GRADUAL
READINESS = HealthCheck(readiness=Probe(type=ProbeType.EXEC, command=["true"]))


@pytest.fixture
async def here() -> AsyncIterator[World]:
    async with world() as made:
        yield made


def runs(here: World) -> bool:
    service = here.service("api")
    metadata = service.metadata
    settled = metadata and metadata.observed_generation == metadata.generation
    return bool(settled) and service.status is ServiceStatus.RUNNING


def state(here: World) -> ScalingState:
    scaling = here.service("api").scaling
    return scaling.state if scaling else ScalingState.UNSPECIFIED


async def scale(here: World, to: int, **more: Any) -> None:
    await here.call(api.scale, api.ScaleServiceRequest(name="api", scale=to, **more))


async def settled(here: World, **fields: Any) -> None:
    await here.cast("api", **fields)
    await here.until(lambda: runs(here) and here.service("api").update is not None)


@promise("scaling.gradual")
async def test_a_gradual_scaling_goes_step_by_step_in_its_interval(here: World) -> None:
    await settled(here)
    began = here.clock.monotonic()
    await scale(here, 6, mode=GRADUAL, step_size=2, interval_seconds=30)
    seen: list[tuple[int, int]] = []

    def done() -> bool:
        now = (round(here.clock.monotonic() - began), len(here.copies("api")))
        if not seen or seen[-1][1] != now[1]:
            seen.append(now)
        return state(here) is ScalingState.COMPLETED

    await here.until(done)
    assert [count for _, count in seen] == [1, 3, 5, 6]
    at = {count: when for when, count in seen}
    assert (at[3], at[5], at[6]) == (0, 30, 60)
    await here.until(lambda: runs(here))


async def test_it_goes_down_the_same_way_and_says_what_the_step_wants(here: World) -> None:
    await settled(here, scale=5)
    await scale(here, 1, mode=GRADUAL, step_size=3)
    await here.until(lambda: len(here.copies("api")) == 2)
    assert here.service("api").status_reason == "Scaling"
    assert "this step wants 2" in here.service("api").status_message
    await here.until(lambda: runs(here) and len(here.copies("api")) == 1)
    assert here.clock.monotonic() >= 30


async def test_the_zeros_of_a_gradual_scaling_stand_for_one_copy_every_thirty_seconds(here: World) -> None:
    await settled(here)
    await scale(here, 3, mode=GRADUAL)
    scaling = here.service("api").scaling
    assert scaling
    assert (scaling.step_size, scaling.interval_seconds, scaling.step_scale) == (1, 30, 2)


@promise("scaling.undone")
async def test_a_gradual_scaling_whose_copies_fail_returns_to_where_it_began(here: World) -> None:
    await settled(here)
    (old,) = here.copies("api")
    here.runner.scripts["sleep"] = Script(exits=1)
    await scale(here, 4, mode=GRADUAL)
    await here.until(lambda: state(here) is ScalingState.ROLLED_BACK and runs(here))
    service = here.service("api")
    assert (service.scale, [copy.id for copy in here.copies("api")]) == (1, [old.id])
    assert service.status_reason == "ScalingRolledBack"
    assert "scaling to 4 was undone: api-instance-" in service.status_message
    assert service.metadata
    assert (service.metadata.generation, service.metadata.rolled_back_generation) == (3, 2)


@promise("scaling.undone")
async def test_an_immediate_scaling_is_undone_when_that_is_asked_for(here: World) -> None:
    here.doctor.says_ready = {}
    await here.cast("api", health=READINESS, rollout=Rollout(progress_seconds=20))
    await here.until(lambda: len(here.copies("api")) == 1)
    (first,) = here.copies("api")
    here.doctor.says_ready[first.id] = True
    here.control.look_at(first.id)
    await here.until(lambda: runs(here))
    await scale(here, 3, rollback_on_fail=True)
    began = here.clock.monotonic()
    await here.until(lambda: state(here) is ScalingState.ROLLED_BACK)
    assert here.clock.monotonic() - began >= 19
    assert here.service("api").scale == 1


async def test_without_being_asked_a_scaling_at_once_stays_and_says_what_fails(here: World) -> None:
    await settled(here)
    here.runner.scripts["sleep"] = Script(exits=1)
    await scale(here, 3)
    await here.until(lambda: here.service("api").status_reason == "CrashLoop")
    assert (here.service("api").scale, state(here)) == (3, ScalingState.UNSPECIFIED)


@promise("scaling.gradual")
async def test_a_new_scaling_ends_the_one_under_way(here: World) -> None:
    await settled(here)
    await scale(here, 10, mode=GRADUAL)
    await here.until(lambda: len(here.copies("api")) == 2)
    watched = here.stream(api.watch_scaling, api.WatchScalingRequest(service_name="api", target_scale=10))
    assert not (await anext(watched)).complete
    await scale(here, 3)
    last = [item async for item in watched][-1]
    assert last.status
    assert "3 copies are wanted now, not 10" in last.status.message
    await here.until(lambda: runs(here) and len(here.copies("api")) == 3)
    assert state(here) is ScalingState.UNSPECIFIED


async def test_the_same_wish_again_does_not_begin_anew(here: World) -> None:
    await settled(here)
    await scale(here, 4, mode=GRADUAL)
    await here.until(lambda: len(here.copies("api")) == 2 and all(c.ready for c in here.copies("api")))
    before = here.service("api").scaling
    await scale(here, 4, mode=GRADUAL)
    assert here.service("api").scaling == before


async def test_a_cast_of_another_scale_ends_it_too(here: World) -> None:
    await settled(here)
    await scale(here, 10, mode=GRADUAL)
    wanted = Service(name="api", scale=2, process=ProcessSpec(command="sleep"))
    await here.call(api.update, api.UpdateServiceRequest(service=wanted))
    await here.until(lambda: runs(here) and len(here.copies("api")) == 2)


@promise("scaling.gradual")
async def test_a_gradual_scaling_can_be_followed_to_its_end(here: World) -> None:
    await settled(here)
    await scale(here, 3, mode=GRADUAL)
    ask = api.WatchScalingRequest(service_name="api")
    items = [item async for item in here.stream(api.watch_scaling, ask)]
    assert [item.complete for item in items[-2:]] == [False, True]
    assert {item.scaling.step_scale for item in items if item.scaling} == {2, 3}
    assert items[-1].running_instances == 3


async def test_one_that_is_undone_ends_its_watch_with_the_reason(here: World) -> None:
    await settled(here)
    here.runner.scripts["sleep"] = Script(exits=1)
    await scale(here, 2, mode=GRADUAL)
    ask = api.WatchScalingRequest(service_name="api", target_scale=2)
    items = [item async for item in here.stream(api.watch_scaling, ask)]
    assert items[-1].status
    assert items[-1].status.code == FailedPrecondition.codes.grpc
    waits = [problem.next_try_at for item in items for problem in item.problems]
    assert any(waits)


@promise("scaling.lost")
async def test_scalings_from_many_callers_are_all_counted_and_one_of_them_stands(here: World) -> None:
    await settled(here)
    wanted = Service(name="api", scale=1, process=ProcessSpec(command="sleep"), labels={"a": "b"})
    async with asyncio.TaskGroup() as tasks:
        for number in range(2, 12):
            tasks.create_task(scale(here, number))
        tasks.create_task(here.call(api.update, api.UpdateServiceRequest(service=wanted)))
    service = here.service("api")
    assert service.labels == {"a": "b"}
    assert service.metadata
    assert service.metadata.generation == 12
    await here.until(lambda: runs(here) and len(here.copies("api")) == here.service("api").scale)
