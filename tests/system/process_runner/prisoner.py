"""A workload that tries to get out: one line of JSON for each attempt, with what became of it.

It is given to Python as text (`python -c`), with what it may aim at as JSON in its first argument.
"""

# ruff: noqa: S108, T201 - the /tmp is the sandbox's own, and what it prints is its report
from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

TARGETS: dict[str, Any] = json.loads(sys.argv[1])
libc: Any = ctypes.CDLL(None, use_errno=True)
ATTACH, NEW_USER, IO_URING_SETUP, FSOPEN = 16, 0x10000000, 425, 430


def did(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def write(path: str) -> None:
    Path(path).write_text("0", encoding="utf-8")


def connect(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)


def only(names: list[str], name: str) -> None:
    if set(names) <= {name}:
        raise OSError(1, "there is nothing else")


def through_a_link() -> None:
    Path("/tmp/link").symlink_to(TARGETS["outside"])
    write("/tmp/link/through-a-link")


def setuid_program() -> None:
    said = subprocess.run([TARGETS["setuid"], "-u"], capture_output=True, text=True, check=True).stdout
    if int(said) != 0 or os.geteuid() == 0:
        raise OSError(1, "it ran as its caller")


def device() -> None:
    os.mknod("/tmp/memory", 0o20666, os.makedev(1, 1))
    Path("/tmp/memory").read_bytes()


def ptrace(pid: int) -> None:
    did(libc.ptrace(ATTACH, pid, 0, 0))


def user_namespace() -> None:
    pid: int = libc.syscall(TARGETS["clone"], NEW_USER | int(signal.SIGCHLD), 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    did(pid)


def members() -> None:
    others = [name for name in os.listdir("/proc") if name.isdigit() and int(name) not in (1, os.getpid())]
    if not others:
        raise OSError(1, "nobody else is there")


ATTEMPTS: dict[str, Callable[[], object]] = {
    "write outside": lambda: write(f"{TARGETS['outside']}/written"),
    "write to /usr": lambda: write("/usr/escaped"),
    "write to /dev": lambda: write("/dev/escaped"),
    "write through a link": through_a_link,
    "list the data folder": lambda: only(
        [path.name for path in Path(TARGETS["data"]).iterdir()], "instances"
    ),
    "read the secret of another": lambda: Path(TARGETS["secret"]).read_text(),
    "read a secret in /tmp": lambda: Path(TARGETS["temporary"]).read_text(),
    "call the keeper": lambda: connect(f"{TARGETS['data']}/keeper/sock"),
    "call a socket in /run": lambda: connect(TARGETS["run"]),
    "gain by a setuid program": setuid_program,
    "see others": members,
    "kill a foreign process": lambda: os.kill(TARGETS["pid"], signal.SIGKILL),
    "trace a foreign process": lambda: ptrace(TARGETS["pid"]),
    "trace process 1": lambda: ptrace(1),
    "read the environment of process 1": lambda: Path("/proc/1/environ").read_bytes(),
    "read the root of process 1": lambda: os.listdir("/proc/1/root/"),
    "read the root of a foreign process": lambda: os.listdir(f"/proc/{TARGETS['pid']}/root"),
    "mount": lambda: did(libc.mount(b"none", b"/tmp", b"tmpfs", 0, None)),
    "unmount": lambda: did(libc.umount2(TARGETS["data"].encode(), 2)),
    "open a file system": lambda: did(libc.syscall(FSOPEN, b"tmpfs", 0)),
    "change root": lambda: os.chroot("/tmp"),
    "unshare": lambda: did(libc.unshare(NEW_USER)),
    "clone into a user namespace": user_namespace,
    "raw socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    "packet socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
    "rings past every filter": lambda: did(libc.syscall(IO_URING_SETUP, 4, ctypes.create_string_buffer(256))),
    "device in /tmp": device,
    "disk": lambda: Path(TARGETS["disk"]).read_bytes(),
    "core pattern": lambda: write("/proc/sys/kernel/core_pattern"),
    "interrupts": lambda: write("/proc/irq/default_smp_affinity"),
    "cgroup": lambda: write(f"{TARGETS['cgroup']}/cgroup.procs"),
    "host name": lambda: socket.sethostname("escaped"),
    "become root": lambda: os.setresuid(0, 0, 0) if os.getuid() else os.setgroups([1]),
    "give a file away": lambda: (write("/tmp/mine"), os.chown("/tmp/mine", 12, 12)),
    "raise a limit": lambda: os.setpriority(os.PRIO_PROCESS, 0, -10),
}

for attempt, run in ATTEMPTS.items():
    outcome = "ESCAPED"
    try:
        run()
    except OSError as error:
        outcome = f"{type(error).__name__}: {error}"
    print(json.dumps([attempt, outcome]), flush=True)
print(json.dumps(["end", "of the attempts"]), flush=True)
signal.pause()
