"""Streams over HTTP: what they look like, how they go on, and how they end."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import grpc
import httpx
import pytest

from promises import promise
from surface.conftest import Doors
from surface.protoc import Client, message
from surface.standins import TOKEN

pytestmark = [pytest.mark.system, promise("rest.streams")]
SERVICES = "/v1/namespaces/default/services"
Event = dict[str, Any]


async def create(rest: httpx.AsyncClient, *names: str) -> None:
    for name in names:
        assert (await rest.post(SERVICES, json={"name": name})).status_code == 200


async def events(answer: httpx.Response, count: int) -> list[Event]:
    """The next events; `data` is read as JSON, comments are under `comment`."""
    found: list[Event] = []
    event: Event = {}
    async with asyncio.timeout(10):
        async for line in answer.aiter_lines():
            if line:
                name, _, value = line.partition(": ")
                event[name or "comment"] = json.loads(value) if name == "data" else value
                continue
            if event:
                found.append(event)
            event = {}
            if len(found) == count:
                break
    return found


async def test_a_list_that_is_watched_becomes_events_with_ids(doors: Doors) -> None:
    async with doors.client() as rest:
        await create(rest, "api", "web")
        async with rest.stream("GET", f"{SERVICES}?watch=true") as answer:
            seen = await events(answer, 2)
    assert answer.headers["content-type"] == "text/event-stream"
    assert [(event["id"], event["event"], event["data"]["service"]["name"]) for event in seen] == [
        ("1", "added", "api"),
        ("2", "added", "web"),
    ]


@promise("watch.resume")
@pytest.mark.parametrize(
    "query, header",
    [("&resume=2", {}), ("", {"last-event-id": "2"}), ("&resume=1", {"last-event-id": "2"})],
)
async def test_a_watch_goes_on_where_it_was_left(doors: Doors, query: str, header: dict[str, str]) -> None:
    async with doors.client() as rest:
        await create(rest, "a", "b", "c")
        await rest.post(f"{SERVICES}/a/scale", json={"scale": 4})
        async with rest.stream("GET", f"{SERVICES}?watch=1{query}", headers=header) as answer:
            seen = await events(answer, 2)
    assert [(event["id"], event["event"]) for event in seen] == [("3", "added"), ("4", "modified")]


async def test_a_watch_from_before_the_kept_history_is_gone_and_names_the_oldest(doors: Doors) -> None:
    doors.shelf.oldest = 10
    async with doors.client() as rest:
        answer = await rest.get(f"{SERVICES}?watch=true&resume=3")
    assert answer.status_code == 410
    assert answer.json()["details"][0] == {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "WATCH_EXPIRED",
        "domain": "rune",
        "metadata": {"oldest": "10"},
    }


async def test_logs_are_events_or_lines(doors: Doors) -> None:
    async with doors.client() as rest:
        await create(rest, "api")
        path = "/v1/namespaces/default/logs/api?tail=2"
        as_events = (await rest.get(path)).text.strip().split("\n\n")
        as_lines = await rest.get(path, headers={"accept": "application/x-ndjson"})
    assert [event.split("\n")[0] for event in as_events] == ["event: log"] * 2
    assert as_lines.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line)["result"]["content"] for line in as_lines.text.splitlines() if line] == [
        "line 0",
        "line 1",
    ]


async def test_what_fails_before_the_first_item_keeps_its_status(doors: Doors) -> None:
    async with doors.client() as rest:
        missing = await rest.get("/v1/namespaces/default/logs/nope?follow=true")
    async with doors.client("") as rest:
        nobody = await rest.get("/v1/namespaces/default/logs/nope?follow=true")
    assert (missing.status_code, nobody.status_code) == (404, 401)


async def test_a_one_off_command_streams_what_it_writes_and_its_exit_code(doors: Doors) -> None:
    path, body = "/v1/namespaces/default/exec/api", {"command": ["echo", "hi"]}
    async with doors.client() as rest, rest.stream("POST", path, json=body) as answer:
        seen = await events(answer, 2)
    assert seen[0]["data"] == {"stdout": "ZWNobyBoaQ=="}
    assert seen[1]["data"]["exit"]["code"] == 3


async def test_the_head_goes_out_although_nothing_is_there_yet(doors: Doors) -> None:
    path = f"{SERVICES}?watch=true"
    async with asyncio.timeout(5), doors.client() as rest, rest.stream("GET", path) as answer:
        assert answer.status_code == 200
        assert await events(answer, 1) == [{"comment": "keepalive"}]


async def test_open_streams_are_told_when_the_server_goes(doors: Doors) -> None:
    async with doors.client() as rest, Client(doors.grpc_port, TOKEN) as client:
        await create(rest, "api")
        call = client.method("ServiceService", "WatchServices")(
            message("WatchServicesRequest"), metadata=client.metadata
        )
        await call.read()
        async with rest.stream("GET", f"{SERVICES}?watch=true") as answer:
            lines = answer.aiter_lines()
            assert await anext(lines) == "id: 1"
            await asyncio.gather(doors.http.close(5), doors.grpc.close(5))
            rest_of_it = [line async for line in lines]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
    assert "event: error" in rest_of_it
    failure = json.loads(rest_of_it[-2].removeprefix("data: "))
    assert failure["code"] == 14
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_reader_that_leaves_ends_its_stream(doors: Doors) -> None:
    async with doors.client() as rest:
        await create(rest, "api")
        async with rest.stream("GET", f"{SERVICES}?watch=true") as answer:
            await events(answer, 1)
    async with asyncio.timeout(5):
        while b"rune_open_streams 0.0" not in doors.metrics.page():
            await asyncio.sleep(0.01)
