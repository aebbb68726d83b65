"""Who calls, as far as a connection and its headers say; nothing here is checked against a store."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from functools import lru_cache
from itertools import count
from urllib.parse import unquote, urlsplit

from rune.core.call import Caller, Certificate
from rune.core.clock import Clock

BEARER = "bearer "
FORWARDED = frozenset({"forwarded", "x-forwarded-for", "x-real-ip"})
"""What proxies add. A call that came through one does not count as local, whoever is behind it."""


class RequestIds:
    """Ids of requests: a word for this start of the server, and a number. A UUID for each would cost more."""

    def __init__(self, clock: Clock) -> None:
        self._word = clock.new_id()[:13]
        self._numbers = count(1)

    def next(self) -> str:
        """One that was not given out before."""
        return f"{self._word}-{next(self._numbers):x}"


def caller(
    edge: str,
    request_id: str,
    *,
    address: str,
    headers: Mapping[str, str],
    certificate: Certificate | None = None,
) -> Caller:
    """The caller behind a peer's address and its headers; header names are in lower case."""
    authorization = headers.get("authorization", "")
    bearer = authorization[len(BEARER) :].strip() if authorization[: len(BEARER)].lower() == BEARER else ""
    return Caller(
        edge=edge,
        request_id=request_id,
        address=address,
        is_local=is_loopback(address) and is_direct(headers),
        bearer=bearer,
        api_key=headers.get("x-rune-key", ""),
        organization=headers.get("x-rune-organization", ""),
        certificate=certificate,
    )


@lru_cache(1024)
def peer_address(peer: str) -> str:
    """The address in gRPC's words for a peer: `ipv4:127.0.0.1:5000`, `ipv6:%5B::1%5D:5000`, `unix:…`."""
    family, _, rest = unquote(peer).partition(":")
    if family not in ("ipv4", "ipv6"):
        return family
    return rest.rpartition(":")[0].strip("[]")


@lru_cache(1024)
def is_loopback(address: str) -> bool:
    """The peer is on this machine; a Unix socket always is."""
    if address == "unix":
        return True
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_loopback


def is_direct(headers: Mapping[str, str]) -> bool:
    """No proxy stands between, and no web page of somebody else's made a browser send it.

    A page can reach a loopback port by a name that resolves to it, so the name must be this machine's.
    """
    if not FORWARDED.isdisjoint(headers):
        return False
    host, origin = headers.get("host", ""), headers.get("origin", "")
    if host and not names_loopback(host):
        return False
    return not origin or place_of(origin) == host


def place_of(origin: str) -> str:
    """Host and port of an Origin header; empty for one that names none, or is no URL."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


@lru_cache(1024)
def names_loopback(host: str) -> bool:
    """A Host header that calls this machine by itself; a page elsewhere cannot have its name say that."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name == "localhost" or name.endswith(".localhost") or is_loopback(name)
