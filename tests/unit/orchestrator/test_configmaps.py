"""Configmaps count their versions, keep ten of them, and never go while a service uses them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import pytest

from rune.api.common import EventType
from rune.api.orchestrator import configmaps as api
from rune.api.orchestrator.configmaps import Configmap
from rune.api.orchestrator.services import Service
from rune.api.orchestrator.specs import ConfigmapMount
from rune.core.access import rule
from rune.core.store.base import Put
from rune.errors import (
    AlreadyExists,
    Conflict,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
)
from rune.orchestrator.configmaps import Configmaps, ConfigmapVersion
from unit.orchestrator.plane import Plane, names, new_plane


@pytest.fixture
async def plane() -> AsyncIterator[Plane]:
    plane = await new_plane()
    Configmaps(plane.store, clock=plane.clock).register(plane.dispatcher)
    async with plane.store:
        yield plane


async def create(plane: Plane, data: Mapping[str, str], name: str = "app", namespace: str = "") -> Configmap:
    configmap = Configmap(name=name, namespace=namespace, data=dict(data))
    ask = api.CreateConfigmapRequest(configmap=configmap, ensure_namespace=True)
    return made(await plane.call(api.create, ask))


async def update(plane: Plane, data: Mapping[str, str], revision: int = 0) -> Configmap:
    configmap = Configmap(name="app", data=dict(data), revision=revision)
    return made(await plane.call(api.update, api.UpdateConfigmapRequest(configmap=configmap)))


async def versions(plane: Plane) -> list[int]:
    answer = await plane.call(api.list_versions, api.ListConfigmapVersionsRequest(name="app"))
    return [item.version for item in answer.versions]


def made(answer: api.ConfigmapResponse) -> Configmap:
    assert answer.configmap
    return answer.configmap


async def test_a_configmap_begins_at_version_1(plane: Plane) -> None:
    created = await create(plane, {"a": "1"})
    assert (created.version, created.namespace, created.data) == (1, "default", {"a": "1"})
    assert created.created_at == created.updated_at == plane.clock.now()
    assert made(await plane.call(api.get, api.GetConfigmapRequest(name="app"))) == created


async def test_a_second_configmap_of_a_name_is_refused(plane: Plane) -> None:
    await create(plane, {})
    with pytest.raises(AlreadyExists, match="configmap default/app exists: update it instead"):
        await create(plane, {})


async def test_a_configmap_needs_its_namespace(plane: Plane) -> None:
    ask = api.CreateConfigmapRequest(configmap=Configmap(name="app", namespace="shop"))
    with pytest.raises(FailedPrecondition, match="namespace shop does not exist"):
        await plane.call(api.create, ask)


async def test_the_version_counts_real_changes_only(plane: Plane) -> None:
    await create(plane, {"a": "1", "b": "2"})
    assert (await update(plane, {"b": "2", "a": "1"})).version == 1
    assert (await update(plane, {"a": "2"})).version == 2
    assert await versions(plane) == [2, 1]


async def test_an_update_of_an_older_revision_is_refused(plane: Plane) -> None:
    created = await create(plane, {"a": "1"})
    await update(plane, {"a": "2"}, revision=created.revision)
    with pytest.raises(Conflict, match="read it again"):
        await update(plane, {"a": "3"}, revision=created.revision)


async def test_a_patch_sets_and_removes_and_leaves_the_rest(plane: Plane) -> None:
    await create(plane, {"a": "1", "b": "2", "c": "3"})
    ask = api.PatchConfigmapRequest(name="app", set={"a": "9", "d": "4"}, unset=["b", "zzz"])
    patched = made(await plane.call(api.patch, ask))
    assert (patched.version, patched.data) == (2, {"a": "9", "c": "3", "d": "4"})
    again = made(await plane.call(api.patch, ask))
    assert again == patched


async def test_a_key_cannot_be_set_and_removed_at_once(plane: Plane) -> None:
    await create(plane, {})
    with pytest.raises(InvalidArgument, match=r"unset\[a\]"):
        await plane.call(api.patch, api.PatchConfigmapRequest(name="app", set={"a": "1"}, unset=["a"]))


async def test_ten_versions_are_kept(plane: Plane) -> None:
    await create(plane, {"n": "1"})
    for number in range(2, 15):
        await update(plane, {"n": str(number)})
    assert await versions(plane) == list(range(14, 4, -1))
    assert len(plane.store.list(ConfigmapVersion)) == 9


async def test_a_rollback_makes_an_earlier_version_the_newest(plane: Plane) -> None:
    for change in (create, update):
        await change(plane, {"by": change.__name__})
    back = made(await plane.call(api.rollback, api.RollbackConfigmapRequest(name="app")))
    assert (back.version, back.data) == (3, {"by": "create"})
    forward = made(await plane.call(api.rollback, api.RollbackConfigmapRequest(name="app", to_version=2)))
    assert (forward.version, forward.data) == (4, {"by": "update"})


async def test_a_rollback_to_nothing_is_refused(plane: Plane) -> None:
    await create(plane, {})
    with pytest.raises(FailedPrecondition, match="no version before 1"):
        await plane.call(api.rollback, api.RollbackConfigmapRequest(name="app"))
    with pytest.raises(NotFound, match="version 7 of configmap default/app is not kept: 1 to 1 are"):
        await plane.call(api.rollback, api.RollbackConfigmapRequest(name="app", to_version=7))


async def test_a_deletion_takes_the_versions_along_and_not_those_of_a_neighbour(plane: Plane) -> None:
    await create(plane, {"a": "1"}, name="app-2")
    await create(plane, {"a": "1"})
    await update(plane, {"a": "2"})
    await plane.call(api.delete, api.DeleteConfigmapRequest(name="app"))
    assert names(plane.store.list(Configmap)) == ["app-2"]
    assert not plane.store.list(ConfigmapVersion)
    with pytest.raises(NotFound, match="configmap not found: default/app"):
        await plane.call(api.delete, api.DeleteConfigmapRequest(name="app"))


async def test_a_configmap_in_use_is_not_deleted(plane: Plane) -> None:
    await create(plane, {})
    mounts = [ConfigmapMount(mount_path="/etc/app", configmap_name="app")]
    await plane.store.commit(Put(Service(name="api", namespace="default", configmap_mounts=mounts)))
    with pytest.raises(FailedPrecondition, match="services use it: default/api"):
        await plane.call(api.delete, api.DeleteConfigmapRequest(name="app"))


async def test_the_number_of_keys_has_a_limit(plane: Plane) -> None:
    await create(plane, {f"k{number}": "" for number in range(64)})
    with pytest.raises(InvalidArgument, match=r"set: has 65 keys; 64 are the most"):
        await plane.call(api.patch, api.PatchConfigmapRequest(name="app", set={"one-more": ""}))
    with pytest.raises(InvalidArgument, match=r"configmap\.data: has 65 keys"):
        await update(plane, {f"k{number}": "" for number in range(65)})


async def test_the_size_has_a_limit_and_the_largest_key_is_named(plane: Plane) -> None:
    data = {"small": "x", "large": "é" * (1 << 19)}
    with pytest.raises(InvalidArgument, match=r"configmap\.data\.large: has 1048581 bytes"):
        await create(plane, data)


async def test_a_caller_sees_only_what_is_in_their_namespaces(plane: Plane) -> None:
    plane.people.rules["ann"] = (rule("configmaps", ["list", "watch", "get"], "shop"),)
    await create(plane, {}, namespace="shop")
    await create(plane, {}, namespace="shop-eu")
    seen = await plane.call(api.list_, api.ListConfigmapsRequest(namespace="*"), "ann")
    assert [item.namespace for item in seen.configmaps] == ["shop"]
    with pytest.raises(PermissionDenied):
        await plane.call(api.get, api.GetConfigmapRequest(name="app", namespace="shop-eu"), "ann")
    async with plane.stream(api.watch, api.WatchConfigmapsRequest(namespace="*"), who="ann") as items:
        assert (await anext(items)).event_type is EventType.ADDED
        await create(plane, {}, name="b", namespace="shop-eu")
        await create(plane, {}, name="c", namespace="shop")
        new = await anext(items)
    assert new.configmap
    assert new.configmap.name == "c"
    assert new.revision == plane.store.revision
