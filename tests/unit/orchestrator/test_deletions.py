"""Deletions in virtual time: their stages, one that is stuck, and what a crash in the middle leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from promises import promise
from rune.api.orchestrator import deletions as api
from rune.api.orchestrator import services
from rune.api.orchestrator.deletions import DeletionOperation
from rune.api.orchestrator.instances import DesiredState, Instance
from rune.api.orchestrator.services import Service, ServiceStatus
from rune.api.orchestrator.specs import DependencyRef, ServicePort
from rune.core.store.base import Put
from rune.errors import FailedPrecondition, NotFound
from rune.orchestrator import finalizers
from rune.orchestrator.runners.fake import Script
from rune.orchestrator.spec import Template
from world import World, world

pytestmark = pytest.mark.looptime


@pytest.fixture
async def here() -> AsyncIterator[World]:
    async with world() as made:
        yield made


def runs(here: World, name: str = "api") -> bool:
    found = here.store.find(Service, "default", name)
    return found is not None and found.status is ServiceStatus.RUNNING


async def pass_time(seconds: float) -> None:
    await asyncio.sleep(seconds)  # noqa: TID251 - virtual time, and nothing in the store tells of it


async def served(here: World, name: str = "api", **fields: Any) -> Service:
    made = await here.cast(name, **fields)
    await here.until(lambda: runs(here, name))
    return made


async def begin(here: World, name: str = "api", **more: Any) -> str:
    ask = services.DeleteServiceRequest(name=name, detach=True, **more)
    return (await here.call(services.delete, ask)).deletion_id


def deletion(here: World, name: str) -> DeletionOperation:
    return here.store.get(DeletionOperation, "default", name)


@asynccontextmanager
async def stuck(here: World) -> AsyncGenerator[str]:
    """A deletion whose copies the runner cannot end."""
    await served(here, scale=2)
    here.runner.unreachable = "the engine is away"
    yield await begin(here)
    here.runner.unreachable = ""


@promise("deletion.staged")
async def test_a_deletion_goes_through_its_stages_and_can_be_watched(here: World) -> None:
    await served(here, scale=2)
    watched = here.stream(api.watch, api.WatchDeletionsRequest(name="api"))
    name = await begin(here)
    stages: list[tuple[str, list[str]]] = []
    async for item in watched:
        assert item.operation
        stage = (item.operation.status, [step.status for step in item.operation.finalizers])
        if not stages or stages[-1] != stage:
            stages.append(stage)
        if item.operation.end_time:
            break
    assert stages == [
        ("deleting-instances", ["running", "pending"]),
        ("running-finalizers", ["completed", "running"]),
        ("completed", ["completed", "completed"]),
    ]
    done = deletion(here, name)
    assert (done.deleted_instances, done.total_instances, done.pending_operations) == (2, 2, [])
    assert here.store.list(Service) == here.store.list(Instance) == here.store.list(Template) == ()


async def test_an_operation_is_kept_for_an_hour_after_its_end(here: World) -> None:
    await served(here)
    name = await begin(here)
    await here.until(lambda: here.store.find(DeletionOperation, "default", name) is None)
    assert here.clock.monotonic() >= 3600


@promise("deletion.stuck")
async def test_one_that_is_stuck_says_so_and_goes_on(here: World) -> None:
    async with stuck(here) as name:
        await here.until(lambda: deletion(here, name).status == "failed")
        late = deletion(here, name)
        assert "the runner has not confirmed the end of api-instance-" in late.failure_reason
        assert late.finalizers[0].status == "failed"
        assert late.finalizers[0].error == late.failure_reason
        assert here.clock.monotonic() >= 120
    await here.until(lambda: deletion(here, name).status == "completed")
    assert deletion(here, name).failure_reason == ""


async def test_a_retry_gives_it_its_time_anew_and_kills_what_is_left(here: World) -> None:
    here.runner.scripts["sleep"] = Script(stubborn=True)
    await served(here, drain_seconds=10_000)
    name = await begin(here)
    await here.until(
        lambda: deletion(here, name).deleted_instances == 0 and here.copies("api")[0].grace is None
    )
    answer = await here.call(api.retry, api.RetryDeletionRequest(name="api"))
    assert answer.operation
    assert answer.operation.status == "deleting-instances"
    await here.until(lambda: deletion(here, name).end_time is not None)
    assert here.clock.monotonic() < 1


async def test_force_ends_copies_that_are_given_hours_to_end(here: World) -> None:
    here.runner.scripts["sleep"] = Script(stubborn=True)
    await served(here, drain_seconds=10_000)
    await begin(here)
    await here.until(lambda: here.copies("api")[0].desired is DesiredState.DELETED)
    await here.call(api.force, api.ForceDeletionRequest(name="api"))
    await pass_time(1)
    assert here.runner.all() == []


@promise("deletion.force")
async def test_force_clears_one_that_is_stuck_and_the_runner_is_still_told(here: World) -> None:
    async with stuck(here) as name:
        answer = await here.call(api.force, api.ForceDeletionRequest(name=name))
        assert answer.operation
        assert answer.operation.status == "completed"
        assert answer.operation.failure_reason == "cleared by force: 2 copies were not seen to end"
        assert here.store.list(Service) == here.store.list(Instance) == here.store.list(Template) == ()
        assert len(here.runner.all()) == 2
    await pass_time(120)
    assert here.runner.all() == []


async def test_what_has_ended_or_never_was_cannot_be_retried_or_forced(here: World) -> None:
    await served(here)
    name = await begin(here)
    await here.until(lambda: deletion(here, name).end_time is not None)
    with pytest.raises(FailedPrecondition, match="has ended"):
        await here.call(api.retry, api.RetryDeletionRequest(name=name))
    with pytest.raises(FailedPrecondition, match="has ended"):
        await here.call(api.force, api.ForceDeletionRequest(name=name))
    with pytest.raises(NotFound, match="deletion operation not found: nope"):
        await here.call(api.force, api.ForceDeletionRequest(name="nope"))


@promise("deletion.free")
async def test_a_stuck_deletion_does_not_hold_up_the_next_cast_of_its_name(here: World) -> None:
    async with stuck(here) as name:
        await here.until(lambda: all(c.desired is DesiredState.DELETED for c in here.copies("api")))
        old = {copy.id for copy in here.copies("api")}
        here.runner.unreachable = ""
        here.runner.scripts["sleep"] = Script()
        made = await here.cast("api", scale=1)
        assert made.metadata
        assert (made.metadata.generation, made.metadata.template_generation) == (1, 2)
        await here.until(lambda: runs(here))
        new = [copy for copy in here.copies("api") if copy.id not in old]
        assert [copy.service_id for copy in new] == [made.id]
    await here.until(lambda: deletion(here, name).end_time is not None)
    assert here.service("api").id == made.id
    assert [item.generation for item in here.store.list(Template)] == [2]


async def test_the_next_of_a_name_waits_a_while_for_ports_that_are_being_given_up(here: World) -> None:
    here.runner.scripts["sleep"] = Script(stubborn=True)
    ports = [ServicePort(port=80)]
    await served(here, ports=ports, drain_seconds=300)
    await begin(here)
    await here.until(lambda: here.copies("api")[0].desired is DesiredState.DELETED)
    began = here.clock.monotonic()
    await here.cast("api", ports=ports)
    await here.until(lambda: here.service("api").status_reason == "WaitingForDependencies")
    assert "copies of the deleted service of this name still end" in here.service("api").status_message
    await here.until(lambda: runs(here))
    assert 59 <= here.clock.monotonic() - began <= 61


@promise("deletion.crash")
@pytest.mark.parametrize("stage", ["marked", "retired", "ended", "finalizing"])
async def test_a_crash_in_any_stage_is_gone_on_from(stage: str) -> None:
    async with world() as here:
        await served(here, scale=2)
        service, copies = here.service("api"), here.copies("api")
        templates = here.store.list(Template)
    operation = finalizers.begin(service, 2, clock=here.clock)
    marked = [msgspec.structs.replace(item, desired=DesiredState.DELETED) for item in copies]
    left = {"marked": copies, "retired": marked, "ended": marked[:1], "finalizing": []}[stage]
    if stage == "finalizing":
        operation = finalizers.deregistering(operation, now=here.clock.now())
    again = World()
    kept = [msgspec.structs.replace(service, deletion_id=operation.id), operation, *left, *templates]
    await again.store.commit(*(Put(msgspec.structs.replace(item, revision=0)) for item in kept))
    async with again.running():
        await again.until(lambda: deletion(again, operation.id).status == "completed")
        assert again.store.list(Service) == again.store.list(Instance) == again.store.list(Template) == ()


async def test_a_mark_without_its_operation_gets_a_new_one(here: World) -> None:
    await served(here)
    await here.store.commit(Put(msgspec.structs.replace(here.service("api"), deletion_id="lost")))
    await here.until(lambda: here.store.find(Service, "default", "api") is None)
    (operation,) = here.store.list(DeletionOperation)
    await here.until(lambda: deletion(here, operation.id).end_time is not None)


async def test_an_operation_that_an_older_server_began_comes_to_its_end(here: World) -> None:
    await served(here)
    service = here.service("api")
    begun = finalizers.begin(service, 1, clock=here.clock)
    older = msgspec.structs.replace(begun, service_id="", template_generation=0, attempt_at=None)
    await here.store.commit(Put(older), Put(msgspec.structs.replace(service, deletion_id=older.id)))
    await here.until(lambda: deletion(here, older.id).end_time is not None)
    assert here.store.list(Service) == here.store.list(Template) == ()


@promise("crud.in-use")
async def test_what_others_depend_on_is_deleted_only_when_that_is_overridden(here: World) -> None:
    await served(here, "db")
    await served(here, "web", dependencies=[DependencyRef(service="db")])
    with pytest.raises(FailedPrecondition, match=r"dependents exist: default/web .*--no-dependencies"):
        await begin(here, "db")
    await begin(here, "db", no_dependencies=True)
    await here.until(lambda: here.store.find(Service, "default", "db") is None)
