"""A sandbox: namespaces that bubblewrap makes, which the workload and every command in it then enter.

bubblewrap is not the parent of the workload. It sets up the namespaces around a `cat` that waits for ever as
their process 1, and is then done; a fork of ours enters them and becomes the workload. So the workload is a
child of the keeper like any other: its pid, its exit code and the signals to it are its own, and a command
(`exec`) goes the same way in. When the `cat` ends, the kernel kills everything in there.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import time

from . import groups, privileges

NEWNS, NEWIPC, NEWUSER, NEWPID = 0x20000, 0x8000000, 0x10000000, 0x20000000

GET_USER = 0xB701
"""The request for the user namespace that a namespace belongs to."""

PATIENCE = 10.0
"""Seconds that bubblewrap may take for what takes it five milliseconds."""

READY = b"\n"

LARGEST = 4096


class Refused(OSError):
    """It could not be made; the words are bubblewrap's own."""


class Making:
    """A bubblewrap at work; what else is to be done can be done meanwhile."""

    def __init__(self, argv: list[str]) -> None:
        hold, self._hold = os.pipe()
        self._ready, ready = os.pipe()
        self._said, said = os.pipe()
        self._info, info = os.pipe()
        # `cat` passes this on as soon as it runs: then the sandbox stands.
        os.write(self._hold, READY)
        for fd in (self._hold, info):
            os.set_inheritable(fd, True)
        # Process 1 will ignore SIGCHLD as well: what ends in there without a parent is reaped by the kernel.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        stdio = [(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in enumerate((hold, ready, said))]
        words = [argv[0], "--info-fd", str(info), *argv[1:]]
        self._pid = os.posix_spawn(argv[0], words, {}, file_actions=stdio, setsigmask=())
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for fd in (hold, ready, said, info):
            os.close(fd)

    def finish(self) -> int:
        """The pid of its process 1, once it stands; raises Refused with what bubblewrap said."""
        until = time.monotonic() + PATIENCE
        try:
            # It says something when it fails, and then may not end, since it ignores the end of its child.
            if _read([self._ready, self._said], until) != READY:
                raise Refused(1, said(self._said, until) or "it hangs")
            return int(json.loads(_read([self._info], until))["child-pid"])
        finally:
            # It has nothing left to do, and its end does not touch what it made.
            self._end()
            for fd in (self._hold, self._ready, self._said, self._info):
                os.close(fd)

    def _end(self) -> None:
        groups.send(self._pid, signal.SIGKILL)
        try:
            os.waitpid(self._pid, 0)
        except ChildProcessError:
            return  # it ended at once, while its end was still ignored


class Door:
    """The way into the namespaces of a process."""

    def __init__(self, holder: int) -> None:
        self._holder = os.pidfd_open(holder)
        self._user = os.open(f"/proc/{holder}/ns/user", os.O_RDONLY)
        # Without root bubblewrap makes two user namespaces: all others belong to the outer one.
        files = os.open(f"/proc/{holder}/ns/mnt", os.O_RDONLY)
        self._outer = fcntl.ioctl(files, GET_USER)
        os.close(files)

    def children(self) -> None:
        """The next fork of this process is born in its pid namespace."""
        if not _is_same(self._outer, "/proc/self/ns/user"):
            privileges.setns(self._outer, NEWUSER)
        privileges.setns(self._holder, NEWPID)

    def enter(self) -> None:
        """See its files, and be in it who its processes are."""
        privileges.setns(self._holder, NEWNS | NEWIPC)
        if not _is_same(self._user, self._outer):
            privileges.setns(self._user, NEWUSER)


def said(fd: int, until: float) -> str:
    """Its complaint: one line, which it writes in pieces."""
    line = b""
    while b"\n" not in line and (more := _read([fd], until)):
        line += more
    return line.decode(errors="replace").strip()


def _is_same(one: int, other: int | str) -> bool:
    return os.stat(one).st_ino == os.stat(other).st_ino


def _read(fds: list[int], until: float) -> bytes:
    """What comes first from the first; empty when another has something, at the end, and past the time."""
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    ready = {fd for fd, _ in poll.poll(max(until - time.monotonic(), 0) * 1000)}
    return os.read(fds[0], LARGEST) if fds[0] in ready else b""
