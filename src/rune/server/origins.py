"""Whom a browser may speak for: no page of another origin, and no name that was made to point here.

Programs are not concerned: they send no Origin, and call the server by its name or address.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from rune.errors import PermissionDenied
from rune.server.callers import is_loopback, names_loopback

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
        if self._is_loopback and host and not names_loopback(host) and _name(host) not in self._allowed:
            raise PermissionDenied(
                f"this server is not called {host[:100]!r}: name it in server.allowed-hosts if it is"
            )

    def _is_own(self, origin: str, host: str) -> bool:
        try:
            place = urlsplit(origin).netloc
        except ValueError:
            return False
        return bool(place) and (place == host or _name(place) in self._allowed)


def _name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""
