"""What `expose` and `discovery` must say, which port they mean, and whose place on this machine it is."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final, NamedTuple

from rune.api.orchestrator.services import Service
from rune.api.orchestrator.specs import ServiceExpose, ServicePort
from rune.core.store.base import Store
from rune.errors import FailedPrecondition, Violation

LOOPBACK: Final = "127.0.0.1"
LARGEST_PORT: Final = 65_535
LEAST, ROUND, NONE = "least-connections", "round-robin", "none"
MODES: Final = (LEAST, ROUND, NONE)

Network = IPv4Network | IPv6Network


class Place(NamedTuple):
    """An address and a port of this machine."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def meets(self, other: Place) -> bool:
        """Not both can be listened on."""
        if self.port != other.port:
            return False
        return self.host == other.host or _is_any(self.host) or _is_any(other.host)


def violations(spec: Service) -> Iterator[Violation]:
    """Everything that is wrong with `expose` and `discovery`."""
    if spec.discovery and spec.discovery.mode and spec.discovery.mode not in MODES:
        yield Violation("discovery.mode", f"must be one of {', '.join(MODES)}")
    expose = spec.expose
    if expose is None:
        return
    port = port_of(spec, expose)
    if not expose.port:
        yield Violation("expose.port", "is required: the name or number of a declared port")
    elif port is None:
        yield Violation("expose.port", f"{expose.port!r} is no declared port, by name or by number")
    elif port.protocol not in ("", "tcp"):
        yield Violation("expose.port", f"{expose.port!r} is a {port.protocol} port: only tcp can be exposed")
    if expose.host_port > LARGEST_PORT:
        yield Violation("expose.host_port", f"must be from 1 to {LARGEST_PORT}")
    if expose.host and not _is_address(expose.host):
        yield Violation(
            "expose.host",
            f"{expose.host[:100]!r} is no address of this machine, such as 127.0.0.1 or 0.0.0.0:"
            " routing by host name is not part of this release",
        )
    yield from _certificate_violations(expose)
    for number, text in enumerate(expose.allow_cidrs):
        try:
            ip_network(text)
        except ValueError as error:
            yield Violation(f"expose.allow_cidrs[{number}]", f"is not a network such as 10.0.0.0/8: {error}")


def _certificate_violations(expose: ServiceExpose) -> Iterator[Violation]:
    if expose.tls and not expose.tls.secret:
        yield Violation("expose.tls.secret", "is required: a secret with the keys tls.crt and tls.key")
    if expose.client_cert and not expose.client_cert.ca_secret:
        yield Violation("expose.client_cert.ca_secret", "is required: a secret with the key ca.crt")
    if expose.client_cert and not expose.tls:
        yield Violation("expose.client_cert", "takes expose.tls: without it no certificate is shown")


def port_of(spec: Service, expose: ServiceExpose) -> ServicePort | None:
    """The declared port that is exposed; a name is tried first."""
    for port in spec.ports:
        if port.name and port.name == expose.port:
            return port
    return next((port for port in spec.ports if str(port.port) == expose.port), None)


def place_of(spec: Service) -> Place | None:
    """Where the service is exposed; None when it is not."""
    if spec.expose is None:
        return None
    port = port_of(spec, spec.expose)
    if port is None:
        return None
    return Place(spec.expose.host or LOOPBACK, spec.expose.host_port or port.port)


def networks(expose: ServiceExpose) -> tuple[Network, ...]:
    """Who may connect; empty for everybody."""
    return tuple(ip_network(text) for text in expose.allow_cidrs)


def refuse_taken(store: Store, spec: Service) -> None:
    """Raises FailedPrecondition when another service is exposed at the same place, and names it."""
    wanted = place_of(spec)
    if wanted is None:
        return
    for other in store.list(Service):
        if (other.namespace, other.name) == (spec.namespace, spec.name):
            continue
        there = place_of(other)
        if there and wanted.meets(there):
            raise FailedPrecondition(
                f"service.expose.host_port: {wanted} is taken: service {other.namespace}/{other.name}"
                f" is exposed at {there}; choose another port or host"
            )


def _is_any(host: str) -> bool:
    return ip_address(host).is_unspecified


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
