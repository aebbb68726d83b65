"""Elsewhere: log-in at an OpenID provider, which sends the browser back with a code."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from rune.api.orchestrator import sessions
from rune.core.settings import DONE
from rune.dashboard.gate import Gate
from rune.dashboard.html import el
from rune.dashboard.road import Road, is_secure
from rune.dashboard.shell import HEADERS, document
from rune.errors import RuneError, Unauthenticated

COOKIE = "rune_oidc"
SECONDS = 600
PATH = "/login/oidc"


class Elsewhere:
    """Sends browsers to the provider, and takes them back."""

    def __init__(self, road: Road, gate: Gate) -> None:
        self._road, self._gate = road, gate

    def routes(self) -> list[BaseRoute]:
        """The way there and the way back."""
        return [Route(PATH, self.leave, methods=["GET"]), Route(DONE, self.back, methods=["GET"])]

    async def leave(self, request: Request) -> Response:
        """To the provider. What finishes the log-in stays in this browser, in a cookie for the way back."""
        uri = f"{request.url.scheme}://{request.url.netloc}{DONE}"
        try:
            client = self._road.client(request, "")
            begun = await client.call(sessions.begin_oidc, sessions.BeginOidcRequest(redirect_uri=uri))
        except RuneError as failure:
            return self._gate.page(request, failure)
        answer = RedirectResponse(begun.url, 303, headers=HEADERS)
        _keep(answer, request, ticket=begun.ticket, seconds=SECONDS)
        return answer

    async def back(self, request: Request) -> Response:
        """From the provider. A page of ours leads on: our cookie is not sent on the way from another site."""
        said = request.query_params
        try:
            if "code" not in said:
                raise Unauthenticated(
                    f"The provider let nobody in: {said.get('error', 'it said nothing')[:64]}"
                )
            ask = sessions.FinishOidcRequest(
                ticket=request.cookies.get(COOKIE, ""), state=said.get("state", ""), code=said["code"]
            )
            begun = await self._road.client(request, "").call(sessions.finish_oidc, ask)
            answer = await self._gate.welcome(request, begun, self._onwards())
        except RuneError as failure:
            answer = self._gate.page(request, failure)
        _keep(answer, request, ticket="", seconds=0)
        return answer

    def _onwards(self) -> Response:
        onwards = el("main", el("p", "You are logged in. ", el("a", "Go on", href="/")), id="main")
        again = el("meta", http_equiv="refresh", content="0; url=/")
        text = document("Logged in", again, onwards, script=False)
        return Response(text, 200, HEADERS, "text/html")


def _keep(answer: Response, request: Request, *, ticket: str, seconds: int) -> None:
    """Lax, since it is needed when the provider sends the browser back; for that path alone."""
    secure = "; Secure" if is_secure(request) else ""
    said = f"{COOKIE}={ticket}; HttpOnly; Max-Age={seconds}; Path={PATH}; SameSite=Lax{secure}"
    answer.headers.append("set-cookie", said)
