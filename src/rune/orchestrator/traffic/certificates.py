"""Certificates of exposed services: out of their secrets, into the doors. No key is written to a disk."""

from __future__ import annotations

import os
import ssl
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Final, NamedTuple, Protocol

from cryptography import x509

from rune.api.orchestrator.services import Service
from rune.api.orchestrator.specs import IngressCertStatus, ServiceExpose
from rune.errors import FailedPrecondition
from rune.orchestrator.safe import Safe

CERTIFICATE, KEY, AUTHORITY = "tls.crt", "tls.key", "ca.crt"
"""The keys of a secret, as other orchestrators name them too."""
MOST_KEPT: Final = 4096


class Presented(NamedTuple):
    """What a door shows to clients."""

    context: ssl.SSLContext
    begins: datetime
    ends: datetime

    def status(self, host: str, *, now: datetime) -> IngressCertStatus:
        """The same, as services say it."""
        state = "Expired" if now >= self.ends else "NotYetValid" if now < self.begins else "Valid"
        return IngressCertStatus(host=host, state=state, issued_at=self.begins, expires_at=self.ends)


class Presents(Protocol):
    """Knows what the doors of services show."""

    def of(self, service: Service) -> Presented | None:
        """None for one without TLS; raises FailedPrecondition with the reason why it cannot be had."""
        ...


class Plain:
    """A server that keeps no secrets has no certificates."""

    def of(self, service: Service) -> Presented | None:
        """Raises FailedPrecondition for a service that wants TLS: its door must not open without."""
        if service.expose and service.expose.tls:
            raise FailedPrecondition("this server keeps no secrets, so it has no certificate to show")
        return None


class Certificates:
    """Reads certificates where they changed; a door keeps its connections when it gets a newer one."""

    def __init__(self, safe: Safe) -> None:
        self._safe = safe
        self._known: dict[tuple[object, ...], Presented] = {}

    def of(self, service: Service) -> Presented | None:
        """What the service's door shows now."""
        expose = service.expose
        if expose is None or expose.tls is None:
            return None
        names = [expose.tls.secret, *([expose.client_cert.ca_secret] if expose.client_cert else [])]
        found = [self._safe.find(service.namespace, name) for name in names]
        mark = (service.namespace, *names, *(item.revision if item else 0 for item in found))
        if mark not in self._known:
            if len(self._known) >= MOST_KEPT:
                self._known.clear()
            self._known[mark] = self._made(service.namespace, expose)
        return self._known[mark]

    def _made(self, namespace: str, expose: ServiceExpose) -> Presented:
        secret = expose.tls.secret if expose.tls else ""
        values = self._values(namespace, secret, CERTIFICATE, KEY)
        try:
            chain = x509.load_pem_x509_certificates(values[CERTIFICATE].encode())
            context = _context(values)
        except (ValueError, ssl.SSLError) as error:
            why = f"secret {namespace}/{secret}: {CERTIFICATE} and {KEY} are no PEM certificate with its key"
            raise FailedPrecondition(why) from error
        if expose.client_cert:
            self._ask_for(context, namespace, expose.client_cert.ca_secret)
        return Presented(context, chain[0].not_valid_before_utc, chain[0].not_valid_after_utc)

    def _ask_for(self, context: ssl.SSLContext, namespace: str, secret: str) -> None:
        """Take only clients whose certificate this authority signed."""
        values = self._values(namespace, secret, AUTHORITY)
        try:
            context.load_verify_locations(cadata=values[AUTHORITY])
        except (ValueError, ssl.SSLError) as error:
            why = f"secret {namespace}/{secret}: {AUTHORITY} is no PEM certificate"
            raise FailedPrecondition(why) from error
        context.verify_mode = ssl.CERT_REQUIRED

    def _values(self, namespace: str, name: str, *keys: str) -> Mapping[str, str]:
        found = self._safe.find(namespace, name)
        if found is None:
            raise FailedPrecondition(f"secret {namespace}/{name} does not exist")
        values = self._safe.values(found)
        absent = next((key for key in keys if key not in values), "")
        if absent:
            raise FailedPrecondition(f"secret {namespace}/{name} has no key {absent!r}")
        return values


def _context(values: Mapping[str, str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    with _in_memory(f"{values[CERTIFICATE]}\n{values[KEY]}".encode()) as path:
        context.load_cert_chain(path, password="")  # of a locked key: nobody is here to be asked
    return context


@contextmanager
def _in_memory(data: bytes) -> Generator[str]:
    """A file that is on no disk: the library reads nothing else."""
    file = os.memfd_create("certificate")
    try:
        os.write(file, data)
        yield f"/proc/self/fd/{file}"
    finally:
        os.close(file)
