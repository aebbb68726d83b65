"""Services from create to delete, with the reconcilers running and a runner in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from rune.api.orchestrator import deletions
from rune.api.orchestrator import services as api
from rune.api.orchestrator.instances import Instance, InstanceStatus
from rune.api.orchestrator.services import Service, ServiceStatus
from rune.api.orchestrator.specs import (
    DependencyRef,
    HealthCheck,
    Probe,
    ProbeType,
    ProcessSpec,
    RestartPolicy,
)
from rune.core.access import Principal, rule
from rune.core.store.base import Delete
from rune.errors import (
    AlreadyExists,
    Conflict,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
)
from rune.orchestrator.runners.fake import Script
from rune.orchestrator.spec import Template
from world import World, world

pytestmark = pytest.mark.looptime


@pytest.fixture
async def here() -> AsyncIterator[World]:
    async with world() as made:
        yield made


def runs(here: World, name: str = "api") -> bool:
    service = here.service(name)
    settled = (
        service.metadata is not None and service.metadata.observed_generation == service.metadata.generation
    )
    return settled and service.status is ServiceStatus.RUNNING


def spec(name: str = "api", **fields: Any) -> Service:
    given: dict[str, Any] = {"scale": 1, "process": ProcessSpec(command="sleep"), **fields}
    return Service(name=name, **given)


async def update(here: World, wanted: Service, **more: Any) -> Service:
    answer = await here.call(api.update, api.UpdateServiceRequest(service=wanted, **more))
    assert answer.service
    return answer.service


async def delete(here: World, name: str = "api", **more: Any) -> api.DeleteServiceResponse:
    return await here.call(api.delete, api.DeleteServiceRequest(name=name, **more))


async def test_a_new_service_gets_its_copies(here: World) -> None:
    await here.cast("api", scale=3)
    await here.until(lambda: runs(here))
    copies = here.copies("api")
    assert len(copies) == 3
    assert all(copy.ready and copy.pid and copy.status is InstanceStatus.RUNNING for copy in copies)


async def test_a_copy_knows_who_it_is(here: World) -> None:
    await here.cast("api", env={"COLOR": "blue"})
    await here.until(lambda: runs(here))
    workload = here.runner.started[0]
    assert workload.env == {
        "COLOR": "blue",
        "RUNE_SERVICE_NAME": "api",
        "RUNE_SERVICE_NAMESPACE": "default",
        "RUNE_INSTANCE_ID": workload.instance,
    }


async def test_a_name_can_be_taken_once(here: World) -> None:
    await here.cast("api")
    with pytest.raises(AlreadyExists, match="service default/api exists"):
        await here.cast("api")


async def test_a_service_needs_its_namespace(here: World) -> None:
    with pytest.raises(FailedPrecondition, match="namespace prod does not exist"):
        await here.cast("api", namespace="prod")
    ask = api.CreateServiceRequest(service=spec(namespace="prod"), ensure_namespace=True)
    answer = await here.call(api.create, ask)
    assert answer.service
    assert answer.service.namespace == "prod"


async def test_what_clients_say_of_the_systems_part_is_not_taken(here: World) -> None:
    made = await here.cast("api", id="mine", status=ServiceStatus.FAILED, status_reason="lies")
    assert made.id != "mine"
    assert made.status is ServiceStatus.PENDING
    assert made.status_reason == ""


async def test_the_same_spec_again_changes_nothing(here: World) -> None:
    await here.cast("api")
    await here.until(lambda: runs(here))
    before = here.store.revision
    await update(here, spec())
    assert here.store.revision == before


async def test_a_forced_update_replaces_the_copies_of_an_unchanged_service(here: World) -> None:
    await here.cast("api")
    await here.until(lambda: runs(here))
    old = here.copies("api")[0].id
    await update(here, spec(), force=True)
    await here.until(lambda: runs(here) and [copy.id for copy in here.copies("api")] != [old])
    assert len(here.runner.all()) == 1


async def test_a_change_of_labels_touches_no_copy(here: World) -> None:
    await here.cast("api")
    await here.until(lambda: runs(here))
    old = here.copies("api")[0].id
    changed = await update(here, spec(labels={"team": "a"}))
    assert changed.metadata
    assert (changed.metadata.generation, changed.metadata.template_generation) == (2, 1)
    await here.until(lambda: runs(here))
    assert here.copies("api")[0].id == old


async def test_a_changed_template_replaces_every_copy_one_by_one(here: World) -> None:
    await here.cast("api", scale=3)
    await here.until(lambda: runs(here))
    most = 0

    def settled() -> bool:
        nonlocal most
        running = [copy for copy in here.copies("api") if copy.ready]
        most = max(most, len(here.copies("api")))
        assert len(running) >= 3
        return runs(here) and all(copy.metadata and copy.metadata.generation == 2 for copy in running)

    await update(here, spec(scale=3, env={"A": "1"}))
    await here.until(settled)
    assert most <= 5  # one of surge, and one on its way out


async def test_a_roll_out_waits_for_health_and_keeps_the_old_copy_until_then(here: World) -> None:
    health = HealthCheck(readiness=Probe(type=ProbeType.EXEC, command=["true"]))
    await here.cast("api", health=health)
    await here.until(lambda: here.copies("api") and here.copies("api")[0].pid)
    old = here.copies("api")[0].id
    here.doctor.says_ready[old] = True
    here.control.look_at(old)
    await here.until(lambda: runs(here))
    await update(here, spec(health=health, env={"A": "1"}))
    await here.until(lambda: len(here.copies("api")) == 2 and all(copy.pid for copy in here.copies("api")))
    assert here.service("api").status is ServiceStatus.UPDATING
    (new,) = (copy.id for copy in here.copies("api") if copy.id != old)
    here.doctor.says_ready[new] = True
    here.control.look_at(new)
    await here.until(lambda: [copy.id for copy in here.copies("api")] == [new] and runs(here))


async def test_scaling_down_and_to_zero_ends_copies(here: World) -> None:
    await here.cast("api", scale=3)
    await here.until(lambda: runs(here))
    await here.call(api.scale, api.ScaleServiceRequest(name="api", scale=1))
    await here.until(lambda: runs(here) and len(here.copies("api")) == 1)
    await here.call(api.scale, api.ScaleServiceRequest(name="api", scale=0))
    await here.until(lambda: runs(here) and not here.copies("api"))
    assert here.runner.all() == []
    metadata = here.service("api").metadata
    assert metadata
    assert metadata.last_non_zero_scale == 1


async def test_scaling_can_be_followed_to_its_end(here: World) -> None:
    await here.cast("api")
    await here.call(api.scale, api.ScaleServiceRequest(name="api", scale=3))
    items = [
        item async for item in here.stream(api.watch_scaling, api.WatchScalingRequest(service_name="api"))
    ]
    assert items[-1].complete
    assert items[-1].running_instances == 3
    assert not any(item.complete for item in items[:-1])


async def test_restart_replaces_every_copy(here: World) -> None:
    await here.cast("api", scale=2)
    await here.until(lambda: runs(here))
    old = {copy.id for copy in here.copies("api")}
    answer = await here.call(api.restart, api.RestartServiceRequest(name="api"))
    assert (answer.template_generation, answer.scale) == (2, 2)
    await here.until(lambda: runs(here) and not old & {copy.id for copy in here.copies("api")})


async def test_a_copy_that_ends_runs_again(here: World) -> None:
    await here.cast("api")
    await here.until(lambda: runs(here))
    copy = here.copies("api")[0]
    here.runner.exit(copy.id, 137)
    await here.until(lambda: here.copies("api")[0].attempt == 2 and here.copies("api")[0].ready)
    again = here.copies("api")[0]
    assert again.id == copy.id
    assert again.pid not in (0, copy.pid)
    assert again.metadata
    assert again.metadata.restart_count == 1


async def test_a_command_that_cannot_start_fails_with_the_reason_and_is_tried_again(here: World) -> None:
    here.runner.scripts["nope"] = Script(refused="command 'nope' not found in PATH")
    await here.cast("api", process=ProcessSpec(command="nope"))
    await here.until(lambda: here.service("api").status is ServiceStatus.FAILED)
    failed = here.service("api")
    assert failed.status_reason == "RunnerStartError"
    assert "command 'nope' not found in PATH; tried again in 1 s, at 00:00:01 UTC" in failed.status_message
    del here.runner.scripts["nope"]
    await here.until(lambda: runs(here))


async def test_a_job_that_ends_well_is_left_alone(here: World) -> None:
    here.runner.scripts["job"] = Script(exits=0)
    await here.cast("api", process=ProcessSpec(command="job"), restart_policy=RestartPolicy.ON_FAILURE)
    await here.until(lambda: runs(here) and here.service("api").status_reason == "Ended")
    assert here.copies("api")[0].status is InstanceStatus.EXITED


async def test_a_service_waits_for_what_it_depends_on(here: World) -> None:
    await here.cast("web", dependencies=[DependencyRef(service="db")])
    await here.until(lambda: here.service("web").status_reason == "WaitingForDependencies")
    assert here.service("web").status_message == "service db does not exist"
    assert here.copies("web") == []
    await here.cast("db")
    await here.until(lambda: runs(here, "web"))


async def test_an_optional_dependency_that_does_not_exist_holds_nothing_up(here: World) -> None:
    await here.cast("web", dependencies=[DependencyRef(service="cache", optional=True)])
    await here.until(lambda: runs(here, "web"))


async def test_a_cycle_of_dependencies_is_refused_and_named(here: World) -> None:
    await here.cast("b", dependencies=[DependencyRef(service="c")])
    await here.cast("c", dependencies=[DependencyRef(service="a")])
    with pytest.raises(InvalidArgument, match=r"dependency cycle detected: a -> b -> c -> a"):
        await here.cast("a", dependencies=[DependencyRef(service="b")])


async def test_a_service_that_others_depend_on_is_not_deleted_by_accident(here: World) -> None:
    await here.cast("db")
    await here.cast("web", dependencies=[DependencyRef(service="db")])
    await here.until(lambda: runs(here, "web"))
    with pytest.raises(FailedPrecondition, match="dependents exist: default/web"):
        await delete(here, "db")
    done = await delete(here, "db", no_dependencies=True)
    assert done.status
    assert done.status.message == "completed"


async def test_deleting_ends_the_copies_and_leaves_nothing_behind(here: World) -> None:
    await here.cast("api", scale=2)
    await here.until(lambda: runs(here))
    done = await delete(here)
    assert done.status
    assert done.status.message == "completed"
    assert here.runner.all() == []
    assert here.store.list(Service) == here.store.list(Instance) == here.store.list(Template) == ()
    kept = await here.call(deletions.get, deletions.GetDeletionStatusRequest(name=done.deletion_id))
    assert kept.operation
    assert (kept.operation.status, kept.operation.deleted_instances) == ("completed", 2)
    listed = await here.call(deletions.list_, deletions.ListDeletionOperationsRequest())
    assert [item.id for item in listed.operations] == [done.deletion_id]


async def test_a_deletion_under_way_refuses_changes_and_a_second_deletion(here: World) -> None:
    here.runner.scripts["sleep"] = Script(stubborn=True)
    await here.cast("api", drain_seconds=60)
    await here.until(lambda: runs(here))
    first = await delete(here, detach=True)
    with pytest.raises(FailedPrecondition, match=f"already in progress .*{first.deletion_id}"):
        await delete(here)
    with pytest.raises(FailedPrecondition, match="is being deleted"):
        await update(here, spec(env={"A": "1"}))


async def test_a_dry_run_deletes_nothing(here: World) -> None:
    await here.cast("api")
    answer = await delete(here, dry_run=True)
    assert answer.deletion_id == "dry-run"
    assert here.service("api").deletion_id == ""


async def test_what_is_missing_is_not_found_by_its_full_name(here: World) -> None:
    with pytest.raises(NotFound, match="service not found: default/nope"):
        await here.call(api.get, api.GetServiceRequest(name="nope"))
    with pytest.raises(NotFound, match="service not found: default/nope"):
        await delete(here, "nope")
    ignored = await delete(here, "nope", ignore_not_found=True)
    assert ignored.deletion_id == ""


async def test_a_write_that_names_an_old_revision_is_refused(here: World) -> None:
    made = await here.cast("api")
    await here.until(lambda: runs(here))
    with pytest.raises(Conflict, match="read it again"):
        await update(here, spec(env={"A": "1"}, revision=made.revision))
    current = here.service("api")
    await update(here, spec(env={"A": "1"}, revision=current.revision))


async def test_copies_whose_service_vanished_are_ended(here: World) -> None:
    await here.cast("api")
    await here.until(lambda: runs(here))
    await here.store.commit(Delete(here.service("api").key))
    await here.until(lambda: not here.copies("api"))
    assert here.runner.all() == []


async def test_lists_select_by_label_and_field_and_come_in_pages(here: World) -> None:
    for name, team in (("a", "x"), ("b", "y"), ("c", "x")):
        await here.cast(name, labels={"team": team})

    async def names(**ask: Any) -> list[str]:
        answer = await here.call(api.list_, api.ListServicesRequest(**ask))
        return [item.name for item in answer.services]

    assert await names(label_selector={"team": "x"}) == ["a", "c"]
    assert await names(label_selector={"team!": "x"}) == ["b"]
    assert await names(field_selector={"name": "b"}) == ["b"]
    with pytest.raises(InvalidArgument, match="field_selector.color: is not one of"):
        await names(field_selector={"color": "red"})
    first = await here.call(api.list_, api.ListServicesRequest(paging=api.PagingParams(limit=2)))
    assert [item.name for item in first.services] == ["a", "b"]
    assert first.paging
    token = first.paging.continuation_token
    rest = await here.call(
        api.list_, api.ListServicesRequest(paging=api.PagingParams(limit=2, continuation_token=token))
    )
    assert [item.name for item in rest.services] == ["c"]
    assert rest.paging
    assert rest.paging.continuation_token == ""


async def test_a_caller_sees_only_the_namespaces_of_its_grants(here: World) -> None:
    here.identity.principals["ann"] = Principal(id="ann", name="ann", rules=(rule("*", ["*"], "prod"),))
    await here.cast("api")
    ask = api.CreateServiceRequest(service=spec("shop", namespace="prod"), ensure_namespace=True)
    await here.call(api.create, ask, "ann")
    seen = await here.call(api.list_, api.ListServicesRequest(namespace="*"), "ann")
    assert [item.name for item in seen.services] == ["shop"]
    with pytest.raises(PermissionDenied, match="resource: services verb: list in namespace: default"):
        await here.call(api.list_, api.ListServicesRequest(), "ann")
    async for item in here.stream(api.watch, api.WatchServicesRequest(namespace="*"), "ann"):
        assert item.service
        assert item.service.name == "shop"
        break


async def test_what_a_copy_that_never_started_left_on_the_machine_goes_with_it(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mounted secrets are laid out before the start."""
    removed: list[str] = []

    async def remove(instance: str) -> None:
        removed.append(instance)

    monkeypatch.setattr(here.runner, "remove", remove)
    here.runner.scripts["nope"] = Script(refused="command 'nope' not found in PATH")
    await here.cast("api", process=ProcessSpec(command="nope"))
    await here.until(lambda: any(copy.status is InstanceStatus.FAILED for copy in here.copies("api")))
    [copy] = here.copies("api")
    await here.call(api.delete, api.DeleteServiceRequest(name="api"))
    await here.until(lambda: not here.copies("api"))
    assert copy.id in removed
