"""The HTTP app: the operations, and beside them health, metrics and the API's own description."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from rune.errors import Unavailable
from rune.server import manual
from rune.server.asgi import Asgi, Receive, Scope, Send
from rune.server.drain import Streams
from rune.server.metrics import Metrics
from rune.server.rest import Rest

POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
TEXT = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """What people see; its routes go before the operations."""

    routes: Sequence[BaseRoute] = ()
    lifespan: Any = None
    """As Starlette takes it: runs for as long as the door is open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the app shows besides operations."""

    trouble: Callable[[], str]
    """Why the server is not healthy; empty while it is."""
    metrics: Metrics
    doors: Mapping[str, Asgi] = field(default_factory=dict[str, Asgi])
    """Whole apps at one path each, such as MCP; what they stream ends when the server does."""
    front: Front = Front()


def app(rest: Rest, around: Surroundings) -> Asgi:
    """Everything that runed serves over HTTP. No other origin may read it: there are no CORS headers."""
    guarded = rest.origins.guard(_pages(rest, around))

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        """Operations go straight to their door, which spares them a fifth of their time."""
        inside = scope["type"] != "lifespan" and scope["path"].startswith("/v1/")
        await (rest if inside else guarded)(scope, receive, send)

    return front


def without_dashboard(why: str) -> Front:
    """A page at `/` that says how to get the dashboard, and where the API is."""
    text = f"This is Rune. It has no dashboard here; {why}\nThe API is described at /docs.\n"

    async def page(_: Request) -> Response:
        return PlainTextResponse(text, headers={"content-security-policy": POLICY})

    return Front(routes=(Route("/", page),))


def _pages(rest: Rest, around: Surroundings) -> Starlette:

    async def healthz(_: Request) -> Response:
        trouble = around.trouble()
        return JSONResponse({"status": trouble or "ok"}, 503 if trouble else 200)

    async def metrics(_: Request) -> Response:
        return Response(around.metrics.page(), media_type=TEXT)

    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/metrics", metrics),
            Route("/openapi.json", _page(manual.as_json, "application/json")),
            Route("/openapi.yaml", _page(manual.as_yaml, "application/yaml")),
            Route("/docs", _page(manual.as_html, "text/html")),
            *(Route(path, _Held(door, rest.streams)) for path, door in around.doors.items()),
            *around.front.routes,
            Mount("/", rest),
        ],
        lifespan=around.front.lifespan,
    )


class _Held:
    """An app whose answers may go on for ever, held so that they end with the server. Not a function:
    Starlette would take that for an endpoint of its own kind.
    """

    def __init__(self, door: Asgi, streams: Streams) -> None:
        self._door, self._streams = door, streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(Unavailable):
            async with self._streams.running():
                await self._door(scope, receive, send)


def _page(content: Callable[[], bytes], kind: str) -> Callable[[Request], Any]:
    async def page(_: Request) -> Response:
        return Response(content(), media_type=kind, headers={"content-security-policy": POLICY})

    return page
