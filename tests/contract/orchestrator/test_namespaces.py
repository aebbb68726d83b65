"""Namespaces come and go, and nothing in them stays behind."""

from __future__ import annotations

import asyncio

import pytest

from promises import promise
from rune.api.orchestrator import namespaces as api
from rune.api.orchestrator import services as service_api
from rune.api.orchestrator.namespaces import Namespace, NamespaceDeletion
from rune.api.orchestrator.services import Service
from rune.api.orchestrator.specs import ProcessSpec
from rune.core.access import rule
from rune.core.crud import put
from rune.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from rune.orchestrator.namespaces import seed
from unit.orchestrator.plane import KINDS, Plane, names

pytestmark = promise("namespaces.life")


async def create(plane: Plane, name: str, **given: object) -> Namespace:
    ask = api.CreateNamespaceRequest(namespace=Namespace(name=name, **given))  # pyright: ignore[reportArgumentType] - fields by name
    answer = await plane.call(api.create, ask)
    assert answer.namespace
    return answer.namespace


async def delete(plane: Plane, name: str, *, force: bool = False, ignore_not_found: bool = False) -> str:
    ask = api.DeleteNamespaceRequest(name=name, force=force, ignore_not_found=ignore_not_found)
    answer = await plane.call(api.delete, ask)
    assert answer.status
    return answer.status.message


def left(plane: Plane, namespace: str) -> list[str]:
    return [str(item.key) for kind in KINDS for item in plane.store.list(kind, namespace)]


@promise("namespaces.built-in")
async def test_default_and_system_are_there_from_the_first_start(plane: Plane) -> None:
    await seed(plane.store, clock=plane.clock)  # and a second start changes nothing
    answer = await plane.call(api.list_, api.ListNamespacesRequest())
    assert names(answer.namespaces) == ["default", "system"]


async def test_a_namespace_is_stored_with_an_id_and_its_times(plane: Plane) -> None:
    made = await create(plane, "shop", description="what we sell", labels={"team": "web"}, id="mine")
    assert made.id != "mine"
    assert made.created_at == made.updated_at == plane.clock.now()
    assert (await plane.call(api.get, api.GetNamespaceRequest(name="shop"))).namespace == made


@promise("crud.exists")
async def test_a_second_namespace_of_a_name_is_refused(plane: Plane) -> None:
    await create(plane, "shop")
    with pytest.raises(AlreadyExists, match="namespace shop exists already"):
        await create(plane, "shop")


@pytest.mark.parametrize("name", ["default", "system"])
async def test_reserved_names_are_neither_made_nor_deleted(plane: Plane, name: str) -> None:
    with pytest.raises(InvalidArgument, match=f"namespace name '{name}' is reserved"):
        await create(plane, name)
    with pytest.raises(FailedPrecondition, match=f"cannot delete reserved namespace: {name}"):
        await delete(plane, name, force=True)


async def test_labels_have_a_limit(plane: Plane) -> None:
    with pytest.raises(InvalidArgument, match=r"namespace\.labels: has 65 entries"):
        await create(plane, "shop", labels={f"k{number}": "" for number in range(65)})


async def test_the_mark_of_a_deletion_is_not_taken_from_a_client(plane: Plane) -> None:
    made = await create(plane, "shop", deletion=NamespaceDeletion.FORCED)
    assert made.deletion is NamespaceDeletion.UNSPECIFIED


@promise("access.lists")
async def test_lists_show_what_the_caller_may_see(plane: Plane) -> None:
    plane.people.rules["ann"] = (rule("namespaces", ["list", "watch", "get"], "shop"),)
    await create(plane, "shop", labels={"team": "web"})
    await create(plane, "shop-eu", labels={"team": "web"})
    seen = await plane.call(api.list_, api.ListNamespacesRequest(), "ann")
    assert names(seen.namespaces) == ["shop"]
    chosen = await plane.call(api.list_, api.ListNamespacesRequest(label_selector={"team": "web"}))
    assert names(chosen.namespaces) == ["shop", "shop-eu"]
    with pytest.raises(PermissionDenied):
        await plane.call(api.get, api.GetNamespaceRequest(name="shop-eu"), "ann")


async def test_watches_show_what_the_caller_may_see(plane: Plane) -> None:
    plane.people.rules["ann"] = (rule("namespaces", ["watch"], "shop"),)
    async with plane.stream(api.watch, api.WatchNamespacesRequest(resume=1), who="ann") as items:
        await create(plane, "shop-eu")
        await create(plane, "shop")
        first = await anext(items)
    assert first.namespace
    assert first.namespace.name == "shop"


@promise("crud.not-found")
async def test_a_missing_namespace_is_named(plane: Plane) -> None:
    with pytest.raises(NotFound, match="namespace not found: shop"):
        await plane.call(api.get, api.GetNamespaceRequest(name="shop"))
    with pytest.raises(NotFound, match="namespace not found: shop"):
        await delete(plane, "shop")
    assert await delete(plane, "shop", ignore_not_found=True) == "not found"


async def test_an_empty_namespace_is_deleted(plane: Plane) -> None:
    await create(plane, "shop")
    await delete(plane, "shop")
    assert plane.store.find(Namespace, "", "shop") is None


async def test_a_namespace_that_is_not_empty_stays_and_says_what_it_holds(plane: Plane) -> None:
    for number in range(7):
        await plane.serve(f"s{number}", "shop")
    with pytest.raises(FailedPrecondition, match=r"7 services \(s0, s1, s2, s3, s4, …\)"):
        await delete(plane, "shop")
    kept = plane.store.get(Namespace, "", "shop")
    assert kept.deletion is NamespaceDeletion.UNSPECIFIED


async def test_force_deletes_everything_and_waits_for_it(plane: Plane) -> None:
    await plane.serve("api", "shop", scale=3)
    await plane.serve("web", "shop")
    await plane.serve("api", "shop-eu")
    await plane.copy_of("api", "shop")
    await delete(plane, "shop", force=True)
    assert left(plane, "shop") == []
    assert plane.store.find(Namespace, "", "shop") is None
    await plane.copy_of("api", "shop-eu")


async def test_a_deletion_that_an_earlier_runed_began_is_carried_through(plane: Plane) -> None:
    await plane.serve("api", "shop")
    found = plane.store.get(Namespace, "", "shop")
    await plane.store.commit(put(found, deletion=NamespaceDeletion.FORCED))
    await plane.until(lambda: plane.store.find(Namespace, "", "shop") is None)
    assert left(plane, "shop") == []


async def test_nothing_new_is_made_in_a_namespace_that_is_being_deleted(plane: Plane) -> None:
    plane.runner.unreachable = "the engine is away"  # so that the deletion takes its time
    await plane.serve("api", "shop")
    await plane.until(lambda: bool(plane.copies("api", "shop")))
    async with asyncio.TaskGroup() as tasks:
        ended = tasks.create_task(delete(plane, "shop", force=True))
        await plane.until(lambda: plane.store.get(Namespace, "", "shop").deletion is NamespaceDeletion.FORCED)
        with pytest.raises(FailedPrecondition, match="namespace shop is being deleted"):
            await plane.serve("web", "shop")
        plane.runner.unreachable = ""
        await ended
    assert left(plane, "shop") == []


@pytest.mark.parametrize("force", [True, False])
async def test_a_service_that_is_created_while_its_namespace_is_deleted_is_no_orphan(
    plane: Plane, force: bool
) -> None:
    for number in range(20):
        name = f"shop{number}"
        await create(plane, name)
        service = Service(name="api", namespace=name, scale=1, process=ProcessSpec(command="sleeper"))
        ask = service_api.CreateServiceRequest(service=service)

        async def late(turns: int, ask: service_api.CreateServiceRequest) -> None:
            for _ in range(turns):
                await asyncio.sleep(0)
            await plane.call(service_api.create, ask)

        results = await asyncio.gather(
            delete(plane, name, force=force), late(number, ask), return_exceptions=True
        )
        assert all(isinstance(each, (FailedPrecondition, str, type(None))) for each in results), results
        stays = plane.store.find(Namespace, "", name) is not None
        assert stays or left(plane, name) == []
        assert not stays or (plane.store.find(Service, name, "api") is not None and not force)


async def test_two_creations_that_both_make_the_namespace_both_succeed(plane: Plane) -> None:
    await asyncio.gather(plane.serve("api", "shop"), plane.serve("web", "shop"))
    assert names(plane.store.list(Service, "shop")) == ["api", "web"]
