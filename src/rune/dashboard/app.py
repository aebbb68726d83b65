"""The dashboard as routes: pages, rows and actions for browsers that are logged in, and connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import quote

from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Match, Route, WebSocketRoute, request_response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from rune.client.local import Dispatch
from rune.dashboard import tail, terminal
from rune.dashboard.ask import Done, Screen
from rune.dashboard.book import MENU, Book, whole
from rune.dashboard.elsewhere import Elsewhere
from rune.dashboard.gate import Gate
from rune.dashboard.live import OVER, Live
from rune.dashboard.notices import Changes, Notices
from rune.dashboard.parts import chunk
from rune.dashboard.road import Road, fields
from rune.dashboard.sessions import Session, Sessions
from rune.dashboard.shared import Shared
from rune.dashboard.shell import HEADERS, files, frame, inside, tag
from rune.errors import NotFound, RuneError, Unauthenticated
from rune.server.pages import Front
from rune.server.rest import Rest

REFUSED = 4403
FOREVER = "public, max-age=86400"


class Dashboard:
    """Everything that a browser sees of Rune."""

    def __init__(self, road: Road, book: Book | None = None) -> None:
        self.road, self._book = road, book or whole()

    @classmethod
    def over(cls, dispatch: Dispatch, changes: Changes, rest: Rest, *, provider: str = "") -> Front:
        """The dashboard of a server; `provider` is what its OpenID provider is called, if it has one."""
        road = Road(
            dispatch=dispatch,
            clock=rest.clock,
            origins=rest.origins,
            streams=rest.streams,
            notices=Notices(changes),
            sessions=Sessions(rest.clock),
            shared=Shared(rest.clock),
            provider=provider,
        )
        found = cls(road)
        return Front(routes=found.routes(), lifespan=found.lifespan)

    @asynccontextmanager
    async def lifespan(self, _app: object) -> AsyncGenerator[None]:
        """Passes changes on while the door is open."""
        async with asyncio.TaskGroup() as group:
            passing = group.create_task(self.road.notices.run())
            yield
            passing.cancel()

    def routes(self) -> Sequence[BaseRoute]:
        """What goes before the operations of REST, whose paths begin with /v1."""
        gate = Gate(self.road)
        return [
            *gate.routes(),
            *Elsewhere(self.road, gate).routes(),
            Route("/ui/static/{name}", self.static, methods=["GET"]),
            WebSocketRoute("/ui/live", self.live),
            WebSocketRoute("/ui/logs/{namespace}/{target}", self.logs),
            WebSocketRoute("/ui/exec/{namespace}/{target}", self.exec),
            Route("/ui/do/{path:path}", self.act, methods=["POST"]),
            _Pages(self._book, self.page),
        ]

    async def page(self, request: Request) -> Response:
        """A page: whole, its content alone for a browser that has the frame, or further rows of its table."""
        path = _path(request)
        part = request.headers.get("x-rune-part", "")
        try:
            session = await self.road.session(request)
            ask = await self.road.ask(request, session, path)
            if part == "rows":
                return Response(str(chunk(await self._book.rows(ask))), 200, HEADERS, "text/html")
            screen = await self._book.draw(ask)
        except Unauthenticated:
            return _log_in(is_script=bool(part), to=path)
        except RuneError as failure:
            return JSONResponse({"error": failure.message}, failure.codes.http, HEADERS)
        if part == "page":
            return _told(screen)
        theme = request.cookies.get("rune_theme", "")
        return Response(frame(ask, screen, MENU, theme=theme), 200, HEADERS, "text/html")

    async def act(self, request: Request) -> Response:
        """A form; what comes of it is told in words."""
        try:
            self.road.check(request)
            session = await self.road.session(request)
            path = _path(request).removeprefix("/ui/do")
            ask = await self.road.ask(request, session, path)
            done = await self._book.act(replace(ask, form=await fields(request)))
        except Unauthenticated:
            return _log_in(is_script=True)
        except RuneError as failure:
            return JSONResponse({"error": failure.message}, failure.codes.http, HEADERS)
        return JSONResponse(_outcome(done), headers=HEADERS)

    async def static(self, request: Request) -> Response:
        """A file of ours; a browser that has it is told so."""
        found = files().get(request.path_params["name"])
        if found is None:
            return JSONResponse({"error": NotFound().message}, 404, HEADERS)
        data, kind, mark = found
        headers = {**HEADERS, "cache-control": "no-cache", "etag": f'"{mark}"'}
        if request.headers.get("if-none-match") == f'"{mark}"':
            return Response(status_code=304, headers=headers)
        return Response(data, 200, headers, kind)

    async def live(self, socket: WebSocket) -> None:
        """An open page."""
        if session := await self._accepted(socket):
            await Live(self.road, self._book, socket, session=session).serve()

    async def logs(self, socket: WebSocket) -> None:
        """The lines of a service or an instance, as they come."""
        if session := await self._accepted(socket):
            await tail.serve(self.road, socket, session)

    async def exec(self, socket: WebSocket) -> None:
        """A command with a terminal."""
        if session := await self._accepted(socket):
            await terminal.serve(self.road, socket, session)

    async def _accepted(self, socket: WebSocket) -> Session | None:
        """The session behind a page of ours; anybody else's connection is closed."""
        try:
            self.road.check(socket)
            session = await self.road.session(socket)
            await self.road.client_of(socket, session)
        except RuneError as failure:
            await socket.accept()
            await socket.close(OVER if isinstance(failure, Unauthenticated) else REFUSED)
            return None
        await socket.accept()
        return session


class _Pages(BaseRoute):
    """Takes what the book has a page for, by the path as it was sent: an encoded slash stays one."""

    def __init__(self, book: Book, show: Callable[[Request], Awaitable[Response]]) -> None:
        self._book, self._app = book, request_response(show)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        is_page = (
            scope["type"] == "http"
            and scope["method"] == "GET"
            and self._book.knows(_path(HTTPConnection(scope)))
        )
        return (Match.FULL if is_page else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def _path(browser: HTTPConnection) -> str:
    """With its query, as it was sent."""
    raw = browser.scope.get("raw_path")
    path = raw.decode("latin-1") if raw else quote(browser.url.path)
    return f"{path}?{browser.url.query}" if browser.url.query else path


def _told(screen: Screen) -> Response:
    content = inside(screen)
    return JSONResponse({"title": screen.title, "main": content, "tag": tag(content)}, headers=HEADERS)


def _outcome(done: Done) -> dict[str, str]:
    shown = {"shown": str(done.shown)} if done.shown else {}
    return {"said": done.said, "to": done.to, **shown}


def _log_in(*, is_script: bool, to: str = "/") -> Response:
    """The way in, and from there to the page that was asked for."""
    if is_script:
        return JSONResponse({"error": "log in first", "to": "/login"}, 401, HEADERS)
    return RedirectResponse("/login" if to == "/" else f"/login?to={quote(to, safe='')}", 303, HEADERS)
