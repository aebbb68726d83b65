"""TLS for both doors: certificates are read, checked as a whole, used, and read again when runed is told to.

What fails a check at a reload is not used: the doors go on with what they have. Connections stay as they
are; each new one begins with the newest certificate. Ours speak TLS 1.2 or 1.3 with forward secrecy alone.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from rune.core.call import Certificate
from rune.core.clock import Clock
from rune.core.keyfiles import read_private, read_public
from rune.core.x509 import public_bytes, subject_of
from rune.errors import FailedPrecondition, RuneError
from rune.server.metrics import Metrics

logger = logging.getLogger(__name__)

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2; those of 1.3 are all good. gRPC's own list is the same but for its order."""
SOON: Final = timedelta(days=21)
"""From here on the end of a certificate is warned about."""
LOOK_SECONDS: Final = 12 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Where the certificates are; without an authority no client is asked for one."""

    certificate: Path
    key: Path
    client_authority: Path | None = None
    pass_authority: Path | None = None
    """Whose certificates open the HTTP door as well, where clients are asked for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Certificate, key and authority as they were read, known to fit together."""

    chain: bytes
    key: bytes
    authority: bytes
    passes: bytes
    """The authority of passes; empty where clients are asked for nothing."""
    expires_at: datetime

    def __repr__(self) -> str:
        return f"Material(expires_at={self.expires_at})"


class Certificates:
    """What the doors show and ask for. Raises FailedPrecondition when there is nothing good at first."""

    def __init__(self, files: TlsFiles, clock: Clock) -> None:
        self._files, self._clock = files, clock
        self._material = load(files)
        self.failures = 0
        """Reloads that were refused."""
        self._context = _context_of(self._material)
        self._fresh: Any = None
        self._warn()

    @property
    def is_mutual(self) -> bool:
        """Clients must show a certificate too."""
        return bool(self._material.authority)

    @property
    def names(self) -> Sequence[str]:
        """Whom the server's certificate is for: host names, then addresses."""
        return names_of(self._material.chain)

    @property
    def expires_at(self) -> datetime:
        """When what is in use ends: the server's certificate or one of its chain, whichever is first."""
        return self._material.expires_at

    def reload(self) -> None:
        """Use what the files hold now; raises FailedPrecondition, and changes nothing, where that is bad."""
        try:
            material = load(self._files)
            if material.expires_at <= self._clock.now():
                raise FailedPrecondition(f"{self._files.certificate} ended at {material.expires_at:%Y-%m-%d}")
            context = _context_of(material)
        except RuneError:
            self.failures += 1
            raise
        self._material, self._context = material, context
        self._fresh = _configuration(material)
        logger.info("certificates loaded", extra={"expires_at": material.expires_at.isoformat()})
        self._warn()

    def measure(self, metrics: Metrics) -> None:
        """Show when the certificate ends, and how many reloads were refused."""
        ends = "When the server's certificate ends, in seconds since 1970."
        metrics.gauge("tls_certificate_not_after_seconds", ends, self._ends)
        metrics.gauge("tls_reloads_refused", "Certificates that were no good.", self._refused)

    def _ends(self) -> float:
        return self.expires_at.timestamp()

    def _refused(self) -> float:
        return self.failures

    def for_http(self) -> ssl.SSLContext:
        """A context that begins every handshake with the newest certificate."""
        front = _context_of(self._material)
        front.sni_callback = self._switch
        return front

    def for_grpc(self) -> grpc.ServerCredentials:
        """Credentials that look for a newer certificate at every handshake."""
        library: Any = grpc
        credentials: grpc.ServerCredentials = library.dynamic_ssl_server_credentials(
            _configuration(self._material), self._fetch, require_client_authentication=self.is_mutual
        )
        return credentials

    async def watch(self) -> None:
        """Warn twice a day while the end of the certificate is near; until it is cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self._warn()

    def _switch(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._context

    def _fetch(self) -> Any:  # noqa: ANN401 - grpc's own class; called in threads of gRPC's core
        fresh, self._fresh = self._fresh, None
        return fresh

    def _warn(self) -> None:
        left = self.expires_at - self._clock.now()
        facts = {"file": str(self._files.certificate), "expires_at": self.expires_at.isoformat()}
        if left <= timedelta(0):
            logger.error("the certificate has ended: renew it, then send SIGHUP", extra=facts)
        elif left < SOON:
            logger.warning("the certificate ends soon: renew it, then send SIGHUP", extra=facts)


def names_of(chain: bytes) -> Sequence[str]:
    """The alternative names in the first certificate of a chain."""
    try:
        found = x509.load_pem_x509_certificates(chain)[0].extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
    except x509.ExtensionNotFound:
        return ()
    addresses = found.value.get_values_for_type(x509.IPAddress)
    return (*found.value.get_values_for_type(x509.DNSName), *map(str, addresses))


def load(files: TlsFiles) -> Material:
    """Read everything; raises FailedPrecondition that names the file and what is wrong with it."""
    chain = read_public(files.certificate, "the certificate")
    key = read_private(files.key, "the key file")
    authority = b""
    if files.client_authority:
        authority = read_public(files.client_authority, "the clients' authority")
        _certificates(authority, files.client_authority)
    passes = b""
    if authority and files.pass_authority:
        passes = read_public(files.pass_authority, "the authority of passes")
    found = _certificates(chain, files.certificate)
    try:
        private: Any = load_pem_private_key(key, None)
        fits = public_bytes(private.public_key()) == public_bytes(found[0].public_key())
    except (ValueError, TypeError) as error:
        raise FailedPrecondition(f"{files.key} is not a PEM key without a password") from error
    if not fits:
        raise FailedPrecondition(f"{files.key} is not the key of the certificate in {files.certificate}")
    expires_at = min(each.not_valid_after_utc for each in found)
    return Material(chain=chain, key=key, authority=authority, passes=passes, expires_at=expires_at)


def _certificates(data: bytes, path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise FailedPrecondition(f"{path} holds no PEM certificate that can be read: {error}") from error


def _context_of(material: Material) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    context.num_tickets = 0  # who resumes is not asked for a certificate again
    context.set_alpn_protocols(["http/1.1"])
    # The library takes files alone. These bytes were checked; the files may have changed since.
    descriptor = os.memfd_create("rune-tls", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(material.key + b"\n" + material.chain)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    except ssl.SSLError as error:
        raise FailedPrecondition(f"the certificate cannot be used: {error.reason}") from error
    finally:
        os.close(descriptor)
    if material.authority:
        trusted = material.authority + b"\n" + material.passes
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=trusted.decode("ascii", "replace"))
    return context


def _configuration(material: Material) -> Any:  # noqa: ANN401 - grpc's own class, without types
    library: Any = grpc
    return library.ssl_server_certificate_configuration(
        [(material.key, material.chain)], root_certificates=material.authority or None
    )


@lru_cache(1024)
def peer(encoded: bytes) -> Certificate | None:
    """Whom a verified certificate (DER or PEM) names; None when it names nobody of ours."""
    pem = encoded.startswith(b"-----")
    found = x509.load_pem_x509_certificate(encoded) if pem else x509.load_der_x509_certificate(encoded)
    return subject_of(found)
