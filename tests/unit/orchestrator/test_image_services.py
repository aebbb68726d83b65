"""Services with an image: what the runner is asked for, who may ask for it, and an engine that is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from rune.api.orchestrator import services as api
from rune.api.orchestrator.instances import DesiredState, InstanceStatus
from rune.api.orchestrator.namespaces import Namespace
from rune.api.orchestrator.services import Service, ServiceStatus
from rune.api.orchestrator.specs import (
    ResourceLimit,
    Resources,
    SeccompProfile,
    SecurityContext,
    ServicePort,
)
from rune.core.access import Principal, rule
from rune.core.store.base import Put
from rune.errors import FailedPrecondition, PermissionDenied
from rune.orchestrator.admission import Admission
from rune.orchestrator.copies import new_copy
from rune.orchestrator.plan import rollout_of
from rune.orchestrator.runners.base import (
    Credentials,
    Limits,
    Port,
    Pulling,
    PullPolicy,
    Security,
    Workload,
)
from rune.orchestrator.spec import spec_of
from world import World, world


@pytest.fixture
async def here() -> AsyncIterator[World]:
    async with world() as made:
        yield made


def runs(here: World) -> bool:
    return here.service("web").status is ServiceStatus.RUNNING


async def placed(here: World, **fields: Any) -> Workload:
    """What the runner of containers is asked for."""
    await here.cast("web", process=None, image="web:1", **fields)
    await here.until(lambda: runs(here))
    return here.engine.started[-1]


async def test_an_image_is_run_by_the_engine_with_everything_that_the_spec_says(here: World) -> None:
    asked = await placed(
        here,
        command="serve",
        args=["--port", "8080"],
        env={"MODE": "fast"},
        labels={"team": "a"},
        ports=[ServicePort(port=80, target_port=8080, host_port=80), ServicePort(port=53, protocol="udp")],
        resources=Resources(cpu=ResourceLimit(limit="500m"), memory=ResourceLimit(limit="64Mi")),
        security_context=SecurityContext(cap_add=["net_bind_service"], cap_drop=["CAP_ALL"]),
        image_pull="Never",
    )
    assert (asked.image, asked.command, asked.args) == ("web:1", ["serve"], ["--port", "8080"])
    assert asked.env["MODE"] == "fast"
    assert asked.env["RUNE_INSTANCE_ID"] == asked.instance
    assert asked.labels == {"team": "a"}
    assert asked.ports == [Port(port=8080, publish=80, address=""), Port(port=53, protocol="udp", address="")]
    assert asked.limits == Limits(cpu=0.5, memory=64 << 20)
    assert asked.security == Security(cap_add=["NET_BIND_SERVICE"], cap_drop=["ALL"])
    assert asked.pull is PullPolicy.NEVER
    assert here.runner.started == []


async def test_an_image_alone_runs_as_it_was_made(here: World) -> None:
    asked = await placed(here)
    assert (asked.command, asked.args, asked.pull) == ([], [], PullPolicy.MISSING)
    assert here.service("web").runtime == here.copies("web")[0].runner == "docker"


@pytest.mark.parametrize(
    ("fields", "shown"),
    [({}, True), ({"image_pull": "never"}, False), ({"image_pull_anonymous": True}, False)],
    ids=["as usual", "never pulled", "anonymous"],
)
async def test_registries_are_shown_credentials_where_something_may_be_pulled(
    here: World, *, fields: dict[str, Any], shown: bool
) -> None:
    here.shown["web:1"] = Credentials(username="somebody", password="pw")
    asked = await placed(here, **fields)
    assert bool(asked.credentials) is shown


async def test_an_engine_that_is_away_is_told_and_everything_heals_when_it_is_back(here: World) -> None:
    here.engine.unreachable = "the Docker Engine is out of reach"
    await here.cast("web", process=None, image="web:1")
    await here.cast("job")
    await here.until(lambda: here.service("web").status is ServiceStatus.FAILED)
    (copy,) = here.copies("web")
    service = here.service("web")
    assert (service.status_reason, copy.failure_reason) == ("RunnerUnavailable", "RunnerUnavailable")
    assert service.status_message.endswith("the Docker Engine is out of reach")
    await here.until(lambda: here.service("job").status is ServiceStatus.RUNNING)
    here.engine.unreachable = ""
    here.control.look_at_runner("docker")
    await here.until(lambda: runs(here))
    (copy,) = here.copies("web")
    assert (copy.status_message, copy.attempt, copy.streak) == ("", 1, 0)


async def test_an_engine_that_is_away_does_not_write_the_same_thing_again(here: World) -> None:
    here.engine.unreachable = "away"
    await here.cast("web", process=None, image="web:1")
    await here.until(lambda: here.service("web").status is ServiceStatus.FAILED)
    before = here.copies("web")[0].revision
    for _ in range(3):
        here.control.look_at_runner("docker")
    await here.cast("job")
    await here.until(lambda: here.service("job").status is ServiceStatus.RUNNING)
    assert here.copies("web")[0].revision == before


async def test_what_is_to_go_waits_for_an_engine_that_is_away(here: World) -> None:
    await placed(here)
    here.engine.unreachable = "away"
    ask = api.DeleteServiceRequest(name="web", detach=True)
    await here.call(api.delete, ask)
    await here.until(lambda: here.copies("web")[0].status_message == "away")
    assert here.copies("web")[0].desired is DesiredState.DELETED
    here.engine.unreachable = ""
    here.control.look_at_runner("docker")
    await here.until(lambda: here.store.find(Service, "default", "web") is None)
    assert here.engine.all() == []


async def test_an_engine_that_is_found_before_the_log_was_read_loses_nothing() -> None:
    made = World()
    await made.store.commit(Put(Namespace(name="default")))
    async with made.store:
        await made.cast("web", process=None, image="web:1")
        instance = new_copy(made.service("web"), clock=made.clock, node="here")
        await made.store.commit(Put(instance))
        before = await made.engine.ensure(Workload(instance=instance.id, attempt=1, image="web:1"))
        made.control.look_at_runner("docker")
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(made.control.run())
            await made.until(lambda: runs(made))
            running.cancel()
    assert made.engine.observe(instance.id) == before


async def test_what_nobody_wants_is_removed_once_its_engine_is_back(here: World) -> None:
    await here.engine.ensure(Workload(instance="stranger", image="web:1"))
    here.control.look_at_runner("docker")
    await here.cast("job")
    await here.until(lambda: here.service("job").status is ServiceStatus.RUNNING)
    assert here.engine.all() == []


async def test_an_image_on_its_way_is_no_failure(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def pulling(workload: Workload) -> None:
        raise Pulling(f"image {workload.image!r} is being pulled")

    monkeypatch.setattr(here.engine, "ensure", pulling)
    await here.cast("web", process=None, image="web:1")
    await here.until(lambda: here.copies("web") and here.copies("web")[0].status_message)
    (copy,) = here.copies("web")
    assert (copy.status, copy.status_message) == (InstanceStatus.STARTING, "image 'web:1' is being pulled")


def spec(**fields: Any) -> Service:
    return spec_of(Service(name="web", namespace="default", image="web:1", **fields))


ANN = Principal(id="ann", name="ann", rules=(rule("services", ["create", "update"]),))
BOB = Principal(id="bob", name="bob", rules=(rule("services", ["privileged"], "default"),))


@pytest.mark.parametrize(
    "context",
    [
        SecurityContext(privileged=True),
        SecurityContext(cap_add=["sys_admin"]),
        SecurityContext(cap_add=["CAP_ALL"]),
        SecurityContext(seccomp_profile=SeccompProfile(type="UnConfined")),
    ],
    ids=["privileged", "a capability", "all capabilities", "unconfined"],
)
async def test_more_than_a_container_has_by_itself_takes_a_permission(context: SecurityContext) -> None:
    asked = spec(security_context=context)
    with pytest.raises(PermissionDenied, match="takes the permission services:privileged"):
        await Admission().admit(ANN, asked)
    await Admission().admit(BOB, asked)


@pytest.mark.parametrize(
    "context",
    [None, SecurityContext(cap_add=["NET_RAW"], seccomp_profile=SeccompProfile(type="RuntimeDefault"))],
)
async def test_what_a_container_has_anyway_takes_none(context: SecurityContext | None) -> None:
    await Admission().admit(ANN, spec(security_context=context))


async def test_a_runner_that_is_switched_off_is_named_with_its_setting() -> None:
    with pytest.raises(FailedPrecondition, match=r"set runner\.docker\.enabled in its Runefile"):
        await Admission(["process"]).admit(BOB, spec())


@pytest.mark.parametrize(
    "image",
    ["web", "web:1.2", "a/b/c:x", "localhost/web", "10.0.0.1:5000/web:1", "[::1]:5000/web",
     "docker.io/library/web@sha256:" + "a" * 64, "registry.example.com/team/web__x.y-z:V1"],
)  # fmt: skip
def test_names_of_images_are_taken(image: str) -> None:
    assert spec_of(Service(name="web", namespace="default", image=image)).image == image


@pytest.mark.parametrize(
    ("ports", "surge"),
    [([], 1), ([ServicePort(port=80)], 1), ([ServicePort(port=80, host_port=80)], 0)],
    ids=["none", "its own", "one of the machine"],
)
def test_containers_leave_first_only_where_they_hold_a_port_of_the_machine(
    ports: list[ServicePort], surge: int
) -> None:
    rollout = rollout_of(spec(scale=1, ports=ports), recreate=False)
    assert (rollout.surge, rollout.unavailable) == (surge, 1 - surge)


async def test_a_runner_that_is_away_for_a_moment_is_asked_again_at_once(here: World) -> None:
    here.runner.unreachable = "the keeper is being started"
    await here.cast("job")
    await here.until(lambda: here.service("job").status is ServiceStatus.FAILED)
    here.runner.unreachable = ""
    async with asyncio.timeout(1):
        await here.until(lambda: here.service("job").status is ServiceStatus.RUNNING)
