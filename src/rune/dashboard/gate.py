"""The gate: log-in with a token or a one-time code, and log-out. Guesses are heard more and more slowly."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from rune.api.orchestrator import auth
from rune.core.auth import source
from rune.core.guesses import Guesses
from rune.core.limits import Quota
from rune.dashboard.html import Node, el
from rune.dashboard.road import Road, cookie_name, fields, forget, remember
from rune.dashboard.sessions import CODE_SECONDS
from rune.dashboard.shell import HEADERS, document
from rune.errors import ResourceExhausted, RuneError, Unauthenticated

GUESSES = Quota(count=10, seconds=60, burst=20)
HINT = "The first token of a server comes from `rune admin bootstrap`, others from `rune admin token create`."
BEARER = "bearer "


class Gate:
    """Begins and ends sessions."""

    def __init__(self, road: Road) -> None:
        self._road = road
        self._guesses = Guesses(GUESSES, road.clock)

    def routes(self) -> list[BaseRoute]:
        """Where to log in and out."""
        return [
            Route("/login", self.show, methods=["GET"]),
            Route("/login", self.enter, methods=["POST"]),
            Route("/enter", self.show_code, methods=["GET"]),
            Route("/enter", self.redeem, methods=["POST"]),
            Route("/logout", self.leave, methods=["POST"]),
            Route("/ui/codes", self.code, methods=["POST"]),
        ]

    async def show(self, request: Request) -> Response:
        """The form."""
        return _page(request, _token_form())

    async def enter(self, request: Request) -> Response:
        """A session for a token that is good."""
        try:
            self._road.check(request)
            given = await fields(request)
            return await self._begin(request, next(iter(given.get("token", ())), "").strip())
        except RuneError as failure:
            return _page(request, _token_form(failure.message), failure)

    async def show_code(self, request: Request) -> Response:
        """The form that the script fills from the address, whose fragment no server ever sees."""
        return _page(request, _code_form())

    async def redeem(self, request: Request) -> Response:
        """A session for a code that was not used yet."""
        try:
            self._road.check(request)
            given = await fields(request)
            token = self._road.sessions.redeem(next(iter(given.get("code", ())), "").strip())
            if token is None:
                self._slow_down(request)
                raise Unauthenticated("The code is used or too old: run `rune ui` again.")
            return await self._begin(request, token)
        except RuneError as failure:
            return _page(request, _code_form(failure.message), failure)

    async def leave(self, request: Request) -> Response:
        """The session is over, in every tab."""
        try:
            self._road.check(request)
        except RuneError as failure:
            return _page(request, _token_form(failure.message), failure)
        session = self._road.sessions.find(request.cookies.get(cookie_name(request), ""))
        if session is not None:
            self._road.sessions.end(session)
        answer = RedirectResponse("/login", 303, headers=HEADERS)
        forget(answer, request)
        return answer

    async def code(self, request: Request) -> Response:
        """A one-time code for whoever shows a good token, which no web page can."""
        text = request.headers.get("authorization", "")
        token = text[len(BEARER) :].strip() if text.lower().startswith(BEARER) else ""
        try:
            await self._known(request, token)
        except RuneError as failure:
            return JSONResponse({"error": failure.message}, failure.codes.http, headers=HEADERS)
        code = self._road.sessions.code(token)
        return JSONResponse({"code": code, "seconds": int(CODE_SECONDS)}, headers=HEADERS)

    async def _begin(self, request: Request, token: str) -> Response:
        name = await self._known(request, token)
        before = self._road.sessions.find(request.cookies.get(cookie_name(request), ""))
        if before is not None:
            self._road.sessions.end(before)
        answer = RedirectResponse("/", 303, headers=HEADERS)
        remember(answer, request, self._road.sessions.begin(token, name))
        return answer

    async def _known(self, request: Request, token: str) -> str:
        """Who the token stands for; the road itself slows guesses down."""
        if not token:
            raise Unauthenticated("Type a token.")
        client = self._road.client(request, token)
        return (await client.call(auth.whoami, auth.WhoAmIRequest())).subject_name

    def _slow_down(self, request: Request) -> None:
        wait = self._guesses.take(source(request.client.host if request.client else "unix"))
        if wait:
            raise ResourceExhausted(
                f"Too many wrong codes: wait {msgspec.json.encode(round(wait)).decode()} seconds.",
                retry_after=wait,
            )


def _token_form(wrong: str = "") -> Node:
    return (
        el("p", wrong, class_="trouble", role="alert") if wrong else None,
        el("label", el("span", "Token"),
           el("input", name="token", type="password", required=True, autofocus=True, autocomplete="off",
              maxlength="256")),
        el("button", "Log in", type="submit", class_="primary"),
        el("p", "Or run ", el("code", "rune ui"), " on your machine: it opens this page, logged in."),
        el("p", HINT, class_="dim"),
    )  # fmt: skip


def _code_form(wrong: str = "") -> Node:
    return (
        el("p", wrong, class_="trouble", role="alert") if wrong else None,
        el("label", el("span", "Code"),
           el("input", name="code", required=True, autocomplete="off", maxlength="64", id="code")),
        el("button", "Log in", type="submit", class_="primary"),
    )  # fmt: skip


def _page(request: Request, content: Node, failure: RuneError | None = None) -> Response:
    heading = el("h1", "Rune")
    to = "/enter" if request.url.path == "/enter" else "/login"
    shown = el("main", el("form", heading, content, method="post", action=to, class_="login"), id="main")
    headers = dict(HEADERS)
    if isinstance(failure, ResourceExhausted):
        headers["retry-after"] = str(max(1, round(failure.retry_after)))
    text = document("Log in", shown, theme=request.cookies.get("rune_theme", ""))
    return Response(text, failure.codes.http if failure else 200, headers, "text/html")
