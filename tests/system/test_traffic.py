"""Services of a real runed, reached by their addresses: alone, in several copies, and while they change."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from promises import promise
from rune.api.orchestrator import secrets, services
from rune.api.orchestrator.services import Service
from rune.api.orchestrator.specs import (
    DependencyRef,
    ExposeServiceTLS,
    HealthCheck,
    Probe,
    ProbeType,
    ProcessSpec,
    ServiceExpose,
    ServicePort,
)
from rune.core.authority import Authority
from rune.core.clock import SystemClock
from rune.errors import FailedPrecondition
from runed import PATIENCE, Runed, runed

pytestmark = [pytest.mark.system, pytest.mark.timeout(60)]

WEB = str(Path(__file__).with_name("web.py"))
READY = HealthCheck(readiness=Probe(type=ProbeType.TCP, period_seconds=1))


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[Runed]:
    """A server in dev mode."""
    async with runed(tmp_path / "data") as started:
        yield started


def free_port() -> int:
    """A port that nobody has at the moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def web(scale: int = 1, **fields: Any) -> Service:
    """A service of `web.py`."""
    given: dict[str, Any] = {
        "process": ProcessSpec(command=sys.executable, args=["-u", WEB]),
        "ports": [ServicePort(name="http", port=8080)],
        "health": READY,
        "drain_seconds": 5,
    }
    given |= fields
    return Service(name=given.pop("name", "web"), scale=scale, **given)


async def cast(server: Runed, name: str, **fields: Any) -> Service:
    """Create it and wait until it runs."""
    spec = web(name=name, **fields)
    await server.call(services.create, services.CreateServiceRequest(service=spec))
    return await server.until_running(name)


async def get(host: str, port: int, path: str = "/") -> str:
    """The body of an answer over a connection of its own; raises OSError or EOFError when it is not whole."""
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")
            )
            return (await reader.readexactly(length)).decode()
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


@promise("traffic.copies")
async def test_copies_of_one_port_stand_beside_each_other_behind_one_address(server: Runed) -> None:
    service = await cast(server, "web", scale=3)
    assert service.address
    assert len({copy.ip for copy in service.instances}) == 3
    copies, said = {f" {copy.id}" for copy in service.instances}, set[str]()
    async with asyncio.timeout(PATIENCE):  # the address follows a copy that became ready a moment later
        while said != copies:
            said.add(await answer(service, 8080))
    assert {await answer(service, 8080) for _ in range(6)} == copies
    assert not (await server.service("web")).shares_ports


async def answer(service: Service, port: int) -> str:
    """An answer at the service's address, once somebody listens there."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(ConnectionRefusedError):
                return await get(service.address, port)
            await asyncio.sleep(0.02)


async def test_a_program_that_listens_everywhere_keeps_its_port(server: Runed) -> None:
    port = free_port()
    process = ProcessSpec(command=sys.executable, args=["-u", WEB, "0.0.0.0"])  # noqa: S104 - what the test is about
    ports = [ServicePort(name="http", port=port)]
    await cast(server, "web", process=process, ports=ports, expose=ServiceExpose(port="http"))
    service = await server.until("web", lambda seen: seen.shares_ports)
    assert service.exposure
    assert (service.exposure.is_open, service.exposure.address) == (True, f"127.0.0.1:{port}")
    assert (await get(service.address, port)).endswith(service.instances[0].id)
    changed = web(process=process, ports=ports, env={"VERSION": "2"})
    await server.call(services.update, services.UpdateServiceRequest(service=changed))
    await server.until("web", lambda seen: is_settled(seen, 1))
    assert (await get(service.address, port)).startswith("2 ")


@promise("traffic.rollout", "traffic.ready", "weak-spot.19")
async def test_a_roll_out_under_load_loses_no_request(server: Runed) -> None:
    port = free_port()
    expose = ServiceExpose(port="http", host_port=port)
    await cast(server, "web", scale=2, expose=expose, env={"VERSION": "1"})
    answers: list[str] = []
    done = asyncio.Event()

    async def ask() -> None:
        while not done.is_set() or len(answers) < 500:
            answers.append(await get("127.0.0.1", port))

    async with asyncio.TaskGroup() as clients:
        for _ in range(4):
            clients.create_task(ask())
        changed = web(2, expose=expose, env={"VERSION": "2"})
        await server.call(services.update, services.UpdateServiceRequest(service=changed))
        await server.until("web", lambda seen: is_settled(seen, 2))
        done.set()
    versions = [text[0] for text in answers]
    assert len(answers) >= 500
    assert set(versions) == {"1", "2"}


def is_settled(service: Service, scale: int) -> bool:
    """All of its copies are of the newest spec and ready, and no other is left."""
    update = service.update
    return bool(
        update
        and service.metadata
        and service.metadata.observed_generation == service.metadata.generation
        and update.updated_ready == scale
        and not update.outdated
    )


@promise("traffic.drain")
async def test_a_connection_of_a_leaving_copy_may_end(server: Runed, tmp_path: Path) -> None:
    port, gate = free_port(), tmp_path / "gate"
    os.mkfifo(gate)
    expose = ServiceExpose(port="http", host_port=port)
    await cast(server, "web", expose=expose, env={"GATE": str(gate)}, drain_seconds=15)
    async with slow(port) as (reader, first):
        ask = services.ScaleServiceRequest(name="web", scale=0)
        await server.call(services.scale, ask)
        await server.until("web", lambda seen: not any(copy.ready for copy in seen.instances))
        with pytest.raises(ConnectionError):  # no new one goes there
            await get("127.0.0.1", port)
        await asyncio.to_thread(gate.write_text, "go")
        rest = await reader.read()
    assert b"web-instance-" in first + rest
    async with asyncio.timeout(PATIENCE):
        while await server.copies("web"):
            await asyncio.sleep(0.02)


@asynccontextmanager
async def slow(port: int) -> AsyncGenerator[tuple[asyncio.StreamReader, bytes]]:
    """A connection whose answer has begun."""
    async with asyncio.timeout(PATIENCE * 2):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /slow HTTP/1.0\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        try:
            yield reader, await reader.readexactly(1)
        finally:
            writer.close()


async def test_a_copy_that_is_killed_costs_no_new_connection(server: Runed) -> None:
    port = free_port()
    service = await cast(server, "web", scale=2, expose=ServiceExpose(port="8080", host_port=port))
    os.kill(service.instances[0].pid, signal.SIGKILL)
    async with asyncio.timeout(PATIENCE):
        while is_there(service.instances[0].pid):  # the kernel takes connections for it until then
            await asyncio.sleep(0.01)
    for _ in range(20):
        assert await get("127.0.0.1", port)


def is_there(pid: int) -> bool:
    """The process has not ended; one that only waits to be noticed has."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@promise("traffic.address")
async def test_doors_are_back_when_runed_is(server: Runed) -> None:
    port = free_port()
    service = await cast(server, "web", scale=2, expose=ServiceExpose(port="http", host_port=port))
    addresses = (service.address, {copy.id: copy.ip for copy in service.instances})
    await server.end(signal.SIGKILL)
    with pytest.raises(ConnectionRefusedError):
        await get("127.0.0.1", port)
    await server.start("--dev")
    assert await get("127.0.0.1", port)
    service = await server.service("web")
    assert (service.address, {copy.id: copy.ip for copy in service.instances}) == addresses


async def test_dependents_are_told_where(server: Runed) -> None:
    service = await cast(server, "my-db", ports=[ServicePort(name="sql", port=5432, target_port=15432)])
    command = ["sh", "-c", "env | grep RUNE_SERVICE_MY | sort; exec sleep 1000"]
    await server.cast("web", command, dependencies=[DependencyRef(service="my-db")])
    assert await server.lines("web", 3) == [
        f"RUNE_SERVICE_MY_DB_HOST={service.address}",
        "RUNE_SERVICE_MY_DB_PORT=5432",
        "RUNE_SERVICE_MY_DB_PORT_SQL=5432",
    ]
    assert (await get(service.address, 5432)).endswith(service.instances[0].id)


@promise("traffic.place")
async def test_a_place_that_is_taken_is_refused_with_the_name_of_the_other(server: Runed) -> None:
    port = free_port()
    await cast(server, "one", expose=ServiceExpose(port="http", host_port=port))
    with pytest.raises(FailedPrecondition, match=rf"127\.0\.0\.1:{port} is taken: service default/one"):
        await cast(server, "two", expose=ServiceExpose(port="http", host_port=port))
    with pytest.raises(FailedPrecondition, match="service default/one"):
        await cast(server, "two", expose=ServiceExpose(port="http", host="0.0.0.0", host_port=port))  # noqa: S104 - what the test is about


async def test_a_place_that_a_stranger_has_is_told_in_the_status_and_taken_when_free(server: Runed) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        await cast(server, "web", expose=ServiceExpose(port="http", host_port=port))
        service = await server.until("web", lambda seen: bool(seen.exposure and seen.exposure.message))
        assert service.exposure
        assert "Address already in use" in service.exposure.message
    await server.until("web", lambda seen: bool(seen.exposure and seen.exposure.is_open))
    assert await get("127.0.0.1", port)


@promise("traffic.tls")
async def test_an_exposed_service_speaks_tls_once_its_certificate_is_there(
    server: Runed, tmp_path: Path
) -> None:
    expose = ServiceExpose(port="http", host_port=free_port(), tls=ExposeServiceTLS(secret="cert"))
    await cast(server, "web", expose=expose)
    service = await server.until("web", lambda seen: bool(seen.exposure and seen.exposure.message))
    assert service.exposure
    assert (service.exposure.is_open, service.exposure.message) == (
        False,
        "secret default/cert does not exist",
    )
    authority = Authority(tmp_path, SystemClock().now())
    authority.init("Test authority")
    authority.issue_server(("localhost", "127.0.0.1"), days=9)
    data = {
        "tls.crt": authority.path("server").read_text(encoding="utf-8"),
        "tls.key": authority.path("server", key=True).read_text(encoding="utf-8"),
    }
    secret = secrets.Secret(name="cert", data=data)
    await server.call(secrets.create, secrets.CreateSecretRequest(secret=secret))
    service = await server.until("web", lambda seen: bool(seen.exposure and seen.exposure.is_open))
    assert service.ingress_cert
    assert service.ingress_cert.state == "Valid"
    context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    async with httpx.AsyncClient(verify=context) as client:
        answer = await client.get(f"https://localhost:{expose.host_port}/")
    assert answer.text.strip() == service.instances[0].id
    with pytest.raises((OSError, EOFError)):
        await get("127.0.0.1", expose.host_port)
