"""A watch goes on where its connection broke, and lists again when the server has forgotten."""

from __future__ import annotations

from contextlib import aclosing

import msgspec

from rune.api.common import EventType
from rune.api.orchestrator import services
from rune.client.client import Client
from rune.client.local import LocalTransport
from rune.client.watch import Change, Watched, follow
from rune.core.call import Caller
from unit.client.plane import TOKEN, Plane
from unit.client.plane_services import new_plane

WHAT = Watched(services.list_, services.watch)


def client_of(plane: Plane) -> Client:
    return Client(
        LocalTransport(
            plane.dispatcher, lambda: Caller(edge="local", request_id="r", bearer=TOKEN, is_local=True)
        )
    )


async def take(plane: Plane, count: int) -> list[Change]:
    request = services.ListServicesRequest(namespace="*")
    async with aclosing(follow(client_of(plane), WHAT, request)) as changes:
        return [await anext(changes) for _ in range(count)]


def put(plane: Plane, name: str, event: EventType = EventType.ADDED) -> services.Service:
    return plane.put(services.Service(name=name, namespace="default"), event)


async def test_what_there_is_comes_first_and_every_change_after_it() -> None:
    plane = new_plane()
    put(plane, "a")
    seen: list[tuple[EventType, str, bool]] = []
    request = services.ListServicesRequest()
    async with aclosing(follow(client_of(plane), WHAT, request)) as changes:
        for name in ("b", "c"):
            first = await anext(changes)
            seen.append((first.event, first.resource.name, first.is_first))
            put(plane, name)
    assert seen == [(EventType.ADDED, "a", True), (EventType.ADDED, "b", False)]


async def test_a_dropped_connection_loses_nothing_and_repeats_nothing() -> None:
    plane = new_plane()
    put(plane, "a")
    names: list[str] = []
    async with aclosing(follow(client_of(plane), WHAT, services.ListServicesRequest())) as changes:
        names.append((await anext(changes)).resource.name)
        for name in "bcdef":
            put(plane, name)
        plane.drop_after = 2
        names += [(await anext(changes)).resource.name for _ in range(5)]
    assert names == list("abcdef")
    resumed = [ask.resume for _, ask in plane.asked if isinstance(ask, services.WatchServicesRequest)]
    assert resumed == [101, 103]


async def test_a_server_that_forgot_is_listed_again_and_only_differences_are_told() -> None:
    plane = new_plane()
    a, b = put(plane, "a"), put(plane, "b")
    async with aclosing(follow(client_of(plane), WHAT, services.ListServicesRequest())) as changes:
        assert [(await anext(changes)).resource.name for _ in range(2)] == ["a", "b"]
        plane.oldest = 10_000
        plane.put(a, EventType.DELETED)
        put(plane, "c")
        plane.put(msgspec.structs.replace(b, scale=3), EventType.MODIFIED)
        found = {(c.event, c.resource.name) for c in [await anext(changes) for _ in range(3)]}
    assert found == {(EventType.DELETED, "a"), (EventType.ADDED, "c"), (EventType.MODIFIED, "b")}
