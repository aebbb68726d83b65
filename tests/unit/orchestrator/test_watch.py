"""The watch of everything: in order, resumable, and no more than the caller may see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from rune.api import codec
from rune.api.orchestrator import services as service_api
from rune.api.orchestrator import watch as api
from rune.api.orchestrator.configmaps import Configmap
from rune.api.orchestrator.namespaces import Namespace
from rune.api.orchestrator.services import Service
from rune.api.orchestrator.watch import MutationKind, OrderedEvent, SubscribeRequest, WatchCode, WatchEvent
from rune.core.access import rule
from rune.core.store.base import Delete, Put
from rune.core.store.memory import MemoryStore
from rune.orchestrator.configmaps import Configmaps
from rune.orchestrator.watch import KEPT, Watch
from unit.orchestrator.plane import KINDS, Plane, new_plane


@pytest.fixture
async def plane() -> AsyncIterator[Plane]:
    """A plane that keeps its last 400 changes."""
    plane = await new_plane(MemoryStore(KINDS, history=400))
    Watch(plane.store).register(plane.dispatcher)
    Configmaps(plane.store, clock=plane.clock).register(plane.dispatcher)
    async with plane.store:
        yield plane


async def seen(plane: Plane, count: int, who: str = "root", from_seq: int = 1) -> list[WatchEvent]:
    async with plane.stream(api.subscribe, SubscribeRequest(from_seq=from_seq), who=who) as events:
        return [await anext(events) for _ in range(count)]


def event_of(item: WatchEvent) -> OrderedEvent:
    assert item.event
    return item.event


def keys(items: Sequence[WatchEvent]) -> list[tuple[str, str, str]]:
    return [
        (mutation.resource_type, mutation.namespace, mutation.name)
        for item in items
        for mutation in event_of(item).mutations
    ]


async def write(plane: Plane, name: str, namespace: str = "default") -> None:
    await plane.store.commit(Put(Configmap(name=name, namespace=namespace)), operation="test.write")


async def test_every_change_has_its_revision_and_what_was_done(plane: Plane) -> None:
    service = await plane.serve("api")
    created = event_of((await seen(plane, 1, from_seq=plane.store.revision))[0])
    assert (created.seq, created.op_type) == (plane.store.revision, "services:create")
    mutation = created.mutations[0]
    assert (mutation.kind, mutation.resource_type, mutation.name) == (MutationKind.PUT, "service", "api")
    assert codec.decode(Service, mutation.payload) == service


async def test_a_deletion_has_no_payload(plane: Plane) -> None:
    await write(plane, "app")
    await plane.store.commit(Delete(plane.store.get(Configmap, "default", "app").key))
    mutation = event_of((await seen(plane, 1, from_seq=plane.store.revision))[0]).mutations[0]
    assert (mutation.kind, mutation.name, mutation.payload) == (MutationKind.DELETE, "app", b"")


async def test_zero_begins_with_what_comes(plane: Plane) -> None:
    await write(plane, "before")
    async with plane.stream(api.subscribe, SubscribeRequest()) as events:
        first = asyncio.ensure_future(anext(events))
        number = 0
        while not first.done():  # it begins somewhere among these
            await write(plane, f"after{number}")
            number += 1
    assert keys([await first])[0][2].startswith("after")


async def test_internal_kinds_are_never_shown(plane: Plane) -> None:
    await plane.serve("api")
    await plane.call(service_api.delete, service_api.DeleteServiceRequest(name="api", detach=True))
    assert {key[0] for key in keys(await seen(plane, 3))} == {"namespace", "service"}


async def test_a_caller_sees_their_namespace_and_their_kinds_only(plane: Plane) -> None:
    plane.people.rules["ann"] = (rule("configmaps", ["watch"], "shop"), rule("namespaces", ["get"]))
    plane.people.rules["bob"] = (rule("namespaces", ["watch"], "shop"), rule("services", ["get"]))
    for namespace in ("shop", "shop-eu"):
        await plane.serve("api", namespace)
        await write(plane, "app", namespace)
    await write(plane, "last", "shop")
    assert keys(await seen(plane, 2, "ann")) == [
        ("configmap", "shop", "app"),
        ("configmap", "shop", "last"),
    ]
    assert keys(await seen(plane, 1, "bob")) == [("namespace", "", "shop")]


async def test_a_change_is_shown_in_part_when_only_part_of_it_may_be_seen(plane: Plane) -> None:
    plane.people.rules["ann"] = (rule("configmaps", ["watch"], "shop"),)
    both = [Put(Configmap(name="app", namespace=each)) for each in ("shop", "shop-eu")]
    await plane.store.commit(*both)
    assert keys(await seen(plane, 1, "ann")) == [("configmap", "shop", "app")]


async def test_a_watch_goes_on_where_it_was_left(plane: Plane) -> None:
    for number in range(6):
        await write(plane, f"c{number}")
    first = await seen(plane, 3)
    rest = await seen(plane, 4, from_seq=event_of(first[-1]).seq + 1)
    assert [event_of(item).seq for item in first + rest] == list(range(1, 8))


@pytest.mark.parametrize("from_seq", [1, 10_000])
async def test_a_revision_that_is_not_kept_says_where_to_begin(plane: Plane, from_seq: int) -> None:
    for number in range(500):
        await write(plane, f"c{number}")
    items = await plane.all(api.subscribe, SubscribeRequest(from_seq=from_seq))
    assert [item.status.code for item in items if item.status] == [WatchCode.COMPACTED]
    assert items[0].status
    oldest = items[0].status.retained_min_seq
    assert event_of((await seen(plane, 1, from_seq=oldest))[0]).seq == oldest


async def test_a_reader_that_falls_out_of_the_history_is_told(plane: Plane) -> None:
    async with plane.stream(api.subscribe, SubscribeRequest(from_seq=1)) as events:
        await anext(events)
        for number in range(500):
            await write(plane, f"c{number}")
        last = [item async for item in events][-1]
    assert last.status
    assert last.status.code is WatchCode.SLOW_CONSUMER
    assert last.status.retained_min_seq == plane.store.oldest + 1


async def test_the_end_of_the_store_is_told_after_what_is_left(plane: Plane) -> None:
    await write(plane, "app")
    async with plane.stream(api.subscribe, SubscribeRequest(from_seq=1)) as events:
        await anext(events)
        await plane.store.close()
        rest = [item async for item in events]
    assert keys(rest[:-1]) == [("configmap", "default", "app")]
    assert rest[-1].status
    assert rest[-1].status.code is WatchCode.SHUTTING_DOWN


async def test_many_watchers_of_many_changes_see_the_same(plane: Plane) -> None:
    for number in range(KEPT + 20):
        await write(plane, f"c{number}")
    one = await seen(plane, KEPT + 21)
    assert one == await seen(plane, KEPT + 21)
    assert codec.decode(Namespace, event_of(one[0]).mutations[0].payload).name == "default"
