"""Where a token may be sent, and which keys are used."""

from __future__ import annotations

from pathlib import Path

import pytest

from promises import promise
from rune.client.grpc import GrpcTransport
from rune.client.http import HttpTransport
from rune.client.trust import Trust, read, refuse_plain
from rune.errors import FailedPrecondition, InvalidArgument


@promise("tls.plain")
@pytest.mark.parametrize(
    "address",
    [
        "prod.internal:7863",
        "grpc://10.0.0.5:7863",
        "http://prod.internal:7861",
        "http://127.0.0.1.evil.example:7861",
        "127.evil.example:1",
        "[2001:db8::1]:7863",
        "dns:///prod.internal:7863",
        "localhost.evil.example:7863",
        "prod.internal",
        "http://localhost@evil.example/",
    ],
)
def test_a_token_does_not_cross_a_network_in_plain_text(address: str) -> None:
    with pytest.raises(FailedPrecondition, match="unencrypted"):
        refuse_plain(address, "token", insecure=False)
    refuse_plain(address, "token", insecure=True)
    refuse_plain(address, "", insecure=False)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1:7863",
        "localhost:7863",
        "http://localhost:7861/",
        "[::1]:7863",
        "unix:/run/x",
        "http://127.1.2.3",
    ],
)
def test_a_token_may_be_sent_to_this_machine(address: str) -> None:
    refuse_plain(address, "token", insecure=False)


def test_both_transports_refuse_before_anything_is_sent() -> None:
    for make in (
        lambda: GrpcTransport("prod:1", token="t"),
        lambda: HttpTransport("http://prod:1", token="t"),
    ):
        with pytest.raises(FailedPrecondition):
            make()


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("x", encoding="utf-8")
    with pytest.raises(InvalidArgument, match="chmod 600"):
        read(certificate=str(tmp_path / "cert.pem"), key=str(tmp_path / "key.pem"))
    (tmp_path / "key.pem").chmod(0o600)
    found = read(certificate=str(tmp_path / "cert.pem"), key=str(tmp_path / "key.pem"))
    assert found == Trust(b"", b"x", b"x")


def test_a_certificate_needs_its_key_and_both_have_to_be_good() -> None:
    with pytest.raises(InvalidArgument, match="belong together"):
        read(certificate="cert.pem")
    with pytest.raises(InvalidArgument, match="no good"):
        Trust(b"nonsense").context()
    with pytest.raises(InvalidArgument, match="no good"):
        Trust(b"", b"nonsense", b"nonsense").context()


def test_no_key_is_printed() -> None:
    assert "secret" not in repr(Trust(b"", b"", b"secret"))
