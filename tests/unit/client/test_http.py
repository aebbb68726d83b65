"""The same client over REST: paths, queries and bodies by the table, streams as Server-Sent Events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from rune.api import wirejson
from rune.api.common import EventType, PagingParams
from rune.api.orchestrator import exec as exec_api
from rune.api.orchestrator import instances, services
from rune.client.client import Client
from rune.client.http import HttpTransport, split
from rune.errors import (
    FAILURES,
    DeadlineExceeded,
    InvalidArgument,
    OutOfRange,
    ResourceExhausted,
    RuneError,
    Unavailable,
    Unimplemented,
    Violation,
)


def client(answer: httpx.Response) -> Client:
    return Client(HttpTransport("http://here", token="t", transport=httpx.MockTransport(lambda _: answer)))


def test_the_path_the_query_and_the_body_are_where_the_table_says() -> None:
    listed = services.ListServicesRequest(
        namespace="*", label_selector={"app": "api", "tier!": "db"}, paging=PagingParams(limit=5)
    )
    assert split(services.list_, listed)[:3] == (
        "GET",
        "/v1/namespaces/*/services",
        (("label_selector", "app=api,tier!=db"), ("paging.limit", "5")),
    )
    watched = services.WatchServicesRequest(namespace="prod", resume=7)
    assert split(services.watch, watched)[:3] == (
        "GET",
        "/v1/namespaces/prod/services",
        (("resume", "7"), ("watch", "true")),
    )
    created = split(
        services.create,
        services.CreateServiceRequest(service=services.Service(name="a"), ensure_namespace=True),
    )
    assert created[:3] == ("POST", "/v1/namespaces/default/services", (("ensure_namespace", "true"),))
    assert json.loads(created.body)["name"] == "a"
    acted = split(instances.stop, instances.InstanceActionRequest(id="a-1", force=True))
    assert (acted.path, acted.query) == ("/v1/namespaces/default/instances/a-1/stop", ())
    assert json.loads(acted.body)["force"] is True


def test_what_rest_does_not_have_is_said_so() -> None:
    with pytest.raises(Unimplemented, match="use the gRPC address"):
        split(exec_api.stream, exec_api.ExecRequest())


async def test_an_answer_with_fields_that_this_client_does_not_know_is_read() -> None:
    body: dict[str, Any] = wirejson.to_plain(
        services.ServiceResponse(service=services.Service(name="a", scale=3))
    )
    body["service"]["inventedLater"] = {"x": 1}
    async with client(httpx.Response(200, json=body)) as found:
        answer = await found.call(services.get, services.GetServiceRequest(name="a"))
    assert answer.service
    assert answer.service.scale == 3


@pytest.mark.parametrize("kind", FAILURES, ids=lambda kind: kind.codes.name)
async def test_every_failure_comes_back_as_its_class(kind: type[RuneError]) -> None:
    body: dict[str, Any] = {"code": kind.codes.grpc, "message": "why", "details": []}
    async with client(httpx.Response(kind.codes.http, json=body)) as found:
        with pytest.raises(kind, match="why"):
            await found.call(services.get, services.GetServiceRequest(name="a"))


async def test_details_come_back_too() -> None:
    rows = [{"field": "a.b", "description": "is odd"}]
    detail = {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": rows}
    async with client(httpx.Response(400, json={"code": 3, "message": "m", "details": [detail]})) as found:
        with pytest.raises(InvalidArgument) as invalid:
            await found.call(services.get, services.GetServiceRequest(name="a"))
    assert invalid.value.details == (Violation("a.b", "is odd"),)
    async with client(httpx.Response(429, json={"code": 8}, headers={"retry-after": "7"})) as found:
        with pytest.raises(ResourceExhausted) as limited:
            await found.call(services.get, services.GetServiceRequest(name="a"))
    assert limited.value.retry_after == 7


async def test_an_answer_of_something_else_on_the_way_is_still_a_failure_of_ours() -> None:
    async with client(httpx.Response(503, text="<html>")) as found:
        with pytest.raises(Unavailable, match="HTTP status 503"):
            await found.call(services.get, services.GetServiceRequest(name="a"))


async def test_events_come_in_order_and_an_error_event_is_raised() -> None:
    item = services.WatchServicesResponse(
        service=services.Service(name="a"), event_type=EventType.ADDED, revision=7
    )

    async def body() -> AsyncIterator[bytes]:
        yield b": keepalive\n\nid: 7\nevent: added\nda"
        yield b"ta: " + wirejson.encode(item) + b"\n\n"
        oldest = b'{"@type":"type.googleapis.com/google.rpc.ErrorInfo","metadata":{"oldest":"9"}}'
        yield b'event: error\ndata: {"code":11,"message":"old","details":[' + oldest + b"]}\n\n"

    seen: list[object] = []
    async with client(httpx.Response(200, content=body())) as found:
        changes = found.stream(services.watch, services.WatchServicesRequest())
        seen.append(await anext(changes))
        with pytest.raises(OutOfRange) as caught:
            await anext(changes)
    assert seen == [item]
    assert caught.value.oldest == 9


async def test_a_server_that_falls_silent_is_gone_unless_somebody_wanted_an_end() -> None:
    async def silent() -> AsyncIterator[bytes]:
        yield b": keepalive\n\n"
        raise httpx.ReadTimeout("")

    request = services.WatchServicesRequest(namespace="default")
    with pytest.raises(Unavailable, match="nothing is heard"):
        await anext(client(httpx.Response(200, content=silent())).stream(services.watch, request))
    with pytest.raises(DeadlineExceeded):
        await anext(
            client(httpx.Response(200, content=silent())).stream(services.watch, request, timeout=1.0)
        )
