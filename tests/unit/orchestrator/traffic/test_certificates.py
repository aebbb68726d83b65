"""TLS at the doors of services: certificates from secrets, and clients that show theirs."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from promises import promise
from rune.api.orchestrator import secrets
from rune.api.orchestrator.services import Service
from rune.api.orchestrator.specs import ExposeClientCert, ExposeServiceTLS, ServiceExpose, ServicePort
from rune.core.authority import Authority
from rune.core.clock import SystemClock
from rune.errors import FailedPrecondition
from rune.orchestrator.secrets import Secrets
from rune.orchestrator.traffic import exposure
from rune.orchestrator.traffic.certificates import Certificates, Plain
from unit.orchestrator.plane import Plane, new_plane
from unit.orchestrator.traffic.street import PATIENCE, Street
from vaults import opened

PLANTED = "-----BEGIN PRIVATE KEY-----\nhunter2-planted\n-----END PRIVATE KEY-----\n"
EXPOSED = ServiceExpose(port="80", tls=ExposeServiceTLS(secret="web"))
MUTUAL = ServiceExpose(port="80", tls=EXPOSED.tls, client_cert=ExposeClientCert(ca_secret="people"))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path, SystemClock().now())
    made.init("Test authority")
    made.issue_server(("localhost", "127.0.0.1"), days=9)
    made.issue_client("ann", days=9)
    return made


@pytest.fixture
async def plane() -> AsyncIterator[Plane]:
    plane = await new_plane()
    async with plane.store:
        yield plane


@pytest.fixture(autouse=True)
def certificates(plane: Plane) -> Certificates:
    safe = opened(plane.store).safe
    Secrets(safe, clock=plane.clock).register(plane.dispatcher)
    return Certificates(safe)


async def keep(plane: Plane, name: str, **data: str) -> None:
    values = {key.replace("_", "."): value for key, value in data.items()}
    await plane.call(
        secrets.create, secrets.CreateSecretRequest(secret=secrets.Secret(name=name, data=values))
    )


async def keep_server(plane: Plane, authority: Authority) -> None:
    certificate, key = (
        authority.path("server", key=key).read_text(encoding="utf-8") for key in (False, True)
    )
    await keep(plane, "web", tls_crt=certificate, tls_key=key)


def service(expose: ServiceExpose = EXPOSED) -> Service:
    return Service(name="api", namespace="default", expose=expose)


def trusting(folder: Path, client: str = "") -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    if client:
        context.load_cert_chain(folder / f"client-{client}.pem", folder / f"client-{client}-key.pem")
    return context


async def says(street: Street, text: bytes, context: ssl.SSLContext) -> bytes:
    """What comes back for a word, encrypted."""
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(
            *street.door.place, ssl=context, server_hostname="localhost"
        )
        try:
            writer.write(text)
            return await reader.readexactly(len(text))
        finally:
            writer.transport.abort()


@promise("traffic.tls")
async def test_a_door_with_a_certificate_speaks_tls_and_nothing_else(
    plane: Plane, certificates: Certificates, authority: Authority, tmp_path: Path, street: Street
) -> None:
    await keep_server(plane, authority)
    shown = certificates.of(service())
    assert shown
    assert shown is certificates.of(service())
    await street.settle("one")
    street.door.tls = shown.context
    text = bytes(range(256)) * 4000
    assert await says(street, text, trusting(tmp_path)) == text
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        async with asyncio.timeout(PATIENCE):
            reader, writer = await street.connect()
            writer.write(b"GET / HTTP/1.0\r\n\r\n")
            try:
                await reader.readexactly(1)
            finally:
                writer.transport.abort()
    assert street.copies[0].streams


async def test_a_copy_that_has_said_all_ends_the_encrypted_connection_after_its_last_byte(
    plane: Plane, certificates: Certificates, authority: Authority, tmp_path: Path, street: Street
) -> None:
    await keep_server(plane, authority)
    (copy,) = await street.settle("one")
    copy.is_mute = True
    shown = certificates.of(service())
    assert shown
    street.door.tls = shown.context
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(
            *street.door.place, ssl=trusting(tmp_path), server_hostname="localhost"
        )
        await copy.arrived.wait()
        copy.streams[0][1].write(b"x" * 500_000)
        copy.streams[0][1].write_eof()
        assert await reader.read() == b"x" * 500_000
        writer.transport.abort()


async def test_with_an_authority_only_its_clients_come_in(
    plane: Plane, certificates: Certificates, authority: Authority, tmp_path: Path, street: Street
) -> None:
    await keep_server(plane, authority)
    await keep(plane, "people", ca_crt=(tmp_path / "ca.pem").read_text(encoding="utf-8"))
    shown = certificates.of(service(MUTUAL))
    assert shown
    await street.settle("one")
    street.door.tls = shown.context
    assert await says(street, b"hello", trusting(tmp_path, "ann")) == b"hello"
    with pytest.raises((OSError, asyncio.IncompleteReadError)):
        await says(street, b"hello", trusting(tmp_path))


async def test_a_newer_certificate_is_shown_once_its_secret_changed(
    plane: Plane, certificates: Certificates, authority: Authority
) -> None:
    await keep_server(plane, authority)
    before = certificates.of(service())
    authority.renew("server", days=30)
    new = {
        "tls.crt": authority.path("server").read_text(encoding="utf-8"),
        "tls.key": authority.path("server", key=True).read_text(encoding="utf-8"),
    }
    await plane.call(secrets.patch, secrets.PatchSecretRequest(name="web", set=new))
    after = certificates.of(service())
    assert before
    assert after
    assert after.ends > before.ends
    assert after.status("h", now=after.ends).state == "Expired"


async def test_what_is_missing_or_broken_is_named_and_no_key_is_shown(
    plane: Plane, certificates: Certificates
) -> None:
    with pytest.raises(FailedPrecondition, match="^secret default/web does not exist"):
        certificates.of(service())
    await keep(plane, "web", tls_crt="x")
    with pytest.raises(FailedPrecondition, match="^secret default/web has no key 'tls.key'"):
        certificates.of(service())
    await plane.call(secrets.patch, secrets.PatchSecretRequest(name="web", set={"tls.key": PLANTED}))
    with pytest.raises(FailedPrecondition, match="are no PEM certificate with its key") as caught:
        certificates.of(service())
    assert "planted" not in f"{caught.value!r}{caught.value.__cause__!r}"


def test_a_server_without_secrets_opens_no_door_that_wants_tls() -> None:
    with pytest.raises(FailedPrecondition, match="keeps no secrets"):
        Plain().of(service())
    assert Plain().of(service(ServiceExpose(port="80"))) is None


@pytest.mark.parametrize(
    "expose, field",
    [
        (ServiceExpose(port="80", tls=ExposeServiceTLS()), "expose.tls.secret"),
        (ServiceExpose(port="80", client_cert=ExposeClientCert(ca_secret="ca")), "expose.client_cert"),
        (
            ServiceExpose(port="80", tls=EXPOSED.tls, client_cert=ExposeClientCert()),
            "expose.client_cert.ca_secret",
        ),
    ],
)
def test_what_tls_needs_is_asked_for(expose: ServiceExpose, field: str) -> None:
    assert field in dict(exposure.violations(service(expose)))


async def test_a_secret_that_a_door_shows_is_in_use(plane: Plane, authority: Authority) -> None:
    await keep_server(plane, authority)
    await plane.serve("api", ports=[ServicePort(port=80)], expose=EXPOSED)
    with pytest.raises(FailedPrecondition, match="default/api"):
        await plane.call(secrets.delete, secrets.DeleteSecretRequest(name="web"))
