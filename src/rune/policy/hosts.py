"""Reads the host out of anything that a program might take for a URL, and writes every host one way.

Programs disagree about odd URLs. Where two readings are possible the answer is `Host(doubt=…)`, and a
rule that lists what is allowed does not allow what it cannot read.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import NamedTuple
from urllib.parse import unquote

MAX_HOST = 253
MAX_LABEL = 63
MAX_BARE = 2048
MAX_URLS = 1000
"""An action with more URLs than this has one that nobody looked at."""

SPECIAL = frozenset({"http", "https", "ws", "wss", "ftp"})
"""Schemes that browsers read with any number of slashes, forward or backward."""

_URL = re.compile(
    r"(?<![a-z0-9+.-])([a-z][a-z0-9+.-]{0,30}):([/\\]{2,}|(?<=http:)[/\\]|(?<=https:)[/\\])", re.IGNORECASE
)
_LEADING = re.compile(r"[\x00-\x20]*(https?|wss?|ftp):[/\\]*(?=[^\s/\\])", re.IGNORECASE)
_PROTOCOL_RELATIVE = re.compile(r"[\x00-\x20]*[/\\]{2}(?=[^/\\\s*])")
_BARE = re.compile(r"[\x00-\x20]*(?=[^\s/\\.?#][^\s]*\s*\Z)")
_AUTHORITY = re.compile(r"[^/?#\s<>\"'`|{}^]*")
_PORT = re.compile(r"[0-9]{0,5}")
_BREAKS = re.compile(r"[\t\r\n]+")
_ODD = re.compile(r"[\x00-\x20\x7f/\\?#@:%<>^|\[\]]")
_DEVIATIONS = frozenset("ßẞς\u200c\u200d")
_QUOTED_ON = re.compile(r"[<>\"'`|{}^][A-Za-z0-9._%@:-]*[.@][A-Za-z0-9]")
_URL_NAME = re.compile(
    r"(?i:(?:^|_)(?:url|uri|href|endpoint|webhook)$)|[a-z0-9](?:Url|Uri|URL|URI|Endpoint)$"
)
_HOST_NAME = re.compile(r"(?i:(?:^|_)(?:host|hostname|domain)$)|[a-z0-9]Host$")


class Host(NamedTuple):
    """Where a URL leads: a normalised host name or address, and a port or 0 when none is written."""

    scheme: str
    host: str
    port: int = 0
    doubt: str = ""
    """Why no single host can be read; empty when one can."""


TOO_MANY = Host("", "", doubt="it is one of more than are read")


def hosts_in(text: str, *, name: str = "") -> list[Host]:
    """The hosts of all URLs in a text; `name` is the argument it is the value of.

    A value under a name such as `url` or `host` needs no scheme to count as a URL.
    """
    found = _hosts(text, name)
    joined = _joined(text)
    return found if joined is None else found + _hosts(joined, "")


def _joined(text: str) -> str | None:
    """The URL that a reader sees which drops line breaks and tabs, as browsers do; None if it is not one."""
    stripped = text.strip()
    if not _BREAKS.search(stripped) or " " in stripped or not _LEADING.match(stripped):
        return None
    lines = _BREAKS.split(stripped)
    return None if all(_LEADING.match(line) for line in lines) else "".join(lines)


def _hosts(text: str, name: str) -> list[Host]:
    urls = islice(_URL.finditer(text), MAX_URLS + 1) if ":" in text else ()
    spots = [(found[1].lower(), found.end()) for found in urls]
    if len(spots) > MAX_URLS:
        return [TOO_MANY]
    leading = _LEADING.match(text)
    if leading and (leading[1].lower(), leading.end()) not in spots:
        spots.append((leading[1].lower(), leading.end()))
    if not spots and (found := _PROTOCOL_RELATIVE.match(text) or _bare(text, name)):
        spots.append(("", found.end()))
    return [_host(scheme, text, start) for scheme, start in spots]


def _bare(text: str, name: str) -> re.Match[str] | None:
    """Where a host without a scheme starts, in an argument whose name says that it holds one."""
    found = _BARE.match(text) if name and len(text) <= MAX_BARE else None
    if found is None or _HOST_NAME.search(name):
        return found
    authority = re.split(r"[/?#]", text, maxsplit=1)[0]
    return found if _URL_NAME.search(name) and ("." in authority or ":" in authority) else None


def _host(scheme: str, text: str, start: int) -> Host:
    """The host of the authority that starts at an offset."""
    found = _AUTHORITY.match(text, start, start + 2048)
    authority = found.group() if found else ""
    if _QUOTED_ON.match(text, start + len(authority)):
        return Host(scheme, "", doubt="a quote or bracket in the host part")
    authority, _, rest = authority.partition("\\")
    if "@" in rest or "." in rest or (rest and scheme not in SPECIAL):
        return Host(scheme, "", doubt="a backslash in the host part")
    userinfo, _, place = authority.rpartition("@")
    if "%" in userinfo and _ODD.search(unquote(userinfo).replace(":", "")):
        return Host(scheme, "", doubt="an encoded separator before the @")
    if "@" in userinfo:
        return Host(scheme, "", doubt="more than one @")
    name, port = _split_port(place)
    if port is None:
        return Host(scheme, "", doubt="a port that is not a number")
    host, doubt = normalize(name)
    return Host(scheme, host, port, doubt)


def _split_port(place: str) -> tuple[str, int | None]:
    if place.startswith("["):
        name, closed, rest = place.partition("]")
        name += closed
        if rest and not rest.startswith(":"):
            return name, None
        port = rest[1:]
    else:
        name, _, port = place.partition(":")
    port = port.rstrip(".,;)")
    if not _PORT.fullmatch(port) or int(port or 0) > 65535:
        return name, None
    return name, int(port or 0)


def normalize(name: str) -> tuple[str, str]:
    """The one way to write a host, and why it cannot be written so; one of the two is empty."""
    name = name.rstrip(",;)!'\"")
    if "%" in name and not name.startswith("["):
        name = unquote(name)
    if name.startswith("["):
        return _ipv6(name)
    if not name.isascii():
        name, doubt = _ascii(name)
        if doubt:
            return "", doubt
    name = name.lower().rstrip(".")
    if not name:
        return "", "no host"
    if _ODD.search(name) or len(name) > MAX_HOST or any(not 0 < len(p) <= MAX_LABEL for p in name.split(".")):
        return "", "a host name that is not one"
    last = name.rpartition(".")[2]
    if last.isdigit() or last.startswith("0x"):
        return _ipv4(name)
    return name, ""


def _ascii(name: str) -> tuple[str, str]:
    if len(name) > MAX_HOST:
        return "", "a host name that is too long"
    if _DEVIATIONS.intersection(name):
        return "", "letters that programs write in different ways"
    name = "".join("." if c in "。．｡" else c for c in name)  # noqa: RUF001 - the full stops of East Asia
    try:
        return name.rstrip(".").encode("idna").decode("ascii"), ""
    except UnicodeError:
        return "", "a host name that is not one"


def _ipv4(name: str) -> tuple[str, str]:
    """An address in any of the ways that inet_aton reads: octal, hexadecimal, one to four parts."""
    parts = name.split(".")
    numbers: list[int] = []
    for part in parts:
        base = 16 if part.startswith("0x") else 8 if len(part) > 1 and part.startswith("0") else 10
        digits = part[2:] if base == 16 else part
        try:
            numbers.append(int(digits or "0", base) if "_" not in digits and len(digits) <= MAX_LABEL else -1)
        except ValueError:
            numbers.append(-1)
    # Programs that do not know octal read 010 as ten: two addresses for one text.
    octal = any(len(part) > 1 and part.startswith("0") and not part.startswith("0x") for part in parts)
    *front, last = numbers
    fits = len(parts) <= 4 and 0 <= last < 256 ** (5 - len(parts)) and all(0 <= n < 256 for n in front)
    if octal or not fits:
        return "", "an address that programs read in different ways"
    whole = last + sum(n << (8 * (3 - i)) for i, n in enumerate(front))
    return ".".join(str(whole >> shift & 255) for shift in (24, 16, 8, 0)), ""


def _ipv6(name: str) -> tuple[str, str]:
    import ipaddress  # noqa: PLC0415 - rare

    try:
        address = ipaddress.IPv6Address(name[1:-1].partition("%")[0])
    except ValueError:
        return "", "an address that is not one"
    return str(address.ipv4_mapped or address), ""


class Hosts:
    """The hosts that a policy allows: names, `*.` for all names below, addresses, networks, maybe a port."""

    def __init__(self, entries: list[str]) -> None:
        """Raises ValueError for an entry that is none of these."""
        self._exact: dict[str, set[int]] = {}
        self._below: dict[str, set[int]] = {}
        self._networks: list[str] = []
        for entry in entries:
            self._add(entry.strip())

    def _add(self, entry: str) -> None:
        if "://" in entry:
            raise ValueError("write the host alone, without scheme and path")
        if "/" in entry:
            import ipaddress  # noqa: PLC0415 - rare

            self._networks.append(str(ipaddress.ip_network(entry)))
            return
        below = entry.startswith("*.")
        name, port = _split_port(entry[2:] if below else entry)
        if entry == "*":
            self._below.setdefault("", set()).add(0)
            return
        host, doubt = normalize(name)
        if port is None or doubt or "*" in host:
            raise ValueError(
                doubt or "not a host; write example.com, *.example.com, 10.0.0.0/8 or example.com:8443"
            )
        (self._below if below else self._exact).setdefault(host, set()).add(port)

    def __contains__(self, place: Host) -> bool:
        if place.doubt or not place.host:
            return False
        ports = set(self._exact.get(place.host, ()))
        rest = place.host
        while rest:
            rest = rest.partition(".")[2]
            ports |= self._below.get(rest, set())
        port = place.port or {"https": 443, "wss": 443, "http": 80, "ws": 80}.get(place.scheme, 0)
        return 0 in ports or (port in ports and port > 0) or self._in_networks(place.host)

    def _in_networks(self, host: str) -> bool:
        if not self._networks:
            return False
        import ipaddress  # noqa: PLC0415 - rare

        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(address in ipaddress.ip_network(network) for network in self._networks)
