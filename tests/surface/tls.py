"""Both doors behind certificates of an authority of the test's own, over a real plane."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from planes import Plane, plane
from rune.client.client import Client
from rune.client.grpc import GrpcTransport
from rune.client.http import HttpTransport
from rune.client.trust import Trust, read
from rune.core.authority import Authority
from rune.core.clock import ManualClock
from rune.server.grpc import GrpcDoor, GrpcOptions
from rune.server.http import HttpDoor, HttpOptions
from rune.server.metrics import Metrics
from rune.server.pages import Surroundings, app
from rune.server.rest import Rest
from rune.server.tls import Certificates, TlsFiles

NOW = datetime.now(UTC)
"""The real one: the libraries that check certificates have no other clock."""
DAYS = 90


@dataclass(kw_only=True)
class Secured:
    """The doors, the plane behind them, and the authority in a folder."""

    plane: Plane
    clock: ManualClock
    folder: Path
    authority: Authority
    certificates: Certificates
    grpc_port: int
    http_port: int
    metrics: Metrics = field(default_factory=Metrics)

    def trust(self, client: str = "") -> Trust:
        """What a client needs, and what it shows."""
        name = f"client-{client}"
        return read(
            authority=str(self.folder / "ca.pem"),
            certificate=str(self.authority.path(name)) if client else "",
            key=str(self.authority.path(name, key=True)) if client else "",
        )

    def over_grpc(self, token: str = "", *, client: str = "") -> Client:
        """A client of gRPC."""
        target = f"localhost:{self.grpc_port}"
        return Client(GrpcTransport(target, token=token, trust=self.trust(client)))

    def over_http(self, token: str = "", *, client: str = "") -> Client:
        """A client of REST."""
        base = f"https://localhost:{self.http_port}"
        return Client(HttpTransport(base, token=token, trust=self.trust(client)))

    def raw(self, context: ssl.SSLContext | None = None) -> httpx.AsyncClient:
        """A client that shows nothing, and trusts the authority."""
        verify = context or self.trust().context()
        return httpx.AsyncClient(base_url=f"https://localhost:{self.http_port}", verify=verify)


def authority_in(folder: Path, *, now: datetime = NOW) -> Authority:
    """An authority with a certificate for this machine and one for the user ann."""
    authority = Authority(folder, now)
    authority.init("Test authority")
    authority.issue_server(("localhost", "127.0.0.1"), days=DAYS)
    authority.issue_client("ann", days=DAYS)
    return authority


def files_in(folder: Path, *, mutual: bool) -> TlsFiles:
    """The server's files among them."""
    return TlsFiles(
        certificate=folder / "server.pem",
        key=folder / "server-key.pem",
        client_authority=folder / "ca.pem" if mutual else None,
    )


@asynccontextmanager
async def secured(folder: Path, *, mutual: bool = False) -> AsyncGenerator[Secured]:
    """Open doors until the block ends."""
    authority, clock, metrics = authority_in(folder), ManualClock(NOW), Metrics()
    certificates = Certificates(files_in(folder, mutual=mutual), clock)
    certificates.measure(metrics)
    async with plane(clock) as behind, behind.following():
        grpc = GrpcDoor(
            behind.dispatcher,
            clock,
            GrpcOptions(
                address="127.0.0.1:0", credentials=certificates.for_grpc(), is_mutual=certificates.is_mutual
            ),
        )
        rest = Rest(behind.dispatcher, clock)
        around = Surroundings(trouble=str, metrics=metrics)
        http = HttpDoor(app(rest, around), rest.streams, HttpOptions(port=0, tls=certificates.for_http()))
        try:
            yield Secured(
                plane=behind,
                clock=clock,
                folder=folder,
                authority=authority,
                certificates=certificates,
                grpc_port=await grpc.open(),
                http_port=await http.open(),
                metrics=metrics,
            )
        finally:
            await grpc.close(0)
            await http.close(0)


def later(seconds: float) -> datetime:
    """A moment after now."""
    return NOW + timedelta(seconds=seconds)
