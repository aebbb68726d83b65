"""One client, every transport: answers, streams and failures arrive as they were given."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from rune.api.orchestrator import exec as exec_api
from rune.api.orchestrator import logs, services, specs
from rune.api.orchestrator.auth import WhoAmIRequest, whoami
from rune.client import grpc
from rune.client.client import Client
from rune.client.grpc import GrpcTransport
from rune.client.local import LocalTransport
from rune.core.call import Caller
from rune.errors import (
    AlreadyExists,
    DeadlineExceeded,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Unimplemented,
    Violation,
)
from unit.client.plane import TOKEN
from unit.client.plane_services import new_plane
from unit.client.served import Served


def service(name: str = "api", **more: object) -> services.Service:
    return services.Service(name=name, scale=1, process=specs.ProcessSpec(command="/bin/sleep"), **more)  # pyright: ignore[reportArgumentType] - fields by name


@pytest.fixture(params=["grpc", "local"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    if request.param == "local":
        plane = new_plane()
        transport = LocalTransport(
            plane.dispatcher, lambda: Caller(edge="local", request_id="r", bearer=TOKEN, is_local=True)
        )
    else:
        served: Served = request.getfixturevalue("served")
        transport = GrpcTransport(served.address, token=TOKEN)
    async with Client(transport) as found:
        yield found


async def test_an_answer_is_the_operations_message(client: Client) -> None:
    answer = await client.call(whoami, WhoAmIRequest())
    assert (answer.subject_name, answer.policies) == ("root", ["root"])


async def test_a_call_may_be_begun_before_it_is_awaited(client: Client) -> None:
    begun = [
        client.begin(services.create, services.CreateServiceRequest(service=service(name)))
        for name in ("a", "b", "a")
    ]
    found = await asyncio.gather(*(answer() for answer in begun), return_exceptions=True)
    failed = [each for each in found if isinstance(each, BaseException)]
    assert {each.service.name for each in found if not isinstance(each, BaseException) and each.service} == {
        "a",
        "b",
    }
    assert [type(each) for each in failed] == [AlreadyExists]


def test_a_call_is_begun_without_an_event_loop(served: Served) -> None:
    client = Client(GrpcTransport(served.address, token=TOKEN))
    answer = client.begin(whoami, WhoAmIRequest())

    async def waited() -> str:
        async with client:
            return (await answer()).subject_name

    assert asyncio.run(waited()) == "root"


async def test_a_failure_is_raised_as_the_class_that_was_raised(client: Client) -> None:
    await client.call(services.create, services.CreateServiceRequest(service=service()))
    with pytest.raises(AlreadyExists, match="service 'api' exists"):
        await client.call(services.create, services.CreateServiceRequest(service=service()))
    with pytest.raises(NotFound, match="'ghost'"):
        await client.call(services.get, services.GetServiceRequest(name="ghost"))


async def test_violations_come_back_one_by_one(client: Client) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await client.call(services.create, services.CreateServiceRequest(service=service("odd")))
    assert caught.value.details == (Violation("service.ports[0].port", "is taken by runed itself"),)


async def test_a_limit_says_when_to_come_back(client: Client) -> None:
    with pytest.raises(ResourceExhausted) as caught:
        await client.call(services.create, services.CreateServiceRequest(service=service("busy")))
    assert caught.value.retry_after == 2.5


async def test_an_operation_that_is_not_there_is_unimplemented_with_the_reason(client: Client) -> None:
    asked = service(volumes=[specs.VolumeMount(name="data")])
    with pytest.raises(Unimplemented, match="volumes are not part of this release"):
        await client.call(services.create, services.CreateServiceRequest(service=asked))


async def test_a_stream_comes_in_order_and_ends(client: Client) -> None:
    await client.call(services.create, services.CreateServiceRequest(service=service()))
    lines = [line.content async for line in client.stream(logs.get, logs.LogRequest(resource_target="api"))]
    assert lines == ["one", "two", "three"]


async def test_a_stream_that_fails_raises_what_was_raised(client: Client) -> None:
    with pytest.raises(NotFound, match="'ghost'"):
        async for _ in client.stream(logs.get, logs.LogRequest(resource_target="ghost")):
            pass


async def test_a_stream_both_ways_carries_every_request(client: Client) -> None:
    async def more() -> AsyncIterator[exec_api.ExecRequest]:
        for part in (b"a", b"b" * 100_000, b"c"):
            yield exec_api.ExecRequest(stdin=part)

    first = exec_api.ExecRequest(init=exec_api.ExecInitRequest(service_name="api", command=["cat"]))
    items = [item async for item in client.stream(exec_api.stream, first, more())]
    assert b"".join(item.stdout or b"" for item in items) == b"a" + b"b" * 100_000 + b"c"
    assert items[-1].exit == exec_api.ExitInfo(code=0)


async def test_closing_a_stream_early_ends_its_call(client: Client) -> None:
    async with aclosing(client.stream(services.watch, services.WatchServicesRequest(resume=100))) as changes:
        await client.call(services.create, services.CreateServiceRequest(service=service()))
        first = await anext(changes)
    assert first.service
    assert first.service.name == "api"


async def test_a_stream_that_takes_too_long_is_over_at_its_deadline(client: Client) -> None:
    with pytest.raises(DeadlineExceeded):
        async for _ in client.stream(services.watch, services.WatchServicesRequest(resume=100), timeout=0.2):
            pass


async def test_a_wrong_token_is_unauthenticated(served: Served) -> None:
    async with Client(GrpcTransport(served.address, token="wrong")) as client:
        with pytest.raises(Unauthenticated, match="the token is unknown"):
            await client.call(whoami, WhoAmIRequest())


async def test_a_server_that_is_not_there_is_unavailable_and_named() -> None:
    async with Client(GrpcTransport("127.0.0.1:1", token="t")) as client:
        with pytest.raises(Unavailable, match=r"cannot reach 127\.0\.0\.1:1"):
            await client.call(whoami, WhoAmIRequest())


async def pump(flows: asyncio.Event, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hand on what comes, or swallow it."""
    while data := await reader.read(65536):
        if flows.is_set():
            writer.write(data)
    writer.close()


async def test_a_server_that_lost_power_is_unavailable_to_who_only_listens(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc, "KEEPALIVE_SECONDS", 1.0)
    monkeypatch.setattr(grpc, "KEEPALIVE_TIMEOUT_SECONDS", 1.0)
    flows, host, port = asyncio.Event(), *served.address.split(":")
    flows.set()
    relays: list[asyncio.Future[None]] = []

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        relays.append(over)
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(pump(flows, reader, far_writer), pump(flows, far_reader, writer))
        await asyncio.gather(writer.wait_closed(), far_writer.wait_closed())
        over.set_result(None)

    between = await asyncio.start_server(relay, "127.0.0.1", 0)
    async with asyncio.timeout(10), between:
        near = f"127.0.0.1:{between.sockets[0].getsockname()[1]}"
        async with Client(GrpcTransport(near, token=TOKEN)) as client:
            await client.call(services.create, services.CreateServiceRequest(service=service()))
            ask = services.WatchServicesRequest(resume=100)
            async with aclosing(client.stream(services.watch, ask)) as items:
                await anext(items)
                flows.clear()
                with pytest.raises(Unavailable):
                    await anext(items)
            flows.set()
        await asyncio.gather(*relays)
