"""TLS on real sockets: who gets in, as whom, and what happens when certificates change."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from promises import promise
from rune.api.orchestrator import admin, auth
from rune.client.client import Client
from rune.client.trust import Trust
from rune.core.authority import Authority
from rune.core.call import Caller
from rune.core.clock import ManualClock
from rune.core.keyfiles import write_private
from rune.errors import FailedPrecondition, PermissionDenied, Unauthenticated, Unavailable
from rune.server.tls import Certificates, peer
from surface.tls import DAYS, NOW, Secured, authority_in, files_in, secured

pytestmark = [pytest.mark.system, promise("tls.doors")]

Way = Callable[..., Client]
WHO = auth.WhoAmIRequest()


def ways(doors: Secured) -> tuple[Way, Way]:
    """Both transports."""
    return doors.over_grpc, doors.over_http


async def shown(doors: Secured) -> bytes:
    """The certificate that the HTTP door shows now."""
    async with doors.raw() as client:
        answer = await client.get("/healthz")
        stream = answer.extensions["network_stream"]
        found: bytes = stream.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return found


def by_certificate(doors: Secured) -> Caller:
    """Somebody who shows ann's certificate."""
    found = peer(doors.authority.path("client-ann").read_bytes())
    return Caller(edge="grpc", request_id="r", certificate=found)


@promise("tls.doors", "weak-spot.02")
async def test_both_doors_speak_tls_and_nothing_else(tmp_path: Path) -> None:
    async with secured(tmp_path) as doors:
        root = await doors.plane.bootstrap()
        for way in ways(doors):
            async with way(root) as client:
                assert (await client.call(auth.whoami, WHO)).subject_name == "root"
        async with httpx.AsyncClient() as plain:
            with pytest.raises(httpx.RemoteProtocolError):
                await plain.get(f"http://127.0.0.1:{doors.http_port}/healthz")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_tls_1_2_and_1_3_are_spoken_with_forward_secrecy(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    async with secured(tmp_path) as doors:
        context = doors.trust().context()
        context.minimum_version = context.maximum_version = version
        async with doors.raw(context) as client:
            answer = await client.get("/healthz")
            cipher = answer.extensions["network_stream"].get_extra_info("ssl_object").cipher()[0]
            assert cipher.startswith(("ECDHE-", "TLS_"))
            assert answer.headers["strict-transport-security"]


async def test_older_versions_and_ciphers_without_forward_secrecy_are_refused(tmp_path: Path) -> None:
    async with secured(tmp_path) as doors:
        context = doors.trust().context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("AES256-GCM-SHA384")
        async with doors.raw(context) as client:
            with pytest.raises(httpx.ConnectError):
                await client.get("/healthz")


async def test_a_server_of_another_authority_is_not_trusted(tmp_path: Path) -> None:
    async with secured(tmp_path / "a") as doors:
        authority_in(tmp_path / "b")
        doors.folder = tmp_path / "b"
        for way in ways(doors):
            async with way("token") as client:
                with pytest.raises(Unavailable):
                    await client.call(auth.whoami, WHO)


@promise("tls.mutual")
async def test_a_client_certificate_stands_for_the_subject_that_it_names(tmp_path: Path) -> None:
    async with secured(tmp_path, mutual=True) as doors:
        root = await doors.plane.bootstrap()
        await doors.plane.call(admin.create_user, admin.UserCreateRequest(name="ann"), by=root)
        for way in ways(doors):
            async with way(client="ann") as client:
                assert (await client.call(auth.whoami, WHO)).subject_name == "ann"
            async with way(root, client="ann") as client:  # a token goes before the certificate
                assert (await client.call(auth.whoami, WHO)).subject_name == "root"
        call = doors.plane.heard.records
        assert not [record for record in call if record[2]]


async def test_without_a_certificate_nobody_gets_in_where_they_are_asked_for(tmp_path: Path) -> None:
    async with secured(tmp_path, mutual=True) as doors:
        root = await doors.plane.bootstrap()
        for way in ways(doors):
            async with way(root) as client:
                with pytest.raises(Unavailable):
                    await client.call(auth.whoami, WHO)


async def test_a_certificate_of_another_authority_does_not_get_in(tmp_path: Path) -> None:
    async with secured(tmp_path / "a", mutual=True) as doors:
        doors.authority = authority_in(tmp_path / "b")
        for way in ways(doors):
            async with way(client="ann") as client:
                with pytest.raises(Unavailable):
                    await client.call(auth.whoami, WHO)


async def test_a_certificate_that_names_nobody_is_no_credential(tmp_path: Path) -> None:
    async with secured(tmp_path, mutual=True) as doors:
        for way in ways(doors):
            async with way(client="ann") as client:
                with pytest.raises(Unauthenticated, match="stands for no user"):
                    await client.call(auth.whoami, WHO)


async def test_a_certificate_has_the_rights_of_its_subject_and_no_more(tmp_path: Path) -> None:
    async with secured(tmp_path, mutual=True) as doors:
        root = await doors.plane.bootstrap()
        await doors.plane.call(admin.create_user, admin.UserCreateRequest(name="ann"), by=root)
        async with doors.over_grpc(client="ann") as client:
            with pytest.raises(PermissionDenied):
                await client.call(admin.list_tokens, admin.TokenListRequest())


async def test_a_servers_certificate_is_nobodys_credential(tmp_path: Path) -> None:
    async with secured(tmp_path, mutual=True) as doors:
        ca = (tmp_path / "ca.pem").read_bytes()
        trust = Trust(ca, (tmp_path / "server.pem").read_bytes(), (tmp_path / "server-key.pem").read_bytes())
        async with doors.raw(trust.context()) as client:
            with pytest.raises(httpx.TransportError):
                await client.get("/v1/auth/whoami")


@promise("tls.reload")
async def test_a_reload_changes_the_certificate_of_new_connections_and_keeps_the_old_ones(
    tmp_path: Path,
) -> None:
    async with secured(tmp_path) as doors:
        root = await doors.plane.bootstrap()
        before = await shown(doors)
        async with doors.over_grpc(root) as over_grpc, doors.over_http(root) as over_http:
            for client in (over_grpc, over_http):
                await client.call(auth.whoami, WHO)
            # A new authority altogether: whoever connects anew has to trust that one.
            for path in tmp_path.glob("*.pem"):
                path.unlink()
            authority_in(tmp_path)
            doors.certificates.reload()
            for client in (over_grpc, over_http):
                assert (await client.call(auth.whoami, WHO)).subject_name == "root"
        for way in ways(doors):
            async with way(root) as client:
                assert (await client.call(auth.whoami, WHO)).subject_name == "root"
        assert await shown(doors) != before


async def test_a_reload_changes_whose_clients_are_let_in(tmp_path: Path) -> None:
    async with secured(tmp_path / "a", mutual=True) as doors:
        root = await doors.plane.bootstrap()
        await doors.plane.call(admin.create_user, admin.UserCreateRequest(name="ann"), by=root)
        old = doors.trust("ann")
        authority_in(tmp_path / "b")
        for name in ("ca", "server", "server-key"):
            path = tmp_path / "a" / f"{name}.pem"
            mode = path.stat().st_mode & 0o777
            write_private(path, (tmp_path / "b" / f"{name}.pem").read_bytes(), mode=mode)
        doors.certificates.reload()
        doors.authority = Authority(tmp_path / "b", NOW)
        for way in ways(doors):
            async with way(client="ann") as client:
                assert (await client.call(auth.whoami, WHO)).subject_name == "ann"
        stale = Trust((tmp_path / "b/ca.pem").read_bytes(), old.certificate, old.key)
        async with doors.raw(stale.context()) as client:
            with pytest.raises(httpx.TransportError):
                await client.get("/v1/auth/whoami")


def spoil_nothing(folder: Path) -> None:
    (folder / "server.pem").write_text("nonsense", encoding="utf-8")


def spoil_key(folder: Path) -> None:
    write_private(folder / "server-key.pem", (folder / "client-ann-key.pem").read_bytes())


def spoil_mode(folder: Path) -> None:
    (folder / "server-key.pem").chmod(0o644)


def spoil_away(folder: Path) -> None:
    (folder / "server.pem").unlink()


def spoil_age(folder: Path) -> None:
    Authority(folder, NOW - timedelta(days=DAYS)).renew("server", days=DAYS - 1)


@pytest.mark.parametrize(
    "spoil, reason",
    [
        (spoil_nothing, "holds no PEM certificate"),
        (spoil_key, "is not the key of the certificate"),
        (spoil_mode, "chmod 600"),
        (spoil_away, "cannot be read: No such file"),
        (spoil_age, "ended at"),
    ],
)
async def test_a_certificate_that_is_no_good_is_not_used_and_the_reason_is_told(
    tmp_path: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    async with secured(tmp_path) as doors:
        before = await shown(doors)
        spoil(tmp_path)
        with pytest.raises(FailedPrecondition, match=reason):
            doors.certificates.reload()
        assert await shown(doors) == before
        assert b"rune_tls_reloads_refused 1.0" in doors.metrics.page()


async def test_the_end_of_the_certificate_is_measured(tmp_path: Path) -> None:
    async with secured(tmp_path) as doors:
        line = next(
            line
            for line in doors.metrics.page().decode().splitlines()
            if line.startswith("rune_tls_certificate_not")
        )
        assert float(line.split()[1]) == doors.certificates.expires_at.timestamp()


@pytest.mark.parametrize("days, word", [(DAYS - 5, "ends soon"), (DAYS + 1, "has ended")])
def test_the_end_of_the_certificate_is_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, days: int, word: str
) -> None:
    authority_in(tmp_path)
    with caplog.at_level(logging.WARNING):
        Certificates(files_in(tmp_path, mutual=False), ManualClock(NOW + timedelta(days=days)))
    assert word in caplog.text


async def test_a_stream_ends_with_the_certificate_that_opened_it(tmp_path: Path) -> None:
    async with secured(tmp_path, mutual=True) as doors:
        root = await doors.plane.bootstrap()
        await doors.plane.call(admin.create_user, admin.UserCreateRequest(name="ann"), by=root)
        principal = doors.plane.identity.authenticate(by_certificate(doors))
        end = doors.plane.identity.lost(principal)
        assert not end.is_set()
        await doors.plane.call(
            admin.attach_grant,
            admin.PolicyAttachToSubjectRequest(policy_name="readwrite", subject_name="ann"),
            by=root,
        )
        await end.wait()
        again = doors.plane.identity.authenticate(by_certificate(doors))
        assert again.grants == ("readonly", "readwrite")
        doors.clock.advance((DAYS + 1) * 86400)
        with pytest.raises(Unauthenticated):
            doors.plane.identity.authenticate(by_certificate(doors))
