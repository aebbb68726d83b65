"""Ports of services and instances, reached through a real runed with the real command."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from promises import promise
from rune.api.orchestrator import auth, portforward, services
from rune.api.orchestrator.portforward import PortForwardClientMessage as Ask
from rune.api.orchestrator.portforward import PortForwardData, PortForwardInit, PortForwardOpen
from rune.api.orchestrator.specs import HealthCheck, Probe, ProbeType, ServicePort
from rune.client.client import Client
from rune.client.grpc import GrpcTransport
from rune.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from runed import PATIENCE, Runed, runed

pytestmark = [pytest.mark.system, pytest.mark.timeout(60)]

ECHO = """
import os, socketserver
class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        total = 0
        while data := self.request.recv(65536):
            total += len(data)
            self.request.sendall(data)
        self.request.sendall(b'%d' % total)
socketserver.ThreadingTCPServer.daemon_threads = True
socketserver.ThreadingTCPServer.request_queue_size = 256
socketserver.ThreadingTCPServer((os.environ['HOST'], int(os.environ['PORT'])), Echo).serve_forever()
"""
READY = HealthCheck(readiness=Probe(type=ProbeType.TCP, period_seconds=1))
PORTS = [ServicePort(name="echo", port=70, target_port=7070)]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[Runed]:
    """A server with a service that says everything back, and at the end of its input how much it was."""
    async with runed(tmp_path / "data") as started:
        await started.cast("echo", [sys.executable, "-c", ECHO], ports=PORTS, scale=2, health=READY)
        await started.until_running("echo")
        yield started


@asynccontextmanager
async def forwarded(server: Runed, *words: str) -> AsyncGenerator[int]:
    """The command, once it listens; gives the port here. It must end well."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "rune.cli.main", "--server", server.grpc, "port-forward", *words),
        stderr=asyncio.subprocess.PIPE,
        env={"RUNE_TOKEN": server.token, "HOME": str(server.folder), "PATH": "/usr/bin:/bin"},
    )
    assert process.stderr
    try:
        async with asyncio.timeout(PATIENCE):
            line = (await process.stderr.readline()).decode()
            assert " leads to " in line
            yield int(line.split()[0].rpartition(":")[2])
        process.terminate()
        async with asyncio.timeout(PATIENCE):
            assert await process.wait() == 0
            assert await process.stderr.read() == b""
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def echoed(port: int, data: bytes) -> bytes:
    """What comes back of the data, all of it; the far end hears the end of the input."""
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        writer.write(data)
        writer.write_eof()
        try:
            return await reader.read()
        finally:
            writer.close()


@promise("traffic.forward")
async def test_bytes_of_many_connections_come_back_whole(server: Runed) -> None:
    sent = [bytes([number]) * (number * 5003 + 1) for number in range(60)]
    async with forwarded(server, "echo", ":70") as port:
        found = await asyncio.gather(*(echoed(port, data) for data in sent))
    assert found == [data + str(len(data)).encode() for data in sent]


async def test_an_instance_is_reached_by_its_id(server: Runed) -> None:
    copy = (await server.copies("echo"))[1]
    async with forwarded(server, f"instance/{copy.id}", ":7070") as port:
        assert await echoed(port, b"hello") == b"hello5"


async def first(client: Client, init: PortForwardInit) -> portforward.PortForwardServerMessage:
    """The first answer to a forwarding."""

    async def nothing() -> AsyncGenerator[Ask]:
        await asyncio.Event().wait()
        yield Ask()

    stream = client.stream(portforward.stream, Ask(init=init), nothing())
    try:
        return await anext(stream)
    finally:
        await stream.aclose()


async def test_only_declared_ports_are_reached(server: Runed) -> None:
    with pytest.raises(InvalidArgument, match="port 22 is not declared by service echo; its tcp ports: 70"):
        await first(server.client, PortForwardInit(service_name="echo", ports=[22]))


async def test_what_is_not_there_is_said(server: Runed) -> None:
    with pytest.raises(NotFound, match="service not found: default/nobody"):
        await first(server.client, PortForwardInit(service_name="nobody"))
    with pytest.raises(NotFound, match="instance not found: echo-instance-00000000"):
        await first(server.client, PortForwardInit(instance_id="echo-instance-00000000"))
    await server.call(services.scale, services.ScaleServiceRequest(name="echo", scale=0))
    await server.until("echo", lambda seen: not any(copy.ready for copy in seen.instances))
    with pytest.raises(FailedPrecondition, match="has no ready copy"):
        await first(server.client, PortForwardInit(service_name="echo"))


@promise("traffic.forward")
async def test_a_reader_may_not_forward(server: Runed) -> None:
    ask = auth.CreateTokenRequest(subject_name="ann", policies=["readonly"])
    made = await server.call(auth.create_token, ask)
    async with Client(GrpcTransport(server.grpc, token=made.secret)) as ann:
        with pytest.raises(PermissionDenied, match="services verb: port-forward in namespace: default"):
            await first(ann, PortForwardInit(service_name="echo"))


async def test_a_copy_that_does_not_listen_is_told_for_the_connection_alone(server: Runed) -> None:
    await server.cast("mute", ["sleep", "1000"], ports=[ServicePort(port=71)])
    await server.until_running("mute")

    async def opening() -> AsyncGenerator[Ask]:
        yield Ask(open=PortForwardOpen(conn_id=1, remote_port=71))
        yield Ask(open=PortForwardOpen(conn_id=2, remote_port=99))
        await asyncio.Event().wait()

    init = Ask(init=PortForwardInit(service_name="mute"))
    stream = server.client.stream(portforward.stream, init, opening())
    async with asyncio.timeout(PATIENCE):
        answers = [await anext(stream) for _ in range(3)]
        await stream.aclose()
    errors = [answer.close.error for answer in answers if answer.close]
    assert errors[0].endswith("cannot be reached at port 71: Connection refused")
    assert errors[1] == "port 99 is not declared by service mute; its tcp ports: 71"


async def test_words_behind_the_last_word_of_a_connection_are_refused(server: Runed) -> None:
    async def talking() -> AsyncGenerator[Ask]:
        yield Ask(open=PortForwardOpen(conn_id=1, remote_port=70))
        yield Ask(data=PortForwardData(conn_id=1, payload=b""))
        yield Ask(data=PortForwardData(conn_id=1, payload=b"more"))
        await asyncio.Event().wait()

    stream = server.client.stream(
        portforward.stream, Ask(init=PortForwardInit(service_name="echo")), talking()
    )
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(InvalidArgument, match="connection 1 has ended"):
            async for _ in stream:
                pass
