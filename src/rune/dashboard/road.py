"""From a browser to the one road: who is logged in, and a client with exactly that credential."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qs, parse_qsl

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from rune.api.orchestrator import auth
from rune.client.client import Client
from rune.client.local import Dispatch, LocalTransport
from rune.core.clock import Clock
from rune.dashboard.ask import Ask
from rune.dashboard.notices import Notices
from rune.dashboard.sessions import LONGEST, Session, Sessions, Tokens
from rune.dashboard.shared import Shared
from rune.errors import InvalidArgument, PermissionDenied, Unauthenticated
from rune.server.callers import caller
from rune.server.drain import Streams
from rune.server.origins import Origins

AHEAD = 60.0
"""Seconds before its end in which an access token is traded for the next."""
MOST_COOKIE = 200
MOST_FORM = 1 << 20
MOST_FIELDS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Road:
    """What the dashboard stands on."""

    dispatch: Dispatch
    clock: Clock
    origins: Origins
    streams: Streams
    notices: Notices
    sessions: Sessions
    shared: Shared
    provider: str = ""
    """What the OpenID provider is called, if there is one."""

    def client(self, browser: HTTPConnection, token: str) -> Client:
        """Calls as whoever the token stands for, from where the browser is."""

        def who() -> object:
            given = {**dict(browser.headers), "authorization": f"Bearer {token}" if token else ""}
            peer = browser.client.host if browser.client else "unix"
            return caller("dashboard", self.clock.new_id(), address=peer, headers=given)

        return Client(LocalTransport(self.dispatch, who))

    async def session(self, browser: HTTPConnection) -> Session:
        """Of the browser's cookie; raises Unauthenticated where there is none that lasts."""
        cookie = browser.cookies.get(cookie_name(browser), "")
        if session := self.sessions.find(cookie):
            return session
        if not cookie or len(cookie) > MOST_COOKIE:
            raise Unauthenticated("log in first")
        async with self.sessions.turn:
            return self.sessions.find(cookie) or await self._back(browser, cookie)

    async def _back(self, browser: HTTPConnection, cookie: str) -> Session:
        """The session of a cookie that this process has not seen: it began before a restart, if at all."""
        ask = auth.RefreshRequest(refresh_token=cookie)
        given = await self.client(browser, "").call(auth.refresh, ask)
        who = await self.client(browser, given.access_token).call(auth.whoami, auth.WhoAmIRequest())
        tokens = Tokens(given.access_token, given.refresh_token, given.expires_at)
        session = self.sessions.find(self.sessions.begin(tokens, who.subject_name))
        if session is None:
            raise Unauthenticated("log in first")
        return session

    async def client_of(self, browser: HTTPConnection, session: Session) -> Client:
        """Calls as whoever is logged in; the session's tokens are traded in time, by one page at a time."""
        if self._is_short(session):
            async with session.turn:
                if self._is_short(session):
                    ask = auth.RefreshRequest(refresh_token=session.tokens.refresh)
                    given = await self.client(browser, "").call(auth.refresh, ask)
                    session.tokens = Tokens(given.access_token, given.refresh_token, given.expires_at)
        return self.client(browser, session.tokens.access)

    def _is_short(self, session: Session) -> bool:
        return self.clock.now().timestamp() > session.tokens.expires_at - AHEAD

    async def ask(self, browser: HTTPConnection, session: Session, path: str) -> Ask:
        """A question about a path; raises Unauthenticated once the session is over."""
        client = await self.client_of(browser, session)
        known = await client.call(auth.list_permissions, auth.ListMyPermissionsRequest())
        return Ask(
            client=client,
            name=session.name,
            rights=f"{known.rights} {browser.headers.get('x-rune-organization', '')}",
            operations=frozenset(known.operations),
            path=path,
            values={},
            query=dict(parse_qsl(path.partition("?")[2], max_num_fields=MOST_FIELDS)),
            now=self.clock.now(),
        )

    def check(self, browser: HTTPConnection) -> None:
        """Raise PermissionDenied unless a page of ours asks: browsers name the page's origin themselves."""
        headers = dict(browser.headers)
        if "origin" not in headers:
            raise PermissionDenied("a browser must say which page asks (Origin)")
        self.origins.check(headers)


async def fields(request: Request) -> dict[str, list[str]]:
    """The form in a request's body; raises InvalidArgument for one that is too large."""
    data = b""
    async for piece in request.stream():
        data += piece
        if len(data) > MOST_FORM:
            raise InvalidArgument(f"the form is larger than {MOST_FORM} bytes")
    try:
        return parse_qs(data.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError as error:
        raise InvalidArgument("the form is not readable") from error


def is_secure(browser: HTTPConnection) -> bool:
    """It came over TLS."""
    return browser.url.scheme in ("https", "wss")


def cookie_name(browser: HTTPConnection) -> str:
    """Over TLS the browser itself sees to it that no other host can have set the cookie."""
    return "__Host-rune_session" if is_secure(browser) else "rune_session"


def remember(answer: Response, browser: HTTPConnection, cookie: str) -> None:
    """Give the browser a session's cookie: no script reads it, no other site's page sends it."""
    name = cookie_name(browser)
    secure = "; Secure" if name.startswith("__Host-") else ""
    said = f"{name}={cookie}; HttpOnly; Max-Age={int(LONGEST)}; Path=/; SameSite=Strict{secure}"
    answer.headers.append("set-cookie", said)


def forget(answer: Response, browser: HTTPConnection) -> None:
    """Take it back."""
    name = cookie_name(browser)
    secure = "; Secure" if name.startswith("__Host-") else ""
    answer.headers.append("set-cookie", f"{name}=; HttpOnly; Max-Age=0; Path=/; SameSite=Strict{secure}")
