r"""What one instance wrote, line by line with time and stream, in a few files of limited size.

A record is `2026-11-23T03:04:05.123456789Z stdout F text\n`; with P instead of F the line goes on in the
next record of that stream. Nothing is held back in memory: what was read is written, so that a crash of
the keeper loses nothing. Files are numbered (`00000001.log` …) and only the newest is written to.
"""

from __future__ import annotations

import os
import time

from .records import made

STREAMS = (b"stdout", b"stderr")

TAIL = 256 * 1024
"""Bytes read from the end of the last file to see which streams stopped in the middle of a line."""


class Limits:
    """How large one file may grow, and how many are kept; runed may change them at any time."""

    def __init__(self, size: int = 16 << 20, files: int = 4) -> None:
        self.size = size
        self.files = files


class Stamps:
    """Times that never go back, so that a log is sorted and a reader may search it by halves."""

    def __init__(self) -> None:
        self._last = 0
        self._second = -1
        self._text = ""

    def next(self) -> bytes:
        """The time now, or a nanosecond after the last one."""
        self._last = max(time.time_ns(), self._last + 1)
        second, rest = divmod(self._last, 1_000_000_000)
        if second != self._second:
            self._second = second
            self._text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return b"%s.%09dZ" % (self._text.encode(), rest)


class Journal:
    """The newest file of one instance's log, open for appending; the first line makes it, and the folder."""

    def __init__(self, folder: str, limits: Limits, stamps: Stamps) -> None:
        self._folder = folder
        self._limits = limits
        self._stamps = stamps
        self._fd = -1
        self._length = 0
        self._lost = 0
        self._why = ""
        self._unfinished: set[bytes] = set()
        kept = numbers(folder)
        if kept:
            self._open(kept[-1])
            self._unfinished = self._mend(kept[-1])

    def write(self, stream: bytes, chunk: bytes) -> None:
        """Write down a chunk of any size, wherever it begins or ends."""
        prefix = b"%s %s " % (self._stamps.next(), stream)
        whole = chunk.rfind(b"\n") + 1
        data = b""
        if whole:
            full = prefix + b"F "
            data = full + chunk[: whole - 1].replace(b"\n", b"\n" + full) + b"\n"
        if whole < len(chunk):
            data += prefix + b"P " + chunk[whole:] + b"\n"
            self._unfinished.add(stream)
        else:
            self._unfinished.discard(stream)
        self._append(data)

    def finish(self, stream: bytes) -> None:
        """The stream is over: end its last line, so that the next attempt begins a new one."""
        if stream in self._unfinished:
            self._unfinished.discard(stream)
            self._append(b"%s %s F \n" % (self._stamps.next(), stream))

    def close(self) -> None:
        """Let go of the file. Twice is fine."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _append(self, data: bytes) -> None:
        notice = self._notice() if self._lost else b""
        try:
            if self._fd < 0 or (self._length and self._length + len(data) > self._limits.size):
                self._rotate()
            written = os.write(self._fd, notice + data)
            if written < len(notice) + len(data):
                os.ftruncate(self._fd, self._length)
                self._drop(data, "the disk is full")
                return
        except OSError as error:
            self._drop(data, os.strerror(error.errno or 0))
            return
        self._length += written
        self._lost = 0

    def _drop(self, data: bytes, why: str) -> None:
        self._lost += data.count(b"\n")
        self._why = why

    def _notice(self) -> bytes:
        words = (self._stamps.next(), self._lost, self._why.encode())
        return b"%s stderr F [rune] lines lost here because the log could not be written: %d (%s)\n" % words

    def _rotate(self) -> None:
        kept = numbers(self._folder)
        for number in kept[: max(len(kept) - self._limits.files + 1, 0)]:
            os.unlink(path(self._folder, number))
        self._open(kept[-1] + 1 if kept else 1)

    def _open(self, number: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        try:
            fd = os.open(path(self._folder, number), flags, 0o600)
        except FileNotFoundError:
            made(self._folder)
            fd = os.open(path(self._folder, number), flags, 0o600)
        self.close()
        self._fd = fd
        self._length = os.fstat(fd).st_size

    def _mend(self, number: int) -> set[bytes]:
        """End a record that a crash tore, and tell which streams stopped in the middle of a line."""
        if not self._length:
            return set()
        with open(path(self._folder, number), "rb") as file:
            file.seek(max(self._length - TAIL, 0))
            records = file.read().split(b"\n")
        if records[-1]:
            os.ftruncate(self._fd, self._length - len(records[-1]))
            self._length -= len(records[-1])
        last: dict[bytes, bytes] = {}
        for record in records:
            words = record.split(b" ", 3)
            if len(words) == 4 and words[1] in STREAMS:  # noqa: PLR2004 - time, stream, tag, text
                last[words[1]] = words[2]
        return {stream for stream, tag in last.items() if tag == b"P"}


def path(folder: str, number: int) -> str:
    """Where a file of the log is."""
    return f"{folder}/{number:08d}.log"


def numbers(folder: str) -> list[int]:
    """The files that are there, oldest first."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return sorted(int(name[:-4]) for name in names if name.endswith(".log") and name[:-4].isdigit())
