"""Wakes whoever waits for a change in a folder: the kernel tells, nobody looks twice."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import struct
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from rune.errors import ResourceExhausted

MODIFY, CREATE, OVERFLOW, IGNORED = 0x2, 0x100, 0x4000, 0x8000
NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC

_EVENT = struct.Struct("iIII")


class Watch:
    """What one watcher waits for. Clear `changed` before you look, not after."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.closed = False
        """Nothing will ever wake it again."""


class Inotify:
    """One inotify descriptor for all folders of a runner (the kernel allows few of them to a user)."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._checked(self._libc.inotify_init1(NONBLOCK_CLOEXEC), "inotify_init1")
        self._watches: dict[Path, tuple[int, set[Watch]]] = {}
        self._folders: dict[int, Path] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._ready)

    @contextmanager
    def watch(self, folder: Path) -> Generator[Watch]:
        """A watch that is woken at each change, until the context ends; closed for a folder that is gone."""
        watch = Watch()
        self._add(folder, watch)
        try:
            yield watch
        finally:
            self._remove(folder, watch)

    def wake(self, folder: Path) -> None:
        """Wake the watchers of a folder without any change, so that they look again."""
        for watch in self._watches.get(folder, (0, ()))[1]:
            watch.changed.set()

    def close(self) -> None:
        """Wake everybody and stop watching. Twice is fine."""
        if self._fd < 0:
            return
        for _, watches in self._watches.values():
            for watch in watches:
                watch.closed = True
                watch.changed.set()
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self._fd = -1
        self._watches.clear()

    def _add(self, folder: Path, watch: Watch) -> None:
        if folder not in self._watches:
            number = self._libc.inotify_add_watch(self._fd, os.fsencode(folder), MODIFY | CREATE)
            if number < 0 and ctypes.get_errno() == errno.ENOENT:
                watch.closed = True
                return
            self._watches[folder] = (self._checked(number, f"watch {folder}"), set())
            self._folders[number] = folder
        self._watches[folder][1].add(watch)

    def _remove(self, folder: Path, watch: Watch) -> None:
        number, watches = self._watches.get(folder, (0, set[Watch]()))
        watches.discard(watch)
        if number and not watches:
            del self._watches[folder]
            self._folders.pop(number, None)
            self._libc.inotify_rm_watch(self._fd, number)

    def _ready(self) -> None:
        try:
            data = os.read(self._fd, 65536)
        except BlockingIOError:
            return
        at = 0
        while at < len(data):
            number, mask, _, length = _EVENT.unpack_from(data, at)
            at += _EVENT.size + length
            if mask & OVERFLOW:  # the kernel threw news away: everybody looks
                for each in list(self._watches):
                    self.wake(each)
            folder = self._folders.get(number)
            if folder is None:
                continue
            self.wake(folder)
            if mask & IGNORED:
                del self._folders[number]
                self._watches.pop(folder, None)

    def _checked(self, result: int, what: str) -> int:
        if result < 0:
            why = os.strerror(ctypes.get_errno())
            message = f"{what}: {why}; raise fs.inotify.max_user_instances or max_user_watches"
            raise ResourceExhausted(message)
        return result
