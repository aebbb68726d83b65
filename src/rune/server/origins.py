"""Whom a browser may speak for: no page of another origin, and no name that was made to point here.

Programs are not concerned: they send no Origin, and call the server by its name or address.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from rune.errors import PermissionDenied
from rune.server.asgi import Asgi, Receive, Scope, Send
from rune.server.callers import is_loopback, names_loopback, place_of
from rune.server.failures import body

SAFE = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""What browsers are told with every answer."""
STRICT = (b"strict-transport-security", b"max-age=31536000")
"""And over TLS."""


class Origins:
    """The names that this server goes by."""

    def __init__(self, host: str = "", allowed: str = "") -> None:
        self._is_loopback = host == "localhost" or is_loopback(host)
        self._allowed = frozenset(name.strip().lower() for name in allowed.split(",") if name.strip())

    def check(self, headers: Mapping[str, str]) -> None:
        """Raise PermissionDenied for a foreign page, or a foreign name on a port of this machine alone."""
        host, origin = headers.get("host", ""), headers.get("origin")
        if origin is not None and not self._is_own(origin, host):
            raise PermissionDenied("pages of another origin may not call this server (server.allowed-hosts)")
        if not self.knows(headers):
            raise PermissionDenied(
                f"this server is not called {host[:100]!r}: name it in server.allowed-hosts if it is"
            )

    def knows(self, headers: Mapping[str, str]) -> bool:
        """It is called by a name of its own, as far as that matters."""
        host = headers.get("host", "")
        return not self._is_loopback or not host or names_loopback(host) or _name(host) in self._allowed

    def guard(self, pages: Asgi) -> Asgi:
        """The pages for those who pass `check`, with the headers that every answer has."""

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await pages(scope, receive, send)
                return
            try:
                self.check(
                    {name.decode("latin-1"): text.decode("latin-1") for name, text in scope["headers"]}
                )
            except PermissionDenied as failure:
                await _refused(failure, send)
                return
            await pages(scope, receive, _with_headers(scope, send))

        return guarded

    def _is_own(self, origin: str, host: str) -> bool:
        place = place_of(origin)
        return bool(place) and (place == host or _name(place) in self._allowed)


def _with_headers(scope: Scope, send: Send) -> Send:
    """Adds what browsers are told, where the page does not say it itself."""
    wanted = (*SAFE, STRICT) if scope.get("scheme") == "https" else SAFE

    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            there = {name for name, _ in message["headers"]}
            more = [pair for pair in wanted if pair[0] not in there]
            message = {**message, "headers": [*message["headers"], *more]}
        await send(message)

    return sending


async def _refused(failure: PermissionDenied, send: Send) -> None:
    text = body(failure, "")
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(text)).encode()), *SAFE]
    await send({"type": "http.response.start", "status": failure.codes.http, "headers": headers})
    await send({"type": "http.response.body", "body": text})


def _name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""
