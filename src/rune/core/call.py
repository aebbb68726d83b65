"""A call on its way through the dispatcher: who asks, from where, for what."""

from __future__ import annotations

import ipaddress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from msgspec import Struct, field

from rune.api import Operation
from rune.api.fields import Message
from rune.core.access import NOBODY, Principal


class Certificate(Struct, frozen=True, kw_only=True, gc=False):
    """A client's certificate, which the transport has verified."""

    subject: str
    """The name of the subject that it speaks for, in case there is one."""
    fingerprint: str
    """SHA-256, in hexadecimal digits."""
    expires_at: datetime


class Caller(Struct, frozen=True, kw_only=True, gc=False):
    """What an edge knows of who calls; the credentials are as they came, unchecked."""

    edge: str
    """grpc, http or local."""
    request_id: str
    address: str = ""
    """The peer's address without the port."""
    is_local: bool = False
    """It comes from this machine."""
    bearer: str = ""
    api_key: str = ""
    organization: str = ""
    """The organization to act in, where it is not the credential's own."""
    certificate: Certificate | None = None
    """It counts where neither token nor key is shown."""
    told: dict[str, str] = field(default_factory=dict[str, str])
    """What the road says beside the answer, as the headers that HTTP gives it."""

    def __repr__(self) -> str:
        return f"Caller(edge={self.edge!r}, address={self.address!r}, request_id={self.request_id!r})"


class Call(Struct, frozen=True, kw_only=True):
    """What a handler may know of the call besides its request."""

    operation: Operation[Any, Any]
    caller: Caller
    principal: Principal = NOBODY
    namespace: str = ""
    """The namespace it is about, `*` for all; empty for an operation that has none."""

    @property
    def counted(self) -> Principal:
        """Whom limits count it for: a stranger by where they come from, so that none starves the others."""
        principal = self.principal
        return principal if principal.id else replace(principal, id=source(self.caller.address))

    def sees(self, namespace: str, resource: str = "") -> bool:
        """The caller may do this operation's verb there; for filters over `*`."""
        return self.principal.may(resource or self.operation.resource, self.operation.verb, namespace)


@dataclass(slots=True)
class Deed:
    """A call that changes something, as long as its handler is at work."""

    call: Call
    ask: Message
    is_told: bool = False
    """The audit log has it, together with the change itself."""

    def take_back(self) -> None:
        """The change did not happen."""
        self.is_told = False


DEED: ContextVar[Deed | None] = ContextVar("deed", default=None)
"""What the handler that runs here is about to do; read where its commit is made."""


def source(address: str) -> str:
    """Whom an address stands for: a network of 64 bits in IPv6, where one host has as many as it likes."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))
