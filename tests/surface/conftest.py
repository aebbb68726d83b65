"""Both doors, open on free ports, over one dispatcher with stand-ins."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest

from rune.core.clock import SystemClock
from rune.server.grpc import GrpcDoor, GrpcOptions
from rune.server.http import HttpDoor, HttpOptions
from rune.server.metrics import Metrics
from rune.server.pages import Surroundings, app
from rune.server.rest import Rest
from surface.standins import TOKEN, Journal, Plenty, Shelf, dispatcher, nothing_else


@dataclass(kw_only=True)
class Doors:
    """What a test may turn, and where to knock."""

    shelf: Shelf
    limits: Plenty
    journal: Journal
    metrics: Metrics
    grpc: GrpcDoor
    http: HttpDoor
    grpc_port: int
    http_port: int
    trouble: list[str]

    def client(self, token: str = TOKEN) -> httpx.AsyncClient:
        """A client of REST."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.http_port}", headers=headers)


@pytest.fixture
async def doors() -> AsyncIterator[Doors]:
    limits, journal, metrics, clock, trouble = Plenty(), Journal(), Metrics(), SystemClock(), list[str]()
    road = dispatcher(limits=limits, audit=journal, meter=metrics, clock=clock)
    shelf = Shelf(road)
    nothing_else(road)
    grpc = GrpcDoor(road, clock, GrpcOptions(address="127.0.0.1:0", reflection=True))
    rest = Rest(road, clock)
    metrics.gauge("open_streams", "Streams over HTTP that are open.", lambda: float(len(rest.streams)))
    around = Surroundings(trouble=lambda: "".join(trouble), metrics=metrics)
    http = HttpDoor(app(rest, around), rest.streams, HttpOptions(port=0))
    yield Doors(
        shelf=shelf,
        limits=limits,
        journal=journal,
        metrics=metrics,
        grpc=grpc,
        http=http,
        grpc_port=await grpc.open(),
        http_port=await http.open(),
        trouble=trouble,
    )
    await grpc.close(0)
    await http.close(0)
