"""What is known of one instance, and the file that keeps it across a crash of the keeper.

`state.json` is written before an attempt starts and after it ended; the new process itself adds a line with
its pid before it becomes the workload. So there is no moment at which a workload runs and is not on record.
The environment, which may hold secrets, is never written.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")

STARTING, RUNNING, EXITED = "starting", "running", "exited"

Message = dict[str, Any]
"""A JSON object, of the protocol or of a file: its values are checked where they are used."""


class Record:
    """One instance's last attempt."""

    def __init__(self, instance: str, attempt: int) -> None:
        self.instance = instance
        self.attempt = attempt
        self.state = STARTING
        self.pid = 0
        self.birth = 0
        """When it was put on record: the process of this pid was born by then. In ticks since boot."""
        self.boot = boot()
        self.started_at = now()
        self.ended_at: str | None = None
        self.exit_code: int | None = None
        self.message = ""
        self.cgroup = ""
        """Of version 2, where everything of the attempt is."""
        self.joins: list[str] = []
        """Those of version 1 that limit it."""
        self.limits: Message = {}
        self.sandbox: Message | None = None
        """The capabilities it keeps and the filter of its system calls; None without a sandbox."""
        self.holder = 0
        """The process that the sandbox stands and falls with."""
        self.holder_birth = 0
        self.workdir = ""
        self.uid = -1
        self.gid = -1
        self.groups: list[int] = []

    def seen(self) -> Message:
        """What runed is told."""
        return {
            "instance": self.instance,
            "attempt": self.attempt,
            "state": EXITED if self.state == EXITED else RUNNING,
            "pid": 0 if self.state == EXITED else self.pid,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
            "exit_code": self.exit_code,
            "message": self.message,
        }

    def save(self, folder: str) -> None:
        """Replace the file in one step."""
        os.close(self.begin(folder))

    def begin(self, folder: str) -> int:
        """As `save`; returns the file, where a new process puts itself on record, for the caller to close."""
        return replace(f"{folder}/state.json", json.dumps(vars(self)).encode() + b"\n")


def load(folder: str) -> Record | None:
    """The record of a folder, with the pid that the process itself wrote; None when there is none."""
    try:
        with open(f"{folder}/state.json", "rb") as file:
            said, pids = file.readline(), file.readline()
        stored: Message = json.loads(said)
        record = Record(stored["instance"], stored["attempt"])
        vars(record).update({name: stored[name] for name in vars(record) if name in stored})
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if record.state != EXITED:
        record.pid, record.birth, record.holder, record.holder_birth = _pids(pids)
    return record


def write_pid(fd: int, pid: int, holder: int = 0) -> None:
    """Put a process on record as the one of the attempt, with that which holds its sandbox.

    Beside the pid stands the time now: who gets the same pid later was not born by then.
    """
    since = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // _TICK
    _write_all(fd, b"%d %d %d %d\n" % (pid, since, holder, birth(holder) if holder else 0), "state.json")


def _pids(line: bytes) -> tuple[int, int, int, int]:
    """Pid and latest time of birth of a workload, pid and time of birth of what holds its sandbox; zeros when
    it never came so far.
    """
    words = line.split()
    whole = len(words) == 4 and line.endswith(b"\n")  # noqa: PLR2004 - as write_pid writes them
    if not whole or not all(word.isdigit() for word in words):
        return 0, 0, 0, 0
    pid, born, holder, holder_born = map(int, words)
    return pid, born, holder, holder_born


def stat(pid: int) -> list[bytes]:
    """The fields of /proc/PID/stat from the state on (index 0); empty when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2].split()
    except OSError:
        return []


def birth(pid: int) -> int:
    """When a process was started, in ticks since boot; 0 for none. With the pid it names one process."""
    fields = stat(pid)
    return int(fields[19]) if fields else 0


def lives(record: Record) -> bool:
    """Whether the recorded process is there and still running (a zombie is not)."""
    fields = stat(record.pid) if record.pid else []
    same = bool(fields) and int(fields[19]) <= record.birth and record.boot == boot()
    return same and fields[0] not in b"ZX"


def boot() -> str:
    """The id of this boot of the machine: a pid of another boot means nothing."""
    if not _boot:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            _boot.append(file.read().strip())
    return _boot[0]


_boot: list[str] = []


def note(text: str) -> None:
    """A line in keeper.log; on a full disk it is lost, and nothing else."""
    try:
        sys.stderr.write(f"{now()} {text}\n")
        sys.stderr.flush()
    except OSError:
        return


def now() -> str:
    """The time, as the protocol writes it."""
    second, rest = divmod(time.time_ns() // 1000, 1_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(second))}.{rest:06d}Z"


def _write_all(fd: int, data: bytes, path: str) -> None:
    if os.write(fd, data) < len(data):
        raise OSError(28, "the disk is full", path)


def replace(path: str, data: bytes) -> int:
    """Write a file so that a reader sees the old or the new content, never half of it; returns it, open."""
    fresh = f"{path}.new"
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        _write_all(fd, data, path)
        os.rename(fresh, path)
    except OSError:
        os.close(fd)
        raise
    return fd


def made(path: str) -> bool:
    """Make a folder that only we may read; False when it was there."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return False
    return True
