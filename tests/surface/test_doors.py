"""Both doors lead to the same answers; the gRPC side is tried by a client made only from `api/rune.proto`."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from promises import promise
from rune.api import codec
from rune.api.orchestrator.services import ServiceResponse
from surface.conftest import Doors
from surface.protoc import Client, message
from surface.standins import TOKEN

pytestmark = [pytest.mark.system, promise("doors.one-road")]
SERVICES = "/v1/namespaces/default/services"
AIO: Any = grpc.aio
"""Its types leave out what is used of it here."""
API = {"name": "api", "scale": 2, "labels": {"app": "api"}, "command": "/bin/api"}


async def failure(client: Client, method: str, ask: Any) -> grpc.aio.AioRpcError:
    service, name = method.split("/")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.call(service, name, ask)
    return caught.value


def details(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    """The details by the names of their types."""
    trailers: dict[str, Any] = dict(error.trailing_metadata())
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    found: dict[str, Any] = {}
    for packed in status.details:
        name = packed.TypeName().rpartition(".")[2]
        found[name] = getattr(error_details_pb2, name)()
        packed.Unpack(found[name])
    return found


async def test_what_one_door_takes_in_the_other_gives_out(doors: Doors) -> None:
    async with doors.client() as rest, Client(doors.grpc_port, TOKEN) as grpc_:
        created = await rest.post(SERVICES, json=API)
        assert created.status_code == 200
        got = await grpc_.call("ServiceService", "GetService", message("GetServiceRequest", name="api"))
        shown = await rest.get(f"{SERVICES}/api")
    # REST shows zeros that the wire leaves out; to whoever reads them they mean the same.
    read = json_format.ParseDict(shown.json(), message("ServiceResponse"))
    known = (codec.decode(ServiceResponse, each.SerializeToString()) for each in (read, got))
    assert next(known) == next(known)
    assert got.service.scale == 2


async def test_a_service_scaled_to_zero_over_grpc_is_zero_over_rest(doors: Doors) -> None:
    async with doors.client() as rest, Client(doors.grpc_port, TOKEN) as grpc_:
        await rest.post(SERVICES, json=API)
        await grpc_.call(
            "ServiceService", "ScaleService", message("ScaleServiceRequest", name="api", scale=0)
        )
        assert (await rest.get(f"{SERVICES}/api")).json()["service"]["scale"] == 0


async def test_both_doors_fail_in_the_same_words(doors: Doors) -> None:
    async with doors.client() as rest, Client(doors.grpc_port, TOKEN) as grpc_:
        answer = await rest.get(f"{SERVICES}/nope")
        error = await failure(grpc_, "ServiceService/GetService", message("GetServiceRequest", name="nope"))
    assert answer.status_code == 404
    assert answer.json()["message"] == answer.json()["error"] == error.details()
    assert answer.json()["code"] == 5 == error.code().value[0]
    assert details(error)["ErrorInfo"].reason == "NOT_FOUND" == answer.json()["details"][0]["reason"]
    assert answer.json()["details"][-1]["requestId"] == answer.headers["x-request-id"]
    assert details(error)["RequestInfo"].request_id == dict(error.trailing_metadata())["x-request-id"]


@promise("crud.invalid")
async def test_every_wrong_field_is_named_at_both_doors(doors: Doors) -> None:
    async with doors.client() as rest, Client(doors.grpc_port, TOKEN) as grpc_:
        answer = await rest.post(SERVICES, json={"name": "Not A Name", "scale": -1})
        bad = message("Service", name="Not A Name", scale=-1)
        error = await failure(
            grpc_, "ServiceService/CreateService", message("CreateServiceRequest", service=bad)
        )
    named = {each["field"] for each in answer.json()["details"][1]["fieldViolations"]}
    assert named == {each.field for each in details(error)["BadRequest"].field_violations}
    assert named == {"service.name", "service.scale"}


async def test_no_credential_is_unauthenticated_at_both_doors(doors: Doors) -> None:
    async with doors.client("") as rest, Client(doors.grpc_port, "") as grpc_:
        answer = await rest.get(SERVICES)
        error = await failure(grpc_, "ServiceService/GetService", b"\xff\xff not read at all")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_key_in_its_own_header_is_a_credential_too(doors: Doors) -> None:
    async with doors.client("") as rest:
        answer = await rest.get("/v1/auth/whoami", headers={"X-Rune-Key": "reader"})
    assert answer.json()["subjectName"] == "reader"


@promise("auth.grpc", "auth.rest")
async def test_a_reader_may_not_write_at_either_door(doors: Doors) -> None:
    async with doors.client("reader") as rest, Client(doors.grpc_port, "reader") as grpc_:
        answer = await rest.post(SERVICES, json=API)
        ask = message("CreateServiceRequest", service=message("Service", name="api"))
        error = await failure(grpc_, "ServiceService/CreateService", ask)
    assert answer.status_code == 403
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert doors.journal.entries == [("create_service", "PERMISSION_DENIED")] * 2


async def test_who_calls_too_often_is_told_when_to_come_back(doors: Doors) -> None:
    doors.limits.left = 0
    async with doors.client() as rest, Client(doors.grpc_port, TOKEN) as grpc_:
        answer = await rest.get(SERVICES)
        error = await failure(grpc_, "AuthService/WhoAmI", message("WhoAmIRequest"))
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")
    assert details(error)["RetryInfo"].retry_delay.ToMilliseconds() == 2500


@promise("rest.internal")
async def test_a_defect_in_a_handler_shows_a_request_id_and_nothing_else(doors: Doors) -> None:
    async with doors.client() as rest, Client(doors.grpc_port, TOKEN) as grpc_:
        answer = await rest.get("/v1/namespaces/default/configmaps/boom")
        error = await failure(
            grpc_, "ConfigmapService/GetConfigmap", message("GetConfigmapRequest", name="boom")
        )
    assert answer.status_code == 500
    assert answer.headers["x-request-id"] in answer.json()["message"]
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "boom" not in answer.text + str(error.details())


async def test_an_unknown_method_is_unimplemented(doors: Doors) -> None:
    async with Client(doors.grpc_port, TOKEN) as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.channel.unary_unary("/rune.api.ServiceService/Nothing")(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@promise("edge.unimplemented")
async def test_an_operation_of_a_later_release_says_so_at_both_doors(doors: Doors) -> None:
    async with doors.client() as rest, Client(doors.grpc_port, TOKEN) as grpc_:
        answer = await rest.get("/v1/admin/network")
        error = await failure(grpc_, "AdminService/NetworkStatus", message("NetworkStatusRequest"))
    assert answer.status_code == 501
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert answer.json()["message"] == error.details()


async def test_a_stream_goes_both_ways_over_grpc(doors: Doors) -> None:
    async with Client(doors.grpc_port, TOKEN) as client:
        call = client.method("LogService", "StreamLogs")(metadata=client.metadata, timeout=10)
        seen: list[str] = []
        for target in ("a", "b"):
            await call.write(message("LogRequest", resource_target=target))
            seen.append((await call.read()).content)
        await call.done_writing()
        assert await call.read() is AIO.EOF
    assert seen == ["a", "b"]


async def test_health_follows_what_the_daemon_says(doors: Doors) -> None:
    async with AIO.insecure_channel(f"127.0.0.1:{doors.grpc_port}") as channel, doors.client("") as rest:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        for ready, word in ((True, 1), (False, 2)):
            await doors.grpc.serving(ready=ready)
            for service in ("", "rune.api.ServiceService"):
                assert (await stub.Check(health_pb2.HealthCheckRequest(service=service))).status == word
        assert (await rest.get("/healthz")).status_code == 200
        doors.trouble.append("the store is out of reach")
        answer = await rest.get("/healthz")
    assert (answer.status_code, answer.json()) == (503, {"status": "the store is out of reach"})


@promise("doors.reflection")
async def test_reflection_tells_the_services_and_their_messages(doors: Doors) -> None:
    request = reflection_pb2.ServerReflectionRequest
    asks = [request(list_services=""), request(file_containing_symbol="rune.api.ServiceService")]
    async with AIO.insecure_channel(f"127.0.0.1:{doors.grpc_port}") as channel:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        listed, file = [answer async for answer in stub.ServerReflectionInfo(iter(asks))]
    names = {service.name for service in listed.list_services_response.service}
    assert {"rune.api.ServiceService", "grpc.health.v1.Health"} <= names
    assert b"CreateServiceRequest" in file.file_descriptor_response.file_descriptor_proto[0]


async def test_pages_beside_the_operations(doors: Doors) -> None:
    async with doors.client("") as rest:
        metrics = (await rest.get("/metrics")).text
        document = (await rest.get("/openapi.json")).json()
        yaml = (await rest.get("/openapi.yaml")).text
        page = await rest.get("/docs")
    assert "rune_call_seconds" in metrics
    assert document["paths"]["/v1/auth/whoami"]
    assert yaml.startswith("openapi: 3.1.0")
    assert "/v1/auth/whoami" in page.text
    assert "script" not in page.text


async def test_calls_are_counted_by_operation_and_outcome(doors: Doors) -> None:
    async with doors.client() as rest:
        await rest.get(f"{SERVICES}/nope")
    assert b'rune_calls_total{operation="get_service",outcome="NOT_FOUND"} 1.0' in doors.metrics.page()


async def test_an_entity_tag_guards_a_change(doors: Doors) -> None:
    async with doors.client() as rest:
        tag = (await rest.post(SERVICES, json=API)).headers["etag"]
        first = await rest.put(f"{SERVICES}/api", json={"scale": 3}, headers={"if-match": tag})
        second = await rest.put(f"{SERVICES}/api", json={"scale": 4}, headers={"if-match": tag})
        bare = await rest.put(f"{SERVICES}/api", json={"scale": 4, "revision": "1"})
        removed = await rest.delete(f"{SERVICES}/api", headers={"if-match": tag})
    assert (first.status_code, first.headers["etag"]) == (200, '"2"')
    assert (second.status_code, second.json()["code"]) == (412, 10)
    assert bare.status_code == 409
    assert (removed.status_code, removed.json()["details"][1]["fieldViolations"][0]["field"]) == (
        400,
        "If-Match",
    )


async def test_the_peer_is_local_only_when_nothing_stands_between(doors: Doors) -> None:
    async with doors.client() as rest:
        direct = (await rest.get("/v1/version")).json()
        proxied = (await rest.get("/v1/version", headers={"x-forwarded-for": "10.0.0.9"})).json()
        named = (await rest.get("/v1/version", headers={"host": "rune.internal"})).json()
    assert [direct["ready"], proxied["ready"], named["ready"]] == [True, False, False]


@promise("doors.origins")
@pytest.mark.parametrize("path", ["/v1/version", "/v1/namespaces/default/services", "/healthz", "/docs"])
@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://[", ""])
async def test_a_page_of_another_origin_gets_nothing_not_even_a_preflight(
    doors: Doors, path: str, origin: str
) -> None:
    asks = {"origin": origin, "access-control-request-method": "PUT"}
    async with doors.client() as rest:
        answers = [await rest.get(path, headers=asks), await rest.options(path, headers=asks)]
    for answer in answers:
        assert answer.status_code == 403
        assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_every_answer_tells_browsers_to_leave_it_alone(doors: Doors) -> None:
    async with doors.client() as rest:
        for path in ("/v1/version", "/v1/nothing", "/healthz", "/docs", "/metrics"):
            headers = (await rest.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff", path
            assert headers["x-frame-options"] == "DENY", path
            assert headers["referrer-policy"] == "no-referrer", path
            assert "strict-transport-security" not in headers, path


async def test_selectors_and_pages_are_read_from_the_query(doors: Doors) -> None:
    async with doors.client() as rest:
        for name in ("api", "web"):
            await rest.post(SERVICES, json={"name": name, "labels": {"app": name}})
        for query in ("label_selector=app=web", "l=app=web", "labels=app==web", "labelSelector=app%3Dweb"):
            found = (await rest.get(f"{SERVICES}?{query}")).json()
            assert [service["name"] for service in found["services"]] == ["web"], query
        for query in ("limit=1", "paging.limit=1"):
            assert len((await rest.get(f"{SERVICES}?{query}")).json()["services"]) == 1
        everywhere = await rest.get("/v1/namespaces/*/services")
    assert len(everywhere.json()["services"]) == 2
