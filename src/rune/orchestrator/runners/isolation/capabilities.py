"""The capabilities of Linux by name: those that a workload keeps, as the bits the kernel wants."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Final

from rune.errors import Violation

NAMES: Final = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip
"""In the kernel's order: the position is the number."""


def plain(name: str) -> str:
    """`NET_RAW` for `net_raw`, `CAP_NET_RAW` and the like."""
    return name.upper().removeprefix("CAP_")


def bits(names: Iterable[str]) -> int:
    """A bit for each; the names must be known."""
    return sum(1 << NAMES.index(name) for name in {plain(name) for name in names})


def violations(field: str, names: Iterable[str]) -> Iterator[Violation]:
    """Every name that is none, with the nearest that is."""
    for position, name in enumerate(names):
        if plain(name) not in NAMES:
            near = get_close_matches(plain(name), NAMES, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            yield Violation(f"{field}[{position}]", f"{name[:40]!r} is no capability of Linux{hint}")
