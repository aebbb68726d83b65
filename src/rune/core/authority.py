"""A private certificate authority in a folder: one for the server and its clients, when there is no other.

Keys are EC P-256 and never leave their files, which only their owner may read. Everything may be repeated:
what is there and good for a while stays as it is.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rune.api.fields import LABEL
from rune.core.keyfiles import read_private, read_public, write_private
from rune.core.x509 import URI
from rune.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound

AUTHORITY: Final = "ca"
SERVER: Final = "server"
CLIENTS: Final = "client-"
"""The names of files: `server.pem`, `server-key.pem`, `client-ann.pem` …"""
YEARS: Final = timedelta(days=3652)
SLACK: Final = timedelta(minutes=5)
"""Clocks of other machines may be behind by this much."""
RENEWED: Final = timedelta(days=30)
"""What ends within that time is renewed when nobody says what to renew."""
HOST: Final = re.compile(
    r"(?:\*\.)?[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*"
)
_NO_KEY_USES: Final = {
    "content_commitment": False,
    "key_encipherment": False,
    "data_encipherment": False,
    "key_agreement": False,
    "encipher_only": False,
    "decipher_only": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A certificate of the folder, as people see it."""

    name: str
    """`ca`, `server` or `client-NAME`."""
    names: tuple[str, ...]
    """What it is good for: host names and addresses, or the subject."""
    expires_at: datetime
    serial: str


@dataclass(frozen=True, slots=True)
class Pass:
    """A certificate that opens a door and says nothing of who comes, PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


class Authority:
    """The authority in a folder. `now` is the moment of everything that is done with it."""

    def __init__(self, folder: Path, now: datetime) -> None:
        self._folder, self._now = folder, now

    def init(self, name: str) -> bool:
        """Make it, unless it is there; whether it was made."""
        if self._certificate(AUTHORITY).exists():
            self._load()
            return False
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = self._builder(subject, subject, key, until=self._now + YEARS)
        uses = x509.KeyUsage(digital_signature=True, key_cert_sign=True, crl_sign=True, **_NO_KEY_USES)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(uses, critical=True)
        self._write(AUTHORITY, key, builder.sign(key, hashes.SHA256()))
        return True

    def issue_server(self, hosts: tuple[str, ...], *, days: int) -> bool:
        """A certificate for these names and addresses; False when there is one for the same already."""
        names = [_host(host) for host in dict.fromkeys(hosts)]
        if not names:
            raise InvalidArgument("a server's certificate is for at least one name or address")
        if self._is_there(SERVER, tuple(_text(name) for name in names)):
            return False
        self._issue(SERVER, hosts[0], names, days=days)
        return True

    def issue_client(self, subject: str, *, days: int) -> bool:
        """A certificate that stands for the user or service account; False when there is a good one."""
        if not re.fullmatch(LABEL, subject):
            raise InvalidArgument(
                f"{subject[:64]!r} is no name of a user: lowercase letters, digits, hyphens"
            )
        uri = x509.UniformResourceIdentifier(f"{URI}{subject}")
        if self._is_there(f"{CLIENTS}{subject}", (subject,)):
            return False
        self._issue(f"{CLIENTS}{subject}", subject, [uri], days=days)
        return True

    def pass_for(self, words: str) -> Pass:
        """A client's certificate that names nobody and is kept nowhere; it lasts as long as the authority.

        It opens a door that asks for one. Who it is that comes, and for how long, other credentials say.
        """
        if re.fullmatch(LABEL, words):
            raise InvalidArgument(f"{words!r} is the name of a user: a pass names nobody")
        uri = x509.UniformResourceIdentifier("rune://pass")
        key, made = self._signed(words, [uri], ExtendedKeyUsageOID.CLIENT_AUTH, until=self._now + YEARS)
        return Pass(made.public_bytes(Encoding.PEM), _private(key))

    def renew(self, name: str, *, days: int) -> None:
        """Issue it anew for the same names, with a new key; raises NotFound when there is none."""
        found = self._read(name)
        commons = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        self._issue(name, str(commons[0].value), list(_alternatives(found)), days=days)

    def due(self) -> list[str]:
        """The names of what ends soon; not of the authority itself."""
        soon = self._now + RENEWED
        return [each.name for each in self.issued() if each.name != AUTHORITY and each.expires_at < soon]

    def issued(self) -> list[Issued]:
        """Everything in the folder, the authority first; raises NotFound when there is none."""
        self._refuse_missing()
        names = sorted(path.stem for path in self._folder.glob("*.pem") if not path.stem.endswith("-key"))
        found = [
            (name, self._read(name)) for name in sorted(names, key=lambda name: (name != AUTHORITY, name))
        ]
        return [
            Issued(
                name=name,
                names=tuple(_text(each) for each in _alternatives(certificate)),
                expires_at=certificate.not_valid_after_utc,
                serial=f"{certificate.serial_number:x}",
            )
            for name, certificate in found
        ]

    def path(self, name: str, *, key: bool = False) -> Path:
        """Where a certificate or its key is."""
        return self._key(name) if key else self._certificate(name)

    def _issue(self, name: str, common: str, alternatives: list[x509.GeneralName], *, days: int) -> None:
        usage = ExtendedKeyUsageOID.SERVER_AUTH if name == SERVER else ExtendedKeyUsageOID.CLIENT_AUTH
        self._write(name, *self._signed(common, alternatives, usage, until=self._now + timedelta(days=days)))

    def _signed(
        self, common: str, alternatives: list[x509.GeneralName], usage: x509.ObjectIdentifier,
        *, until: datetime,
    ) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:  # fmt: skip
        authority, signer = self._load()
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:64])])
        until = min(until, authority.not_valid_after_utc)
        uses = x509.KeyUsage(digital_signature=True, key_cert_sign=False, crl_sign=False, **_NO_KEY_USES)
        builder = (
            self._builder(subject, authority.subject, key, until=until)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(uses, critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
            )
        )
        return key, builder.sign(signer, hashes.SHA256())

    def _builder(
        self, subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, *, until: datetime
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - SLACK)
            .not_valid_after(until)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )

    def _is_there(self, name: str, names: tuple[str, ...]) -> bool:
        """A good one for these names; raises AlreadyExists for one that is for others."""
        if not self._certificate(name).exists():
            return False
        found = self._read(name)
        has = tuple(_text(each) for each in _alternatives(found))
        if set(has) != set(names):
            raise AlreadyExists(
                f"{self._certificate(name)} is for {', '.join(has)}: remove it first to issue one for others"
            )
        return found.not_valid_after_utc > self._now + RENEWED

    def _load(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        """The authority's certificate and key, which belong together and have not ended."""
        self._refuse_missing()
        certificate = self._read(AUTHORITY)
        data = read_private(self._key(AUTHORITY), "the authority's key")
        try:
            key = load_pem_private_key(data, None)
        except (ValueError, TypeError) as error:
            raise FailedPrecondition(f"{self._key(AUTHORITY)} is not a PEM key without a password") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise FailedPrecondition(f"{self._key(AUTHORITY)} is not the key of the authority beside it")
        if certificate.not_valid_after_utc <= self._now:
            raise FailedPrecondition(f"the authority in {self._folder} has ended: make one in another folder")
        return certificate, key

    def _refuse_missing(self) -> None:
        if not self._certificate(AUTHORITY).exists():
            raise NotFound(f"there is no authority in {self._folder}: rune admin certs init makes one")

    def _read(self, name: str) -> x509.Certificate:
        path = self._certificate(name)
        if not path.exists():
            raise NotFound(
                f"there is no certificate {name!r} in {self._folder}: rune admin certs show lists them"
            )
        try:
            return x509.load_pem_x509_certificate(read_public(path, "the certificate"))
        except ValueError as error:
            raise FailedPrecondition(f"{path} is no PEM certificate") from error

    def _write(self, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        write_private(self._key(name), _private(key))
        write_private(self._certificate(name), certificate.public_bytes(Encoding.PEM), mode=0o644)

    def _certificate(self, name: str) -> Path:
        return self._folder / f"{name}.pem"

    def _key(self, name: str) -> Path:
        return self._folder / f"{name}-key.pem"


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        pass
    if not HOST.fullmatch(text.lower()):
        raise InvalidArgument(f"{text[:64]!r} is neither a host name nor an address (without a port)")
    return x509.DNSName(text.lower())


def _alternatives(certificate: x509.Certificate) -> tuple[x509.GeneralName, ...]:
    try:
        return tuple(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return ()


def _text(name: x509.GeneralName) -> str:
    return str(name.value).removeprefix(URI)
