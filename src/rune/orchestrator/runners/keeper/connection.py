"""One connection from runed: a JSON object a line each way, with descriptors beside it when it needs any."""

from __future__ import annotations

import json
import os
import select
import socket
import struct
from collections.abc import Callable

from .loop import Loop
from .records import Message, note

LARGEST = 8 << 20
"""Bytes of one message, and of what waits for a peer that does not read; past that it is cut off."""

DESCRIPTORS = 3


class Connection:
    """Reads messages and hands them over one at a time; sends without ever waiting."""

    def __init__(self, loop: Loop, sock: socket.socket) -> None:
        self._loop = loop
        self._sock = sock
        self._inbox = bytearray()
        self._outbox = bytearray()
        self.descriptors: list[int] = []
        """Those that came and were not taken yet."""
        self.on_message: Callable[[Message], None] = lambda _: None
        self.on_close: Callable[[], None] = lambda: None
        self.pid = peer(sock)[0]
        sock.setblocking(False)
        loop.add(sock.fileno(), select.EPOLLIN, self._ready)

    def send(self, message: Message) -> None:
        """Send now or when the peer reads."""
        if self._sock.fileno() < 0:
            return
        self._outbox += json.dumps(message).encode() + b"\n"
        self._flush()

    def take_descriptors(self) -> list[int]:
        """Those that came with the message; the caller must close them."""
        taken, self.descriptors = self.descriptors, []
        return taken

    def close(self) -> None:
        """Hang up. Twice is fine."""
        if self._sock.fileno() < 0:
            return
        self._loop.drop(self._sock.fileno())
        self._sock.close()
        for fd in self.take_descriptors():
            os.close(fd)
        self.on_close()

    def _ready(self, mask: int) -> None:
        if mask & select.EPOLLOUT:
            self._flush()
        if mask & ~select.EPOLLOUT:
            self._receive()

    def _receive(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._sock, 1 << 16, DESCRIPTORS)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        for fd in descriptors:  # nothing that is started before they are used may inherit them
            os.set_inheritable(fd, False)
        self.descriptors += descriptors
        self._inbox += data
        if not data or len(self._inbox) > LARGEST or len(self.descriptors) > DESCRIPTORS:
            self.close()
            return
        if b"\n" in data:
            *lines, rest = self._inbox.split(b"\n")
            self._inbox = rest
            for line in lines:
                self._take(line)

    def _take(self, line: bytearray) -> None:
        try:
            self.on_message(json.loads(line.decode()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            note(f"message of pid {self.pid} not understood: {error!r}")
            self.close()

    def _flush(self) -> None:
        try:
            sent = self._sock.send(self._outbox)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        del self._outbox[:sent]
        if len(self._outbox) > LARGEST:
            self.close()
            return
        wanted = select.EPOLLIN | (select.EPOLLOUT if self._outbox else 0)
        self._loop.change(self._sock.fileno(), wanted)


def peer(sock: socket.socket) -> tuple[int, int]:
    """Pid and uid of who is at the other end."""
    pid, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid, uid
