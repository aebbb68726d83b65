"""Doors: a place of this machine that is listened on, and whose connections go to the copies of a pool."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import ssl
from collections.abc import Callable, Coroutine
from contextlib import suppress
from ipaddress import ip_address
from typing import Any, Final

from rune.errors import Unavailable
from rune.orchestrator.traffic.exposure import Network, Place
from rune.orchestrator.traffic.pool import SHUNNED, Endpoint, Load, Pool
from rune.orchestrator.traffic.relay import RESET, Bounds, Counts, Relay

logger = logging.getLogger(__name__)

BACKLOG: Final = 1024
AT_ONCE: Final = 64
"""Connections that are taken in one turn of the loop; the others wait for the next."""
FIRST_PAUSE: Final = 0.01
LONGEST_PAUSE: Final = 0.25
REST: Final = 0.5
"""Seconds without accepting when the process has no descriptors left."""

Spawn = Callable[[Coroutine[Any, Any, None]], object]


class Door:
    """One listening socket. `spawn` runs what it starts; `close` leaves connections that are open alone."""

    def __init__(self, place: Place, pool: Pool, counts: Counts, *, spawn: Spawn, bounds: Bounds) -> None:
        self.place = place
        self.pool = pool
        self.allowed: tuple[Network, ...] = ()
        """Who may connect; empty for everybody."""
        self.tls: ssl.SSLContext | None = None
        """What new connections are encrypted with."""
        self._counts, self._spawn, self._bounds = counts, spawn, bounds
        self._relays: set[Relay] = set()
        self._listener: socket.socket | None = None
        self._resting: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        """Somebody listens there."""
        return self._listener is not None

    def open(self) -> None:
        """Begin to listen; raises Unavailable with the reason when the place cannot be had."""
        family = socket.AF_INET6 if ":" in self.place.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.setblocking(False)  # noqa: FBT003 - its only form
            listener.bind(tuple(self.place))
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            raise Unavailable(f"cannot listen on {self.place}: {os.strerror(error.errno or 0)}") from error
        self._listener = listener
        self.place = self.place._replace(port=listener.getsockname()[1])
        asyncio.get_running_loop().add_reader(listener.fileno(), self._accept, listener)

    def close(self) -> None:
        """Listen no more. Connections that are open go on."""
        if self._resting:
            self._resting.cancel()
            self._resting = None
        if self._listener:
            asyncio.get_running_loop().remove_reader(self._listener.fileno())
            self._listener.close()
            self._listener = None

    def cut(self) -> None:
        """Cut off every connection."""
        for relay in list(self._relays):
            relay.abort()

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(AT_ONCE):
            try:
                client, address = listener.accept()
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                return
            except OSError as error:
                self._rest(listener, error)
                return
            self._welcome(client, str(address[0]))

    def _rest(self, listener: socket.socket, error: OSError) -> None:
        """No descriptors: connections wait in the kernel for a while."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener.fileno())
        self._resting = loop.call_later(REST, self._wake)
        reason = errno.errorcode.get(error.errno or 0, str(error))
        logger.warning("cannot accept connections", extra={"place": str(self.place), "reason": reason})

    def _wake(self) -> None:
        self._resting = None
        if self._listener:
            asyncio.get_running_loop().add_reader(self._listener.fileno(), self._accept, self._listener)

    def _welcome(self, client: socket.socket, address: str) -> None:
        if not self._may(address):
            self._counts.denied += 1
            reset(client)
        elif self._counts.active + self._counts.waiting >= self._bounds.most:
            self._counts.refused += 1
            reset(client)
        else:
            client.setblocking(False)  # noqa: FBT003 - its only form
            self._counts.waiting += 1
            self._spawn(self._serve(client))

    def _may(self, address: str) -> bool:
        if not self.allowed:
            return True
        found = ip_address(address.partition("%")[0])
        return any(found in network for network in self.allowed if network.version == found.version)

    async def _serve(self, client: socket.socket) -> None:
        """From the accepted connection to the joined one."""
        try:
            load, copy = await dial(self.pool, self._bounds, self._counts)
        except (Unavailable, asyncio.CancelledError) as error:
            self._counts.waiting -= 1
            self._counts.failed += 1
            reset(client)
            if isinstance(error, asyncio.CancelledError):
                raise
            return
        relay = Relay(self._counts, self._bounds, lambda relay: self._over(relay, load))
        self._counts.waiting -= 1
        self._relays.add(relay)
        self._counts.passed += 1
        self._counts.active += 1
        try:
            await relay.join(client, copy, tls=self.tls)
        except OSError:  # the client has left meanwhile, or its handshake failed
            self._over(relay, load)

    def _over(self, relay: Relay, load: Load) -> None:
        """Once for each relay, however it ended."""
        if relay in self._relays:
            self._relays.remove(relay)
            self._counts.active -= 1
            load.release()


async def dial(pool: Pool, bounds: Bounds, counts: Counts) -> tuple[Load, socket.socket]:
    """A connection to one of the copies, which counts in its load; raises Unavailable when none takes it.

    A copy that refuses is left for the next one; when all have, or none is ready, it waits and asks again.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + bounds.wait
    tried: set[Endpoint] = set()
    pause = FIRST_PAUSE
    while (left := end - loop.time()) > 0:
        chosen = pool.choose(tried, loop.time())
        if chosen is None:
            await pool.changed(min(pause, left))
            pause = min(pause * 2, LONGEST_PAUSE)
            tried.clear()
            continue
        endpoint, load = chosen
        load.active += 1
        try:
            sock = await _connected(endpoint, min(bounds.connect, left))
        except (OSError, TimeoutError):
            load.release()
            load.shunned_until = loop.time() + SHUNNED
            counts.retried += 1
            tried.add(endpoint)
        except BaseException:
            load.release()
            raise
        else:
            load.passed += 1
            return load, sock
    raise Unavailable("no copy took the connection")


async def _connected(endpoint: Endpoint, seconds: float) -> socket.socket:
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)  # noqa: FBT003 - its only form
        async with asyncio.timeout(seconds):
            await asyncio.get_running_loop().sock_connect(sock, (endpoint.host, endpoint.port))
    except BaseException:
        sock.close()
        raise
    return sock


def reset(client: socket.socket) -> None:
    """Close it so that the client sees a reset."""
    with suppress(OSError):  # it is gone already
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    client.close()
