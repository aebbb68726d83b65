"""A private authority: safe to repeat, keys for their owner alone, one use for each certificate."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rune.core.authority import Authority
from rune.core.x509 import subject_of
from rune.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def made(folder: Path, now: datetime = NOW) -> Authority:
    """An authority."""
    authority = Authority(folder, now)
    authority.init("Test")
    return authority


def certificate(authority: Authority, name: str) -> x509.Certificate:
    """One of its certificates."""
    return x509.load_pem_x509_certificate(authority.path(name).read_bytes())


def test_everything_may_be_repeated(tmp_path: Path) -> None:
    authority = made(tmp_path)
    ca = authority.path("ca").read_bytes()
    assert not authority.init("Other")
    assert authority.path("ca").read_bytes() == ca
    assert authority.issue_server(("a.example", "10.0.0.1"), days=90)
    before = authority.path("server").read_bytes()
    assert not authority.issue_server(("10.0.0.1", "A.example"), days=90)
    assert authority.path("server").read_bytes() == before
    assert authority.issue_client("ann", days=90)
    assert not authority.issue_client("ann", days=90)


def test_keys_are_for_their_owner_alone_and_nothing_else_is_left(tmp_path: Path) -> None:
    authority = made(tmp_path / "deep/certs")
    authority.issue_client("ann", days=9)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "deep/certs").iterdir()}
    assert modes == {
        "ca.pem": 0o644,
        "ca-key.pem": 0o600,
        "client-ann.pem": 0o644,
        "client-ann-key.pem": 0o600,
    }
    assert (tmp_path / "deep/certs").stat().st_mode & 0o777 == 0o700


def test_certificates_are_signed_by_the_authority_for_one_use(tmp_path: Path) -> None:
    authority = made(tmp_path)
    authority.issue_server(("a.example", "::1"), days=90)
    authority.issue_client("ann", days=90)
    ca = certificate(authority, "ca")
    for name, usage in (
        ("server", ExtendedKeyUsageOID.SERVER_AUTH),
        ("client-ann", ExtendedKeyUsageOID.CLIENT_AUTH),
    ):
        found = certificate(authority, name)
        found.verify_directly_issued_by(ca)
        assert list(found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [usage]
        assert not found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        assert found.not_valid_after_utc == NOW + timedelta(days=90)
    assert ca.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0


def test_a_client_certificate_names_its_subject_and_a_servers_names_nobody(tmp_path: Path) -> None:
    authority = made(tmp_path)
    authority.issue_server(("root",), days=90)
    authority.issue_client("ann", days=90)
    found = subject_of(certificate(authority, "client-ann"))
    assert found
    assert (found.subject, found.expires_at) == ("ann", NOW + timedelta(days=90))
    assert subject_of(certificate(authority, "server")) is None
    assert subject_of(certificate(authority, "ca")) is None


@pytest.mark.parametrize(
    "commons, uris, named",
    [
        (["ann"], [], "ann"),
        (["ann"], ["rune://subject/bob"], "bob"),
        (["ann"], ["https://elsewhere/x"], "ann"),
        (["ann", "bob"], [], None),
        ([], [], None),
        (["Ann Smith"], [], None),
        (["ann"], ["rune://subject/bob", "rune://subject/carl"], None),
        (["ann"], ["rune://subject/"], None),
        (["ann"], ["rune://subject/../root"], None),
    ],
)
def test_whom_a_certificate_names(
    tmp_path: Path, commons: list[str], uris: list[str], named: str | None
) -> None:
    authority = made(tmp_path)
    authority.issue_client("any", days=1)
    real = certificate(authority, "client-any")

    class Shaped:
        """The real one, with another subject and other names."""

        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text) for text in commons])
        extensions = x509.Extensions(
            [
                real.extensions.get_extension_for_class(x509.ExtendedKeyUsage),
                *(
                    [
                        x509.Extension(
                            x509.SubjectAlternativeName.oid,
                            critical=False,
                            value=x509.SubjectAlternativeName(
                                [x509.UniformResourceIdentifier(uri) for uri in uris]
                            ),
                        )
                    ]
                    if uris
                    else []
                ),
            ]
        )
        fingerprint = real.fingerprint
        not_valid_after_utc = real.not_valid_after_utc

    shaped: object = Shaped()
    found = subject_of(shaped)  # pyright: ignore[reportArgumentType] - as much of a certificate as is looked at
    assert (found.subject if found else None) == named


def test_what_ends_soon_is_renewed_for_the_same_names_with_a_new_key(tmp_path: Path) -> None:
    authority = made(tmp_path)
    authority.issue_server(("a.example",), days=90)
    authority.issue_client("ann", days=300)
    before = certificate(authority, "server")
    later = Authority(tmp_path, NOW + timedelta(days=70))
    assert later.due() == ["server"]
    later.renew("server", days=90)
    after = certificate(authority, "server")
    assert after.not_valid_after_utc == NOW + timedelta(days=160)
    assert after.public_key() != before.public_key()
    assert [each.names for each in later.issued()] == [(), ("ann",), ("a.example",)]
    assert later.due() == []


def test_issuing_again_what_ends_soon_renews_it(tmp_path: Path) -> None:
    made(tmp_path).issue_client("ann", days=90)
    assert Authority(tmp_path, NOW + timedelta(days=70)).issue_client("ann", days=90)


def test_nothing_outlives_the_authority(tmp_path: Path) -> None:
    made(tmp_path)
    late = Authority(tmp_path, NOW + timedelta(days=3600))
    late.issue_client("ann", days=365)
    ann, ca = certificate(late, "client-ann"), certificate(late, "ca")
    assert ann.not_valid_after_utc == ca.not_valid_after_utc
    with pytest.raises(FailedPrecondition, match="has ended"):
        Authority(tmp_path, NOW + timedelta(days=3700)).issue_client("bob", days=1)


def test_what_cannot_be_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="rune admin certs init"):
        Authority(tmp_path, NOW).issue_client("ann", days=1)
    authority = made(tmp_path)
    authority.issue_server(("a.example",), days=90)
    with pytest.raises(AlreadyExists, match="remove it first"):
        authority.issue_server(("b.example",), days=90)
    for bad in ("a b", "https://a", "a.example:7863", "-a", ""):
        with pytest.raises(InvalidArgument):
            Authority(tmp_path, NOW).issue_server((bad,), days=1)
    for bad in ("Ann", "../ann", "", "a b"):
        with pytest.raises(InvalidArgument):
            authority.issue_client(bad, days=1)
    with pytest.raises(NotFound, match="rune admin certs show"):
        authority.renew("client-nobody", days=1)
    authority.path("ca", key=True).chmod(0o644)
    with pytest.raises(FailedPrecondition, match="chmod 600"):
        authority.issue_client("ann", days=1)
    authority.path("ca", key=True).chmod(0o600)
    authority.path("ca", key=True).write_bytes(authority.path("server", key=True).read_bytes())
    with pytest.raises(FailedPrecondition, match="not the key of the authority"):
        authority.issue_client("ann", days=1)


def test_a_pass_is_for_clients_names_nobody_and_is_kept_nowhere(tmp_path: Path) -> None:
    authority = made(tmp_path)
    before = sorted(tmp_path.iterdir())
    given = authority.pass_for("an agent of this server")
    found = x509.load_pem_x509_certificate(given.certificate)
    assert subject_of(found) is None
    found.verify_directly_issued_by(certificate(authority, "ca"))
    assert sorted(tmp_path.iterdir()) == before
    assert "PRIVATE" not in repr(given)
    with pytest.raises(InvalidArgument, match="names nobody"):
        authority.pass_for("root")
