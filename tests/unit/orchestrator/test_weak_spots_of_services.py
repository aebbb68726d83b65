"""What is known to go wrong in systems of this kind, and must not here; numbered as in the list of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from promises import promise
from rune.api.orchestrator import instances, services
from rune.api.orchestrator.services import Service, ServiceStatus
from rune.api.orchestrator.specs import HealthCheck, Probe, ProbeType, ProcessSpec, RestartPolicy
from rune.core.store.base import Delete
from rune.errors import NotFound
from rune.orchestrator.lifecycle import backoff
from rune.orchestrator.runners.fake import Script
from rune.orchestrator.services import TAG
from rune.orchestrator.spec import Template, spec_of
from world import World, world

pytestmark = pytest.mark.looptime


@pytest.fixture
async def here() -> AsyncIterator[World]:
    async with world() as made:
        yield made


def spec(name: str = "api", **fields: Any) -> Service:
    given: dict[str, Any] = {"scale": 1, "process": ProcessSpec(command="sleep"), **fields}
    return Service(name=name, **given)


def runs(here: World, name: str = "api") -> bool:
    service = here.service(name)
    return bool(
        service.metadata
        and service.metadata.observed_generation == service.metadata.generation
        and service.status is ServiceStatus.RUNNING
    )


async def served(here: World, **fields: Any) -> None:
    await here.cast("api", **fields)
    await here.until(lambda: runs(here))


async def update(here: World, wanted: Service, **more: Any) -> Service:
    answer = await here.call(services.update, services.UpdateServiceRequest(service=wanted, **more))
    assert answer.service
    return answer.service


@promise("weak-spot.10")
def test_10_labels_restart_policy_thresholds_and_command_probes_come_through_a_spec() -> None:
    probe = Probe(type=ProbeType.EXEC, command=["true"], failure_threshold=7, success_threshold=2)
    given = spec(labels={"a": "b"}, restart_policy=RestartPolicy.NEVER, health=HealthCheck(liveness=probe))
    kept = spec_of(given)
    assert (kept.labels, kept.restart_policy, kept.health) == (
        given.labels,
        given.restart_policy,
        given.health,
    )


@promise("weak-spot.15")
async def test_15_a_deletion_now_takes_no_time_however_stubborn_the_copies(here: World) -> None:
    here.runner.scripts["sleep"] = Script(stubborn=True)
    await served(here, drain_seconds=3000)
    ask = services.DeleteServiceRequest(name="api", now=True, timeout_seconds=5)
    answer = await here.call(services.delete, ask)
    assert answer.status
    assert answer.status.message == "completed"


@promise("weak-spot.16")
async def test_16_an_instance_that_is_not_there_is_not_found(here: World) -> None:
    with pytest.raises(NotFound, match="instance not found: default/nope"):
        await here.call(instances.get, instances.GetInstanceRequest(id="nope"))


@promise("weak-spot.18")
async def test_18_services_of_one_name_in_two_namespaces_do_not_meet(here: World) -> None:
    await served(here)
    ask = services.CreateServiceRequest(service=spec(namespace="prod"), ensure_namespace=True)
    await here.call(services.create, ask)
    await here.until(lambda: len(here.runner.all()) == 2)
    assert len({seen.instance for seen in here.runner.all()}) == 2
    await here.call(services.delete, services.DeleteServiceRequest(name="api", namespace="prod"))
    assert len(here.copies("api")) == 1
    assert len(here.runner.all()) == 1


@promise("weak-spot.19")
async def test_19_a_change_of_the_spec_is_no_full_stop(here: World) -> None:
    await served(here, scale=3)
    await update(here, spec(scale=3, env={"A": "1"}))
    fewest = 3

    def renewed() -> bool:
        nonlocal fewest
        fewest = min(fewest, sum(copy.ready for copy in here.copies("api")))
        return runs(here)

    await here.until(renewed)
    assert fewest == 3


@promise("weak-spot.22")
async def test_22_nothing_of_a_service_is_left_behind(here: World) -> None:
    await served(here, scale=2)
    await here.store.commit(Delete(here.service("api").key))
    await here.until(lambda: not here.copies("api"))
    assert here.runner.all() == []


@promise("crud.same", "crud.generation", "weak-spot.24")
async def test_24_force_and_tag_do_what_they_say(here: World) -> None:
    await served(here)
    (old,) = here.copies("api")
    same = await update(here, spec())
    assert same.metadata
    assert same.metadata.generation == 1
    tagged = await update(here, spec(), deployment_tag="v7")
    assert tagged.labels[TAG] == "v7"
    assert tagged.metadata
    assert (tagged.metadata.generation, tagged.metadata.template_generation) == (2, 1)
    await update(here, spec(labels={TAG: "v7"}), force=True)
    await here.until(lambda: runs(here) and old.id not in [copy.id for copy in here.copies("api")])


@promise("weak-spot.25")
async def test_25_what_was_is_not_kept_for_ever(here: World) -> None:
    await served(here)
    for number in range(30):
        await update(here, spec(env={"N": str(number)}))
        await here.until(lambda: runs(here))
    assert len(here.store.list(Template)) <= 12


@promise("weak-spot.26")
async def test_26_a_service_shows_when_it_is_ready(here: World) -> None:
    made = await here.cast("api")
    assert made.status is ServiceStatus.PENDING
    await here.until(lambda: runs(here))
    answer = await here.call(services.get, services.GetServiceRequest(name="api"))
    assert answer.service
    assert [copy.ready for copy in answer.service.instances] == [True]


@promise("work.scale")
async def test_a_scale_up_keeps_the_copies_that_are_there(here: World) -> None:
    await served(here, scale=2)
    old = {copy.id for copy in here.copies("api")}
    await here.call(services.scale, services.ScaleServiceRequest(name="api", scale=5))
    await here.until(lambda: runs(here) and len(here.copies("api")) == 5)
    assert old < {copy.id for copy in here.copies("api")}


async def test_an_update_keeps_the_id_and_moves_counters_forward_only(here: World) -> None:
    await served(here)
    seen = [here.service("api")]
    for number in range(3):
        seen.append(await update(here, spec(env={"N": str(number % 2)})))
        await here.until(lambda: runs(here))
    assert len({service.id for service in seen}) == 1
    counters = [
        (item.metadata.generation, item.metadata.template_generation) for item in seen if item.metadata
    ]
    assert counters == [(1, 1), (2, 2), (3, 3), (4, 4)]


async def test_a_restart_works_from_a_state_in_which_nothing_ran(here: World) -> None:
    here.runner.scripts["sleep"] = Script(refused="no such program")
    await here.cast("api")
    await here.until(lambda: here.service("api").status is ServiceStatus.FAILED)
    here.runner.scripts["sleep"] = Script()
    began = here.clock.monotonic()
    await here.call(services.restart, services.RestartServiceRequest(name="api"))
    await here.until(lambda: runs(here))
    assert here.clock.monotonic() - began < 1


@promise("work.backoff")
async def test_a_crash_loop_waits_longer_each_time_and_says_when_it_tries_next(here: World) -> None:
    here.runner.scripts["sleep"] = Script(exits=1)
    await here.cast("api")
    await here.until(lambda: here.copies("api")[0].streak == 5 if here.copies("api") else False)
    (copy,) = here.copies("api")
    assert copy.start_after
    assert (copy.start_after - here.clock.now()).total_seconds() == pytest.approx(backoff(4))
    assert f"starts again in 8 s, at {copy.start_after:%H:%M:%S} UTC (restart 5)" in copy.status_message
    await here.until(lambda: copy.status_message in here.service("api").status_message)
    assert here.service("api").status_reason == "CrashLoop"


async def test_a_copy_that_crashed_again_and_again_must_hold_before_the_service_runs(here: World) -> None:
    here.runner.scripts["sleep"] = Script(exits=1)
    await here.cast("api")
    await here.until(lambda: here.copies("api")[0].streak == 3 if here.copies("api") else False)
    here.runner.scripts["sleep"] = Script()
    await here.until(lambda: here.copies("api")[0].ready)
    began = here.clock.monotonic()
    await here.until(lambda: runs(here))
    assert here.clock.monotonic() - began >= 5
