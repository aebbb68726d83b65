"""Doors: where runed is reached, over gRPC and HTTP, with the dashboard in front where there is one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rune.api import Rate
from rune.core.authority import AUTHORITY, Authority, Pass
from rune.core.clock import Clock
from rune.core.limits import Limits, Quota
from rune.core.notices import notices
from rune.core.reload import Reload
from rune.core.runefile import Settings
from rune.daemon.assembly import Parts
from rune.mcp import door as mcp
from rune.orchestrator.introduction import Endpoint, Listening, endpoint_of
from rune.security import plane as security_plane
from rune.server.callers import names_loopback
from rune.server.grpc import GrpcDoor, GrpcOptions
from rune.server.http import HttpDoor, HttpOptions
from rune.server.origins import Origins
from rune.server.pages import Front, Surroundings, app, without_dashboard
from rune.server.rest import Rest
from rune.server.tls import Certificates, TlsFiles

logger = logging.getLogger(__name__)

BROWSING = {Rate.READ: 12_000, Rate.WRITE: 600}
"""Calls a minute that all browsers of an organization may make, beside the quotas of programs."""
DRAIN = 10.0
"""Seconds that calls under way have to end when runed is told to."""


@dataclass(frozen=True, slots=True)
class Doors:
    """Where the doors are, as `host:port`."""

    grpc: str
    http: str


@asynccontextmanager
async def open_(
    parts: Parts,
    chosen: Settings,
    *,
    stop: asyncio.Event,
    certificates: Certificates | None,
    reflection: bool,
) -> AsyncGenerator[Doors]:
    """Both doors, until the block ends; then calls under way get their time."""
    at = chosen.server
    origins = Origins(at.http_addr.host, at.allowed_hosts)
    rest = Rest(parts.dispatcher, parts.clock, origins, shortcuts=security_plane.SHORTCUTS)
    surroundings = Surroundings(
        trouble=lambda: "the server is stopping" if stop.is_set() else parts.vitals.trouble,
        metrics=parts.metrics,
        doors={mcp.PATH: parts.mcp},
        front=_dashboard(parts, chosen, rest),
    )
    secured = certificates.for_http() if certificates else None
    http = HttpDoor(
        app(rest, surroundings),
        rest.streams,
        HttpOptions(host=at.http_addr.host, port=at.http_addr.port, tls=secured),
    )
    options = GrpcOptions(
        address=str(at.grpc_addr),
        credentials=certificates.for_grpc() if certificates else None,
        is_mutual=certificates is not None and certificates.is_mutual,
        reflection=reflection,
    )
    if certificates:
        certificates.measure(parts.metrics)
    elif not all(names_loopback(each.host) for each in (at.grpc_addr, at.http_addr)):
        logger.warning("tokens travel unencrypted to this server: set auth.tls (rune admin certs init)")
    grpc = GrpcDoor(parts.dispatcher, parts.clock, options)
    try:
        grpc_port, http_port = await grpc.open(), await http.open()
        parts.door.opens(_endpoint(chosen, http_port, certificates, clock=parts.clock))
        parts.vitals.on_change(lambda well: grpc.serving(ready=well))
        yield Doors(
            grpc=str(at.grpc_addr._replace(port=grpc_port)), http=str(at.http_addr._replace(port=http_port))
        )
    finally:
        async with asyncio.TaskGroup() as closing:
            closing.create_task(grpc.close(DRAIN))
            closing.create_task(http.close(DRAIN))


def certificates_of(chosen: Settings, clock: Clock, reload: Reload) -> Certificates | None:
    """What the doors show, where TLS is on."""
    tls = chosen.auth.tls
    if not tls.enabled:
        return None
    authority = Path(tls.client_ca_file) if tls.client_ca_file else None
    files = TlsFiles(
        certificate=Path(tls.cert_file),
        key=Path(tls.key_file),
        client_authority=authority,
        pass_authority=_passes(chosen, clock).path(AUTHORITY) if authority else None,
    )
    certificates = Certificates(files, clock)
    reload.add("certificates", certificates.reload)
    return certificates


def _passes(chosen: Settings, clock: Clock) -> Authority:
    """The authority of what agents show at a door that asks for certificates; made where there is none."""
    found = Authority(chosen.server.data_dir / "passes", clock.now())
    found.init("Rune passes of agents")
    return found


def _endpoint(chosen: Settings, port: int, certificates: Certificates | None, *, clock: Clock) -> Endpoint:
    """Where agents reach the HTTP door; the authority of `rune admin certs` lies beside its certificates."""

    def issue() -> Pass:
        return _passes(chosen, clock).pass_for("an agent of this server")

    listening = Listening(
        host=chosen.server.http_addr.host,
        port=port,
        names=certificates.names if certificates else None,
        issue=issue if certificates and certificates.is_mutual else None,
    )
    beside = Path(chosen.auth.tls.cert_file).absolute().parent / "ca.pem"
    found = str(beside) if certificates and beside.is_file() else ""
    return endpoint_of(listening, url=chosen.agents.endpoint, ca_file=chosen.agents.ca_file or found)


def _dashboard(parts: Parts, chosen: Settings, rest: Rest) -> Front:
    """The dashboard at `/`, or a page that says how to get it."""
    if not chosen.server.dashboard:
        return without_dashboard("it is switched off: set server.dashboard in the Runefile to true")
    try:
        from rune.dashboard.app import Dashboard  # noqa: PLC0415 - needs the extra of that name
    except ModuleNotFoundError as missing:
        if missing.name != "markupsafe":
            raise
        return without_dashboard("install it with: pip install 'runesec[dashboard]'")
    limits = Limits(parts.clock, {rate: Quota(count=count) for rate, count in BROWSING.items()})
    provider = chosen.auth.oidc.title if chosen.auth.oidc.issuer else ""
    changes = partial(notices, parts.store)
    return Dashboard.over(parts.dispatcher.limited(limits), changes, rest, provider=provider)
