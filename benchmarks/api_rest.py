"""GET of a service over REST against a bare starlette app on uvicorn, both in one run.

Rune's side authenticates, counts, authorizes, validates, reads the store, meters and writes JSON; the bare
app gives back the same bytes. 16 connections, one process each side, in turns.
Run: python benchmarks/api_rest.py
"""

from __future__ import annotations

import asyncio
import sys
import time

from doors import world
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rune.api import wirejson
from rune.api.common import OK
from rune.api.orchestrator.services import ServiceResponse
from rune.server.drain import Streams
from rune.server.http import HttpDoor, HttpOptions
from rune.server.metrics import Metrics
from rune.server.pages import Surroundings, app
from rune.server.rest import Rest

CONNECTIONS = 16
SECONDS = 0.8
ROUNDS = 8
PATH = "/v1/namespaces/default/services/api"
ASK = (
    f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\nUser-Agent: bench\r\n"
    f"Authorization: Bearer {world.TOKEN}\r\n\r\n"
).encode()
ANSWER = wirejson.encode(ServiceResponse(service=world.SHOWN, status=OK))


async def bare() -> HttpDoor:
    async def page(_: Request) -> Response:
        return Response(ANSWER, media_type="application/json")

    return HttpDoor(Starlette(routes=[Route(PATH, page)]), Streams(), HttpOptions(port=0))


async def rune() -> HttpDoor:
    rest = Rest(await world.dispatcher(), world.CLOCK)
    around = Surroundings(trouble=str, metrics=Metrics())
    return HttpDoor(app(rest, around), rest.streams, HttpOptions(port=0))


class Client(asyncio.Protocol):
    """One connection that asks again as soon as it is answered."""

    def __init__(self) -> None:
        self.done = 0
        self._seen = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # pyright: ignore[reportAttributeAccessIssue] - uvloop's has no base
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._seen += data
        head, found, rest = self._seen.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(rest) >= length:
            assert head.startswith(b"HTTP/1.1 200"), self._seen
            self.done, self._seen = self.done + 1, b""
            self._ask()

    def _ask(self) -> None:
        assert self._transport is not None
        self._transport.write(ASK)


async def calls(port: int) -> tuple[float, float]:
    """How many calls were answered, and in what time."""
    loop = asyncio.get_running_loop()
    clients = [Client() for _ in range(CONNECTIONS)]
    opened = [await loop.create_connection(lambda each=each: each, "127.0.0.1", port) for each in clients]
    began = time.perf_counter()
    await asyncio.sleep(SECONDS)
    done, took = sum(each.done for each in clients), time.perf_counter() - began
    for transport, _ in opened:
        transport.close()
    return done, took


def main() -> None:
    print(f"GET of a service, answers of {len(ANSWER)} bytes, {CONNECTIONS} connections; the bar is 0.35")
    world.compare(__file__, calls, ROUNDS)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        world.serve(rune if sys.argv[2] == "rune" else bare)
    else:
        main()
