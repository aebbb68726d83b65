"""Relays: two sockets joined, bytes passed on as they come, each side at the pace of the other.

Nothing is kept but what the kernel did not take at once: a side whose peer does not read is not read either.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, cast

RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER of a socket whose close is a reset, so that nobody takes it for the end of an answer."""
HANDSHAKE: Final = 5.0
"""Seconds that a client has for the handshake of TLS."""
WINDOW: Final = 256 << 10
"""Bytes that wait in memory for a side to take them; past that its peer is not read."""


@dataclass(slots=True)
class Counts:
    """What went through, since the start."""

    passed: int = 0
    """Joined with a copy."""
    active: int = 0
    waiting: int = 0
    """Not joined with a copy yet."""
    denied: int = 0
    """Closed because of where they came from."""
    refused: int = 0
    """Closed because too many were open."""
    failed: int = 0
    """Closed because no copy took them in time."""
    retried: int = 0
    """Attempts that another one had to follow."""
    received: int = 0
    """Bytes from clients."""
    sent: int = 0
    """Bytes to clients."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Seconds and numbers that a door keeps to."""

    connect: float = 2.0
    """For one copy to take a connection."""
    wait: float = 5.0
    """For any copy to take it."""
    idle: float = 3600.0
    """Without a byte, until a connection is closed; it may be up to twice as long."""
    half: float = 300.0
    """The same once one side has ended its part."""
    most: int = 4096
    """Connections of all doors whose counts are the same."""


class Relay:
    """Both directions of one connection; `over` is called once, when both sockets are closed."""

    __slots__ = ("_bounds", "_open", "_over", "_timer", "client", "copy", "counts", "is_touched")

    def __init__(self, counts: Counts, bounds: Bounds, over: Callable[[Relay], None]) -> None:
        self.counts, self._bounds, self._over = counts, bounds, over
        self.client, self.copy = ClientSide(self), CopySide(self)
        self.client.peer, self.copy.peer = self.copy, self.client
        self.is_touched = False
        self._open = 0
        self._timer: asyncio.TimerHandle | None = None

    async def join(
        self, client: socket.socket, copy: socket.socket, *, tls: ssl.SSLContext | None = None
    ) -> None:
        """Take both sockets over and pass on from now on; raises OSError when one of them is gone.

        With `tls` the client's side is encrypted, once it has shaken hands.
        """
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._bounds.idle, self._check)
        try:
            await loop.connect_accepted_socket(lambda: self.copy, copy)
            await loop.connect_accepted_socket(
                lambda: self.client, client, ssl=tls, ssl_handshake_timeout=HANDSHAKE if tls else None
            )
        except BaseException:
            self._timer.cancel()
            for sock in (client, copy):
                sock.close()
            self.abort()
            raise

    def abort(self) -> None:
        """Cut it off; both ends see a reset."""
        for side in (self.client, self.copy):
            if side.transport and not side.is_lost:
                _reset(side.transport)

    def opened(self) -> None:
        """One of the sides is there."""
        self._open += 1

    def ended(self) -> None:
        """One side has said all: with the other it is over."""
        if self.client.is_ended and self.copy.is_ended:
            self._close()
        elif self._timer:
            self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_later(self._bounds.half, self._check)

    def lost(self, side: Side, error: Exception | None) -> None:
        """One socket is closed: the other goes too, after what still waits, or at once after a failure."""
        other = side.peer.transport
        if other and not other.is_closing():
            _reset(other) if error else other.close()
        self._open -= 1
        if not self._open:
            if self._timer:
                self._timer.cancel()
            self._over(self)

    def _close(self) -> None:
        for side in (self.client, self.copy):
            if side.transport:
                side.transport.close()

    def _check(self) -> None:
        """The timer is not set anew with every byte: it looks whether there was one."""
        if not self.is_touched:
            self.abort()
            return
        self.is_touched = False
        half = self.client.is_ended or self.copy.is_ended
        seconds = self._bounds.half if half else self._bounds.idle
        self._timer = asyncio.get_running_loop().call_later(seconds, self._check)


class Side(asyncio.Protocol):
    """One end of a relay."""

    __slots__ = ("early", "is_ended", "is_full", "is_lost", "peer", "relay", "transport")

    peer: Side

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.transport: asyncio.Transport | None = None
        self.early: list[bytes] = []
        """What came before the peer was there: one read at most."""
        self.is_ended = False
        self.is_full = False
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """What the peer has read by now is written first."""
        self.transport = transport = cast("asyncio.Transport", transport)
        transport.set_write_buffer_limits(high=WINDOW)
        self.relay.opened()
        for data in self.peer.early:
            transport.write(data)
        self.peer.early.clear()
        if self.peer.is_lost:
            transport.close()
            return
        if self.peer.is_ended:
            _end(transport)
        if not self.is_full:
            self.resume_writing()

    def _pass(self, data: bytes) -> None:
        self.relay.is_touched = True
        other = self.peer.transport
        if other is not None:
            other.write(data)
            return
        self.early.append(data)
        if self.transport:
            self.transport.pause_reading()

    def pause_writing(self) -> None:
        """It takes no more: its peer is not read."""
        self.is_full = True
        if self.peer.transport:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        """It takes again."""
        self.is_full = False
        if self.peer.transport and not self.peer.transport.is_closing():
            self.peer.transport.resume_reading()

    def eof_received(self) -> bool:
        """It will say no more; what the peer says still goes through, but for TLS, which has no half."""
        if not self.is_ended:
            self.is_ended = True
            other = self.peer.transport
            if other and not other.is_closing():
                _end(other)
            self.relay.ended()
        return self.transport is not None and self.transport.can_write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        """Its socket is closed."""
        self.is_lost = True
        self.relay.lost(self, exc)


class ClientSide(Side):
    """The end that came to the door."""

    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        """On to the copy."""
        self.relay.counts.received += len(data)
        self._pass(data)


class CopySide(Side):
    """The end at a copy."""

    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        """On to the client."""
        self.relay.counts.sent += len(data)
        self._pass(data)


def _end(transport: asyncio.Transport) -> None:
    """Say that nothing more comes; TLS can say so only by ending the connection."""
    if transport.can_write_eof():
        transport.write_eof()
    else:
        transport.close()


def _reset(transport: asyncio.Transport) -> None:
    with suppress(OSError, AttributeError):  # it is gone already; TLS has forgotten its socket then
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    transport.abort()
