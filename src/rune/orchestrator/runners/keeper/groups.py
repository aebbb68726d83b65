"""Everything that belongs to an instance, and how to kill all of it.

A cgroup knows every descendant and `cgroup.kill` ends them in one step. Where none can be made, a walk of
/proc finds them by session, by descent and, for daemons that left both, by our pipes or their environment.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Iterable
from itertools import count

from .records import stat

ROUNDS = 20
"""Walks of /proc after which we give up on something that forks faster than we can kill."""


def make(path: str) -> bool:
    """Make a cgroup; there already is fine."""
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        return True
    except OSError:
        return False
    return True


def fresh(path: str) -> str:
    """Make an empty cgroup of this name; with a number where the last of that name is still dying."""
    for number in count():
        name = f"{path}:{number}" if number else path
        if drop(name):
            os.mkdir(name, 0o755)
            return name
    raise AssertionError


def kill(path: str) -> None:
    """SIGKILL to everything in a cgroup and below it; gone already is fine."""
    try:
        fd = os.open(f"{path}/cgroup.kill", os.O_WRONLY)
    except FileNotFoundError:
        _kill_one_by_one(path)
        return
    try:
        os.write(fd, b"1")
    finally:
        os.close(fd)


def _kill_one_by_one(path: str) -> None:
    """In a cgroup of version 1, until it holds nothing that we have not killed."""
    killed: set[int] = set()
    for _ in range(ROUNDS):
        found = set(members(path)) - killed
        if not found:
            return
        for pid in found:
            send(pid, signal.SIGKILL)
        killed |= found


def drop(path: str) -> bool:
    """Remove a cgroup and those below it; False while something in it has not been reaped."""
    try:
        below = [entry.path for entry in os.scandir(path) if entry.is_dir(follow_symlinks=False)]
        gone = [drop(child) for child in below].count(False) == 0
        if gone:
            os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return gone


def kill_found(main: int, instance: str, folder: str, spare: set[int]) -> None:
    """SIGKILL to everything that a walk of /proc attributes to the instance, until it finds no more."""
    killed: set[int] = set()
    for _ in range(ROUNDS):
        found = _members(main, instance, folder, spare) - killed
        if not found:
            return
        for pid in found:
            send(pid, signal.SIGKILL)
        killed |= found


def send(pid: int, number: int) -> None:
    """Send a signal to a process; one that is gone is fine."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def send_group(pid: int, number: int) -> None:
    """Send a signal to the process group that `pid` leads, or to it alone when it leads none yet."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        send(pid, number)


def strangers(bases: Iterable[str], living: Collection[str]) -> list[str]:
    """The cgroups in the bases that are none of the living, and those of lost sessions inside the living."""
    found = [entry for base in bases for entry in os.scandir(base) if entry.path not in living]
    found += [entry for cgroup in living for entry in os.scandir(cgroup)]
    return [entry.path for entry in found if entry.is_dir()]


def _members(main: int, instance: str, folder: str, spare: set[int]) -> set[int]:
    processes = {int(name): stat(int(name)) for name in os.listdir("/proc") if name.isdigit()}
    keeper = os.getpid()
    found: set[int] = set()
    for pid, fields in processes.items():
        if not fields or pid in spare or pid == keeper or fields[0] in b"ZX":
            continue
        orphan = int(fields[1]) in {keeper, 1}
        if (main and int(fields[3]) == main) or (orphan and _marked(pid, instance, folder)):
            found.add(pid)
    return found | (_below(found | ({main} if main else set()), processes) - spare)


def _below(roots: set[int], processes: dict[int, list[bytes]]) -> set[int]:
    """Descendants of the roots that are there."""
    found: set[int] = set()
    fresh = roots
    while fresh:
        fresh = {p for p, f in processes.items() if f and int(f[1]) in fresh and f[0] not in b"ZX"} - found
        found |= fresh
    return found


def _marked(pid: int, instance: str, folder: str) -> bool:
    """Whether a process holds one of our pipes or carries the instance's id in its environment."""
    if not instance:
        return False
    try:
        for fd in (1, 2):
            if os.readlink(f"/proc/{pid}/fd/{fd}") in {f"{folder}/out", f"{folder}/err"}:
                return True
        with open(f"/proc/{pid}/environ", "rb") as file:
            return f"RUNE_INSTANCE_ID={instance}".encode() in file.read().split(b"\0")
    except OSError:
        return False


def pids(path: str) -> list[int]:
    """The processes of a cgroup, without those of the cgroups below it."""
    return [int(line) for line in lines(f"{path}/cgroup.procs")]


def members(path: str) -> list[int]:
    """The processes of a cgroup and of those below it."""
    return [pid for folder, _, _ in os.walk(path) for pid in pids(folder)]


def lines(path: str) -> list[str]:
    """The lines of a small file; none where it cannot be read."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().splitlines()
    except OSError:
        return []
