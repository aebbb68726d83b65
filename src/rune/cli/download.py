"""A runeset from an https address, bounded in size and time.

The address that somebody typed may be anywhere, also inside of a company. What a server sends us on to may
not: only https, and never from a public address to a private one.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Callable
from urllib.parse import urljoin, urlsplit

import httpx

from rune.errors import DeadlineExceeded, FailedPrecondition, InvalidArgument, NotFound, Unavailable
from rune.manifest.runesets.archive import MOST_ARCHIVE

MOST_HOPS = 5
SECONDS = 60.0
_REDIRECTS = (301, 302, 303, 307, 308)
_MISSING = (404, 410)


class Refused(FailedPrecondition):
    """A download leads where it may not."""


def download(
    address: str,
    *,
    client: httpx.Client | None = None,
    clock: Callable[[], float] = time.monotonic,
    is_private: Callable[[str], bool] | None = None,
) -> tuple[bytes, str]:
    """The bytes, and the address without what may be secret in it."""
    is_inside = is_private or _is_private
    deadline = clock() + SECONDS
    _allowed(address, first=True)
    name, began_inside = shown(address), is_inside(_host(address))
    with client or httpx.Client(timeout=10.0, follow_redirects=False) as http:
        for _ in range(MOST_HOPS + 1):
            found = _fetch(http, address, lambda: clock() > deadline)
            if isinstance(found, bytes):
                return found, name
            address = urljoin(address, found)
            _allowed(address, first=False)
            if not began_inside and is_inside(_host(address)):
                raise Refused(f"{name} leads to {shown(address)}, which is inside of a network: refused")
    raise Refused(f"{name} leads on more than {MOST_HOPS} times")


def shown(address: str) -> str:
    """The address without user, password and query."""
    parts = urlsplit(address)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


def _allowed(address: str, *, first: bool) -> None:
    try:
        parts = urlsplit(address)
        host, _port = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidArgument("the address of the runeset is no URL") from error
    if parts.scheme == "https" and host:
        return
    if parts.scheme == "http" and host and first and _is_loopback(host):
        return
    what = "runesets are downloaded from https:// addresses" if first else "it leads to what is not https"
    raise Refused(f"{shown(address)}: {what}")


def _fetch(http: httpx.Client, address: str, is_late: Callable[[], bool]) -> bytes | str:
    """The bytes, or where they are instead."""
    try:
        with http.stream("GET", address, headers={"Accept-Encoding": "identity"}) as answer:
            if answer.status_code in _REDIRECTS and "location" in answer.headers:
                return answer.headers["location"]
            _succeeded(answer.status_code, address)
            return _body(answer, address, is_late)
    except httpx.TimeoutException as error:
        raise DeadlineExceeded(f"{shown(address)} did not answer in time") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unavailable(f"{shown(address)} cannot be downloaded: {type(error).__name__}") from error


def _succeeded(status: int, address: str) -> None:
    if status in _MISSING:
        raise NotFound(f"there is nothing at {shown(address)}")
    if status != 200:  # noqa: PLR2004 - what HTTP calls OK
        raise Unavailable(f"{shown(address)} answers with status {status}")


def _body(answer: httpx.Response, address: str, is_late: Callable[[], bool]) -> bytes:
    parts: list[bytes] = []
    size = 0
    for part in answer.iter_raw(64 << 10):
        size += len(part)
        if size > MOST_ARCHIVE:
            raise Refused(f"{shown(address)} is larger than {MOST_ARCHIVE >> 20} MiB")
        if is_late():
            raise DeadlineExceeded(f"{shown(address)} takes longer than {SECONDS:g} s")
        parts.append(part)
    return b"".join(parts)


def _host(address: str) -> str:
    return urlsplit(address).hostname or ""


def _is_private(host: str) -> bool:
    """Some address of the host is not on the public internet."""
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError as error:
        raise Unavailable(f"the host {host} cannot be found") from error
    return any(not ipaddress.ip_address(address.partition("%")[0]).is_global for address in found)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
