"""The gate: log-in with a password, a token or a one-time code, and log-out. Guesses are slowed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from rune.api.orchestrator import auth, sessions
from rune.core.call import source
from rune.core.guesses import Guesses
from rune.core.limits import Quota
from rune.dashboard.html import Node, el
from rune.dashboard.road import Road, fields, forget, remember
from rune.dashboard.sessions import CODE_SECONDS, Tokens
from rune.dashboard.shell import HEADERS, document, mark
from rune.errors import ResourceExhausted, RuneError, Unauthenticated

GUESSES = Quota(count=10, seconds=60, burst=20)
HINT = (
    ("The first token of a server comes from ", "rune admin bootstrap"),
    (", others from ", "rune admin token create"),
    (", passwords from ", "rune admin user set-password"),
)
BEARER = "bearer "
LONGEST_WAY = 2000


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
        return self.page(request)

    async def enter(self, request: Request) -> Response:
        """A session for a token that is good, or a user's password."""
        given: Mapping[str, Sequence[str]] = {}
        try:
            self._road.check(request)
            given = await fields(request)
            token, name = _first(given, "token").strip(), _first(given, "user").strip()
            onwards = RedirectResponse(_ours(_first(given, "to")), 303, headers=HEADERS)
            if token or not name:
                return await self._begin(request, token, onwards)
            ask = sessions.LogInRequest(name=name[:63], password=_first(given, "password"))
            begun = await self._road.client(request, "").call(sessions.log_in, ask)
            return await self.welcome(request, begun, onwards)
        except RuneError as failure:
            return self.page(request, failure, to=_first(given, "to") if given else "")

    def page(self, request: Request, failure: RuneError | None = None, *, to: str = "") -> Response:
        """The form, with what went wrong, and the page that a log-in leads to."""
        wrong = failure.message if failure else ""
        to = _ours(to or request.query_params.get("to", ""))
        return _page(request, (_elsewhere(self._road.provider), _form(wrong, to)), failure)

    async def show_code(self, request: Request) -> Response:
        """The form that the script fills from the address, whose fragment no server ever sees."""
        return _page(request, _code_form())

    async def redeem(self, request: Request) -> Response:
        """A session for a code that was not used yet."""
        try:
            self._road.check(request)
            given = await fields(request)
            token = self._road.sessions.redeem(_first(given, "code").strip())
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
            return self.page(request, failure)
        await self._end(request)
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

    async def _begin(self, request: Request, token: str, onwards: Response | None = None) -> Response:
        """A session that ends with the token; the road itself slows guesses down."""
        if not token:
            raise Unauthenticated("Type a user name and a password, or a token.")
        client = self._road.client(request, token)
        begun = await client.call(sessions.begin, sessions.BeginSessionRequest())
        return await self.welcome(request, begun, onwards)

    async def welcome(
        self, request: Request, begun: sessions.LogInResponse, answer: Response | None = None
    ) -> Response:
        """Give the browser the cookie of a session that has begun; one that it had before ends."""
        await self._end(request)
        tokens = Tokens(begun.access_token, begun.refresh_token, begun.expires_at)
        answer = answer or RedirectResponse("/", 303, headers=HEADERS)
        remember(answer, request, self._road.sessions.begin(tokens, begun.subject_name))
        return answer

    async def _end(self, request: Request) -> None:
        """End the browser's session here and in the server; one that is over already is fine."""
        with suppress(Unauthenticated, ResourceExhausted):
            session = await self._road.session(request)
            self._road.sessions.end(session)
            client = await self._road.client_of(request, session)
            await client.call(sessions.log_out, sessions.LogOutRequest())

    async def _known(self, request: Request, token: str) -> None:
        """Raises Unauthenticated for a token that is no good; the road itself slows guesses down."""
        if not token:
            raise Unauthenticated("Show a token.")
        await self._road.client(request, token).call(auth.whoami, auth.WhoAmIRequest())

    def _slow_down(self, request: Request) -> None:
        wait = self._guesses.take(source(request.client.host if request.client else "unix"))
        if wait:
            raise ResourceExhausted(
                f"Too many wrong codes: wait {msgspec.json.encode(round(wait)).decode()} seconds.",
                retry_after=wait,
            )


def _elsewhere(provider: str) -> Node:
    """The way to the OpenID provider. A link, as forms must not lead to other hosts."""
    if not provider:
        return None
    to = el("a", f"Log in with {provider}", href="/login/oidc", class_="button primary", data_plain=True)
    return (to, el("p", "or", class_="or"))


def _ours(to: str) -> str:
    """A page of this server; the first one for everything that may lead elsewhere.

    Browsers leave tabs and line ends out of an address, and take a backslash for a slash.
    """
    is_page = to.startswith("/") and not to.startswith(("//", "/\\")) and to.isprintable()
    return to if is_page and len(to) <= LONGEST_WAY else "/"


def _form(wrong: str, to: str) -> Node:
    return (
        el("input", type="hidden", name="to", value=to),
        el("p", wrong, class_="trouble", role="alert") if wrong else None,
        el("label", el("span", "User"),
           el("input", name="user", autocomplete="username", maxlength="63", autofocus=True,
              autocapitalize="none", spellcheck="false")),
        el("label", el("span", "Password"),
           el("input", name="password", type="password", autocomplete="current-password", maxlength="256")),
        el("p", "or", class_="or"),
        el("label", el("span", "Token"),
           el("input", name="token", type="password", autocomplete="off", maxlength="256")),
        el("button", "Log in", type="submit", class_="primary"),
        el("p", "Or run ", el("code", "rune ui"), " on your machine: it opens this page, logged in."),
        el("p", [(words, el("code", command)) for words, command in HINT], ".", class_="dim"),
    )  # fmt: skip


def _code_form(wrong: str = "") -> Node:
    return (
        el("p", wrong, class_="trouble", role="alert") if wrong else None,
        el("label", el("span", "Code"),
           el("input", name="code", required=True, autocomplete="off", maxlength="64", id="code")),
        el("button", "Log in", type="submit", class_="primary"),
    )  # fmt: skip


def _page(request: Request, content: Node, failure: RuneError | None = None) -> Response:
    heading = el("h1", mark(), "Rune", class_="brand")
    to = "/enter" if request.url.path == "/enter" else "/login"
    shown = el("main", el("form", heading, content, method="post", action=to, class_="login"), id="main")
    headers = dict(HEADERS)
    if isinstance(failure, ResourceExhausted):
        headers["retry-after"] = str(max(1, round(failure.retry_after)))
    text = document("Log in", shown, theme=request.cookies.get("rune_theme", ""))
    return Response(text, failure.codes.http if failure else 200, headers, "text/html")


def _first(given: Mapping[str, Sequence[str]], name: str) -> str:
    return next(iter(given.get(name, ())), "")
