"""What probes make of real answers on loopback, and of commands that a runner runs."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from rune.api.orchestrator.specs import Probe, ProbeType
from rune.api.validate import build
from rune.errors import InvalidArgument
from rune.orchestrator.questions import MOST_HEAD, Question, Questioner
from rune.orchestrator.runners.base import Observed, Workload
from rune.orchestrator.runners.fake import FakeRunner, Script


@asynccontextmanager
async def server(
    answer: bytes, *, holds: bool = False, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[tuple[int, list[bytes]]]:
    """Says the same to everybody, and keeps what it was asked; with `holds` it never closes by itself."""
    asked: list[bytes] = []
    served = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer)
            if holds:
                await reader.read()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        served.set()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with listening:
        yield listening.sockets[0].getsockname()[1], asked
        async with asyncio.timeout(5):
            await served.wait()


async def ask(port: int, path: str = "/", host: str = "", **more: Any) -> str:
    probe = Probe(type=ProbeType.HTTP, path=path, host=host, **more)
    return await Questioner({}).ask(
        Question(instance="a", runner="process", probe=probe, port=port), seconds=2
    )


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", ""),
        (b"HTTP/1.0 204 No Content\r\n\r\n", ""),
        (b"HTTP/1.1 200 OK\n\n", ""),
        (b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\n\r\n", ""),
        (b"HTTP/1.1 399 Odd\r\n\r\n", ""),
        (b"HTTP/1.1 400 Bad\r\n\r\n", "HTTP status 400"),
        (b"HTTP/1.1 503 Busy\r\n\r\n", "HTTP status 503"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 No\r\n\r\n", "HTTP status 500"),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: w\r\nConnection: upgrade\r\n\r\n", "HTTP status 101"),
        (b"SSH-2.0-OpenSSH\r\n", "the answer is not HTTP"),
        (b"", "the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * MOST_HEAD * 2, "the answer is not HTTP"),
    ],
)
async def test_an_answer_is_judged_by_its_status(answer: bytes, said: str) -> None:
    async with server(answer) as (port, _):
        assert await ask(port) == said


async def test_the_body_is_not_waited_for() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
    async with server(head, holds=True) as (port, _), asyncio.timeout(1):
        assert await ask(port) == ""


async def test_a_path_cannot_add_a_header() -> None:
    async with server(b"HTTP/1.1 200 OK\r\n\r\n") as (port, asked):
        await ask(port, "/health?deep=1&a=%20 b\r\nX-Evil: ä")
    lines = asked[0].decode("ascii").split("\r\n")
    assert lines[0] == "GET /health?deep=1&a=%20%20b%0D%0AX-Evil:%20%C3%A4 HTTP/1.1"
    assert lines[1] == f"Host: 127.0.0.1:{port}"
    assert not any(line.startswith("X-Evil") for line in lines)


async def test_nobody_who_listens_is_told_as_the_kernel_says_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    assert await ask(port) == f"127.0.0.1:{port}: Connection refused"


@pytest.mark.parametrize("host", ["a\0b", "a..b", "x" * 70])
async def test_a_host_that_is_no_name_is_a_failed_probe(host: str) -> None:
    assert await ask(80, host=host)


async def test_a_silent_server_is_given_up_after_the_time_out() -> None:
    async with server(b"", holds=True) as (port, _):
        question = Question(
            instance="a", runner="process", probe=Probe(type=ProbeType.HTTP, path="/"), port=port
        )
        assert await Questioner({}).ask(question, seconds=0.05) == "no answer within 0.05 s"


async def test_a_connection_is_enough_for_tcp() -> None:
    async with server(b"", holds=True) as (port, _):
        question = Question(instance="a", runner="process", probe=Probe(type=ProbeType.TCP), port=port)
        assert await Questioner({}).ask(question, seconds=1) == ""


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (Script(says=["fine"], exits=0), ""),
        (Script(exits=3), "the command exited with code 3"),
        (Script(refused="no such program"), "no such program"),
        (Script(exits=None, stubborn=True), ""),  # it ends with its input, which is closed at once
    ],
)
async def test_a_command_is_judged_by_its_exit_code(script: Script, said: str) -> None:
    runner = FakeRunner()
    runner.scripts["check"] = script
    await runner.ensure(Workload(instance="a", command=["sleeper"]))
    question = Question(instance="a", runner="process", probe=Probe(type=ProbeType.EXEC, command=["check"]))
    assert await Questioner({"process": runner}).ask(question, seconds=1) == said


async def test_a_runner_without_commands_says_so() -> None:
    question = Question(instance="a", runner="swarm", probe=Probe(type=ProbeType.EXEC, command=["check"]))
    assert await Questioner({}).ask(question, seconds=1) == "runner 'swarm' cannot run commands"


async def test_an_instance_with_an_address_of_its_own_is_asked_there() -> None:
    class Elsewhere(FakeRunner):
        def observe(self, instance: str) -> Observed:
            return msgspec.structs.replace(super().observe(instance), address="127.0.0.9")

    probe = Probe(type=ProbeType.TCP)
    question = Question(instance="a", runner="docker", probe=probe, port=1)
    said = await Questioner({"docker": Elsewhere()}).ask(question, seconds=2)
    assert said == "127.0.0.9:1: Connection refused"


@pytest.fixture
def self_signed(tmp_path: Path) -> ssl.SSLContext:
    """A server's TLS that nobody vouches for, with a name that is not the address."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody.else")])
    now = datetime.now(UTC)  # noqa: TID251 - a certificate is valid by the clock on the wall
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    return context


async def test_https_is_asked_whoever_signed_the_certificate(self_signed: ssl.SSLContext) -> None:
    async with server(b"HTTP/1.1 200 OK\r\n\r\n", tls=self_signed) as (port, asked):
        assert await ask(port, scheme="https") == ""
    assert asked[0].startswith(b"GET / HTTP/1.1\r\n")


async def test_a_server_that_speaks_no_tls_is_told_as_such() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        said = await ask(port, scheme="https")
    assert said.startswith(f"127.0.0.1:{port}: TLS: ")


async def test_headers_are_sent_and_may_replace_our_own() -> None:
    async with server(b"HTTP/1.1 200 OK\r\n\r\n") as (port, asked):
        await ask(port, headers={"X-Probe": "yes", "host": "api.example", "User-Agent": "me"})
    lines = asked[0].decode().split("\r\n")
    assert lines[1:4] == ["Host: api.example", "User-Agent: me", "Accept: */*"]
    assert "X-Probe: yes" in lines


@pytest.mark.parametrize("headers", [{"X-A": "a\r\nX-B: b"}, {"X A": "a"}, {"X:": "a"}, {"": "a"}])
def test_a_header_cannot_bring_another(headers: dict[str, str]) -> None:
    with pytest.raises(InvalidArgument):
        build(Probe, {"type": "PROBE_TYPE_HTTP", "headers": headers})
