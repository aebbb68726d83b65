"""One thread that waits for file descriptors, children and timers, and never polls."""

from __future__ import annotations

import heapq
import select
import signal
import socket
import time
from collections.abc import Callable
from itertools import count

Handler = Callable[[int], None]

PACE = 0.005
"""Seconds between two rounds of reading output. A chatty workload then costs 200 wakes a second, not one
a line, while starts and ends are seen at once."""

ROUND = 0.02
"""Seconds a round of reading may take before starts, ends and requests get their turn."""


class Loop:
    """Calls a handler when its descriptor is ready, when a child ended or when its time has come."""

    def __init__(self, on_child: Callable[[], None]) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._on_child = on_child
        self._ours, theirs = socket.socketpair()
        self._ours.setblocking(False)
        theirs.setblocking(False)
        self._theirs = theirs
        signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _noticed)
        self.add(self._ours.fileno(), select.EPOLLIN, self._child)
        self.paced = Paced(self)

    def add(self, fd: int, mask: int, handler: Handler) -> None:
        """From now on call `handler` with what is ready."""
        self._handlers[fd] = handler
        self._epoll.register(fd, mask)

    def change(self, fd: int, mask: int) -> None:
        """Wait for something else on a descriptor."""
        self._epoll.modify(fd, mask)

    def drop(self, fd: int) -> None:
        """Forget a descriptor; do it before it is closed. Twice is fine."""
        if self._handlers.pop(fd, None):
            self._epoll.unregister(fd)

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call it once, after so many seconds; it must find out by itself whether it is still wanted."""
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._numbers), call))

    def run(self) -> None:
        """Never returns."""
        while True:
            for fd, mask in self._epoll.poll(self._timeout()):
                handler = self._handlers.get(fd)
                if handler:
                    handler(mask)
            now = time.monotonic()
            while self._timers and self._timers[0][0] <= now:
                heapq.heappop(self._timers)[2]()

    def _timeout(self) -> float:
        return max(self._timers[0][0] - time.monotonic(), 0) if self._timers else -1

    def _child(self, _: int) -> None:
        while True:
            try:
                self._ours.recv(4096)
            except BlockingIOError:
                break
        self._on_child()


class Paced:
    """Descriptors that are read in rounds: the first word at once, then as many as come in a while."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        loop.add(self._epoll.fileno(), select.EPOLLIN, self._round)

    def add(self, fd: int, handler: Handler) -> None:
        """Call `handler` in the next round in which there is something to read, or nobody left to write."""
        self._handlers[fd] = handler
        self._epoll.register(fd, select.EPOLLIN)

    def drop(self, fd: int) -> None:
        """Forget a descriptor; do it before it is closed. Twice is fine."""
        if self._handlers.pop(fd, None):
            self._epoll.unregister(fd)

    def _round(self, _: int) -> None:
        end = time.monotonic() + ROUND
        for fd, mask in self._epoll.poll(0):
            handler = self._handlers.get(fd)
            if handler:
                handler(mask)
            if time.monotonic() > end:
                break
        self._loop.drop(self._epoll.fileno())
        self._loop.later(PACE, self._again)

    def _again(self) -> None:
        self._loop.add(self._epoll.fileno(), select.EPOLLIN, self._round)


def _noticed(*_: object) -> None:
    """The wakeup descriptor has the news; without a handler Python would not write to it."""
