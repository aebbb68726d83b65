"""The two pipes of an instance: named, so that the next keeper can open them again, and read in rounds."""

from __future__ import annotations

import fcntl
import os

from .journal import STREAMS, Journal
from .loop import Paced

CHUNK = 64 * 1024
"""Bytes read at once; also the longest piece of a line in one record."""

SHARE = 16
"""Chunks read from one pipe before the others get their turn."""

PIPE = 1 << 20
"""Bytes a pipe holds while nobody reads it. The kernel may refuse so much to a user who is not root."""

NAMES = {b"stdout": "out", b"stderr": "err"}


class Streams:
    """What reads the output of one attempt into its journal."""

    def __init__(self, folder: str, journal: Journal, paced: Paced) -> None:
        self._paced = paced
        self._journal = journal
        self._open = {stream: self._reader(f"{folder}/{NAMES[stream]}") for stream in STREAMS}

    def watch(self) -> None:
        """Read from now on; only once the workload has opened its ends."""
        for stream, fd in self._open.items():
            self._paced.add(fd, lambda _, stream=stream: self._ready(stream))

    def drain(self) -> None:
        """Write down at once what is in the pipes."""
        for stream in list(self._open):
            self._ready(stream)

    def close(self) -> None:
        """Write down what is there and stop listening. Twice is fine."""
        self.drain()
        for stream in list(self._open):
            self._end(stream)
        self._journal.close()

    def _ready(self, stream: bytes) -> None:
        for _ in range(SHARE):
            try:
                chunk = os.read(self._open[stream], CHUNK)
            except BlockingIOError:
                return
            if not chunk:
                self._end(stream)
                return
            self._journal.write(stream, chunk)
            if len(chunk) < CHUNK:
                return

    def _end(self, stream: bytes) -> None:
        fd = self._open.pop(stream)
        self._paced.drop(fd)
        os.close(fd)
        self._journal.finish(stream)

    def _reader(self, path: str) -> int:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE)
        except OSError:
            return fd
        return fd


def make(folder: str, uid: int, gid: int) -> None:
    """Make the pipes; owned by the workload's user, so that it may open /dev/stdout anew."""
    for name in NAMES.values():
        path = f"{folder}/{name}"
        try:
            os.mkfifo(path, 0o600)
        except FileExistsError:
            pass
        if uid >= 0:
            os.chown(path, uid, gid)
