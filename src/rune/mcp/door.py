"""The door /mcp of runed: MCP over Streamable HTTP, whose requests take the road of all others.

The SDK is loaded with the first request that has a good credential: a server without assistants does
without it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs

from rune.api.orchestrator import auth
from rune.api.orchestrator.auth import WhoAmIRequest
from rune.client.client import Client
from rune.client.local import LocalTransport
from rune.core.access import Principal
from rune.core.call import Caller
from rune.core.clock import Clock
from rune.core.dispatch import Dispatcher, Identity
from rune.core.permissions import may
from rune.errors import InvalidArgument, RuneError, Unavailable, Unimplemented, Violation
from rune.mcp.offers import POSSIBLE, Offer, chosen
from rune.server.asgi import Asgi, Receive, Scope, Send
from rune.server.callers import RequestIds
from rune.server.exchange import Exchange

if TYPE_CHECKING:
    from mcp.server.context import ServerRequestContext

    from rune.mcp.server import Host

logger = logging.getLogger(__name__)

PATH = "/mcp"
OPEN_SECONDS = 30.0
MOST_SESSIONS = 1_000
IDLE_SECONDS = 1_800.0
WHO = "rune.caller"
PRINCIPAL = "rune.principal"
OFFER = "rune.offer"
SAME = frozenset({"", "1", "true", "yes"})


class McpDoor:
    """An ASGI app; `run` must be running for it to answer."""

    def __init__(self, dispatcher: Dispatcher, identity: Identity, clock: Clock, *, version: str) -> None:
        self._dispatcher, self._identity, self._version = dispatcher, identity, version
        self._ids = RequestIds(clock)
        self._wanted, self._opened = asyncio.Event(), asyncio.Event()
        self._inner: Asgi | None = None
        self._is_missing = False

    async def run(self) -> None:
        """Serves from the first request on, until it is cancelled."""
        await self._wanted.wait()
        try:
            manager = await asyncio.to_thread(_manager, self._host, self._version)
        except ImportError as error:
            logger.warning("there is no MCP here: pip install 'runesec[mcp]'", extra={"missing": error.name})
            self._is_missing = True
            self._opened.set()
            return
        async with manager.run():
            self._inner = cast("Asgi", manager.handle_request)
            self._opened.set()
            try:
                await asyncio.Event().wait()
            finally:
                self._inner = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request: the credential is checked each time, and a session belongs to who opened
        it.
        """
        exchange = Exchange(scope, receive, send, request_id=self._ids.next())
        try:
            principal = await self._known(exchange.who)
            offer = _offer(scope)
            inner = await self._open()
        except RuneError as failure:
            await exchange.fail(failure)
            return
        scope[WHO], scope[OFFER], scope[PRINCIPAL] = exchange.who, offer, principal
        scope["user"] = _user(principal)
        await inner(scope, receive, send)

    async def _known(self, caller: Caller) -> Principal:
        """Who it is; whom nobody knows is refused by the dispatcher, which counts and audits that."""
        try:
            return self._identity.authenticate(caller)
        except RuneError:
            await self._dispatcher.call(auth.whoami, caller, WhoAmIRequest)
            raise

    async def _open(self) -> Asgi:
        """The SDK's app; raises Unavailable while there is none."""
        self._wanted.set()
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                await self._opened.wait()
        except TimeoutError as error:
            raise Unavailable("MCP is not ready yet; try again") from error
        if self._is_missing:
            raise Unimplemented("this server has no MCP: pip install 'runesec[mcp]' where runed runs")
        if self._inner is None:
            raise Unavailable("the server is shutting down; connect again")
        return self._inner

    def _host(self, ctx: ServerRequestContext[Any, Any]) -> Host:
        """Whoever sent this very request, not who opened the session."""
        from rune.mcp.server import Host  # noqa: PLC0415 - loads the SDK

        scope: MutableMapping[str, Any] = ctx.request.scope if ctx.request is not None else {}
        who: Caller = scope[WHO]
        client = Client(LocalTransport(self._dispatcher, lambda: who))
        return Host(client, scope[OFFER], self._allowed(scope[PRINCIPAL]))

    def _allowed(self, principal: Principal) -> frozenset[str]:
        return frozenset(
            row.name for row in POSSIBLE if row.name in self._dispatcher.handled and may(principal, row)
        )


def _manager(host: Callable[..., Host], version: str) -> Any:  # noqa: ANN401 - its type is of a module that is not loaded yet
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager  # noqa: PLC0415 - takes seconds

    from rune.mcp.server import serving  # noqa: PLC0415 - as above

    return StreamableHTTPSessionManager(
        serving(host, version=version), max_sessions=MOST_SESSIONS, session_idle_timeout=IDLE_SECONDS
    )


def _user(principal: Principal) -> Any:  # noqa: ANN401 - as above
    """In the SDK's words, which compares it with whoever opened the session."""
    from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser  # noqa: PLC0415 - as above
    from mcp.server.auth.provider import AccessToken  # noqa: PLC0415 - as above

    name = f"{principal.organization}/{principal.kind}/{principal.id}"
    return AuthenticatedUser(AccessToken(token="", client_id=name, scopes=[], subject=principal.id))


def _offer(scope: Scope) -> Offer:
    """What the address asks for: `/mcp?read-only=true&toolsets=security`; raises InvalidArgument."""
    given = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    unknown = sorted(set(given) - {"read-only", "toolsets"})
    if unknown:
        raise InvalidArgument.of(
            [Violation(unknown[0][:100], "is unknown; there are read-only and toolsets")]
        )
    wish = given.get("read-only", ["false"])[-1].lower()
    return Offer(toolsets=chosen(given.get("toolsets", [""])[-1]), read_only=wish in SAME)
