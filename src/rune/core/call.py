"""A call on its way through the dispatcher: who asks, from where, for what."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rune.api import Operation
from rune.core.access import NOBODY, Principal


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """What an edge knows of who calls; the credentials are as they came, unchecked."""

    edge: str
    """grpc, http or local."""
    request_id: str
    address: str = ""
    """The peer's address without the port."""
    is_local: bool = False
    """It comes from this machine."""
    bearer: str = field(default="", repr=False)
    api_key: str = field(default="", repr=False)
    certificate: str = ""
    """The subject of a client certificate that was verified."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a handler may know of the call besides its request."""

    operation: Operation[Any, Any]
    caller: Caller
    principal: Principal = NOBODY
    namespace: str = ""
    """The namespace it is about, `*` for all; empty for an operation that has none."""

    def sees(self, namespace: str, resource: str = "") -> bool:
        """The caller may do this operation's verb there; for filters over `*`."""
        return self.principal.may(resource or self.operation.resource, self.operation.verb, namespace)
