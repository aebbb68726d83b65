"""Who listens where on this machine, as the kernel tells it in /proc/net."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Final, NamedTuple

TABLES: Final = {"tcp": "0A", "udp": "07"}
"""The state of a socket that waits for others: LISTEN, and for udp an open one without a peer."""
COLUMNS: Final = 4


class Listener(NamedTuple):
    """A socket that waits for others. An address of None is every address."""

    protocol: str
    host: str | None
    port: int


async def listeners(proc: Path = Path("/proc/net")) -> frozenset[Listener]:
    """Every listening socket of this network namespace; IPv6 ones that take IPv4 count as every address."""
    return await asyncio.to_thread(lambda: frozenset(_read(proc)))


def _read(proc: Path) -> Iterator[Listener]:
    for protocol, state in TABLES.items():
        for name in (protocol, f"{protocol}6"):
            try:
                text = (proc / name).read_text(encoding="ascii")
            except FileNotFoundError:  # a kernel without IPv6
                continue
            yield from _parsed(text, protocol, state)


def _parsed(text: str, protocol: str, state: str) -> Iterator[Listener]:
    for line in text.splitlines()[1:]:
        columns = line.split(maxsplit=COLUMNS)
        if len(columns) < COLUMNS or columns[3] != state:
            continue
        place, _, port = columns[1].partition(":")
        address = _address(place)
        host = None if address.is_unspecified else str(address)
        yield Listener(protocol, host, int(port, 16))


def _address(text: str) -> IPv4Address | IPv6Address:
    """The kernel writes 32-bit words in its own order of bytes."""
    words = [int(text[at : at + 8], 16) for at in range(0, len(text), 8)]
    packed = b"".join(socket.htonl(socket.ntohl(word)).to_bytes(4, "little") for word in words)
    address = ip_address(packed)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
