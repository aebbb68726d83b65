"""System calls by name, compiled into the filter that the kernel runs before each of them.

A call that is denied fails with EPERM, with either kind of list: a program can say so in its log, while one
that is killed cannot. Calls of another architecture than the machine's own (32-bit programs) kill the
process: the names would mean other numbers there.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from typing import BinaryIO, Final, Protocol, cast

from rune.errors import FailedPrecondition, Violation

REMEDY: Final = "apt-get install libseccomp2, and the Python package pyseccomp"

START: Final = frozenset(
    {"execve", "exit", "exit_group", "rt_sigreturn", "write", "brk", "mmap", "munmap", "prctl"}
)
"""What it takes to become the workload, or to say why not: never denied to an allow list."""

FIRST: Final = ("execve", "exit_group")
"""Cannot be denied: with them the workload begins and ends."""

WITHOUT: Final[dict[str, tuple[str, ...]]] = {
    "SYS_ADMIN": (
        "mount", "umount2", "pivot_root", "move_mount", "open_tree", "open_tree_attr", "fsopen", "fsconfig",
        "fsmount", "fspick", "mount_setattr", "statmount", "listmount", "unshare", "setns", "swapon",
        "swapoff", "quotactl", "quotactl_fd", "lookup_dcookie", "sethostname", "setdomainname",
        "fanotify_init", "add_key", "request_key", "keyctl", "userfaultfd", "io_uring_setup",
        "io_uring_enter", "io_uring_register",
    ),
    "SYS_MODULE": ("init_module", "finit_module", "delete_module", "create_module"),
    "SYS_BOOT": ("reboot", "kexec_load", "kexec_file_load"),
    "SYS_TIME": ("settimeofday", "clock_settime", "clock_settime64", "adjtimex", "clock_adjtime"),
    "SYS_PACCT": ("acct",),
    "SYS_RAWIO": ("iopl", "ioperm"),
    "SYS_PTRACE": ("process_vm_writev", "kcmp", "pidfd_getfd"),
    "DAC_READ_SEARCH": ("open_by_handle_at",),
    "SYSLOG": ("syslog",),
    "BPF": ("bpf",),
    "PERFMON": ("perf_event_open",),
}  # fmt: skip
"""Calls that a program has no use for without the capability: doors into the kernel that are better shut.
The rings of io_uring are among them since what they do is seen by no filter."""

STRICT: Final = ("ptrace", "process_vm_readv", "personality", "memfd_secret", "vmsplice")
"""Denied as well where everything is."""

NEW_USER: Final = 0x10000000
"""The flag of clone that makes a user namespace, in which everybody has every capability."""

LARGEST: Final = 1 << 16


class Filter(Protocol):
    """What we use of the binding's filters."""

    def add_rule(self, action: int, syscall: str, *args: object) -> None:
        """What becomes of a call, or of one with such arguments; raises OSError."""
        ...

    def export_bpf(self, file: BinaryIO) -> None:
        """Write the kernel's instructions."""
        ...


class Library(Protocol):
    """What we use of the binding."""

    ALLOW: int
    MASKED_EQ: int

    def ERRNO(self, x: int) -> int:  # noqa: N802 - the binding's name
        """The action that makes a call fail."""
        ...

    def SyscallFilter(self, defaction: int) -> Filter:  # noqa: N802 - the binding's name
        """A filter with an action for what no rule is about."""
        ...

    def Arg(self, arg: int, op: int, *data: int) -> object:  # noqa: N802 - the binding's name
        """A condition on an argument."""
        ...

    def system_arch(self) -> int:
        """That of this machine."""
        ...

    def resolve_syscall(self, arch: int, syscall: str) -> int:
        """The number of a name."""
        ...


def library() -> Library | None:
    """The binding of libseccomp; None where it, or the library, is not there."""
    try:
        import pyseccomp  # noqa: PLC0415 - it looks for the library as it is imported, which may fail
    except (ImportError, OSError, RuntimeError, AttributeError):
        return None
    return cast("Library", pyseccomp)


def violations(field: str, names: Iterable[str], *, denied: bool = False) -> Iterator[Violation]:
    """Every name that is no system call; names pass where there is no library to ask."""
    known = library()
    for position, name in enumerate(names):
        where = f"{field}[{position}]"
        if denied and name in FIRST:
            yield Violation(where, f"{name} cannot be denied: the workload begins or ends with it")
        elif known and _number(known, name) == -1:
            yield Violation(where, f"{name[:40]!r} is no system call that libseccomp knows")


@lru_cache(maxsize=256)
def program(
    allowed: frozenset[str], denied: frozenset[str], capabilities: frozenset[str], *, strict: bool
) -> bytes:
    """The filter in the kernel's own instructions.

    Without `allowed` everything is but what is denied and what is of no use without its capability.
    """
    seccomp = library()
    if seccomp is None:
        raise FailedPrecondition(f"filters of system calls need libseccomp: {REMEDY}")
    new_user = "SYS_ADMIN" not in capabilities
    if allowed:
        made = seccomp.SyscallFilter(seccomp.ERRNO(errno.EPERM))
        _allow(seccomp, made, (allowed | START) - denied | set(FIRST), new_user=new_user)
    else:
        made = seccomp.SyscallFilter(seccomp.ALLOW)
        useless = {name for each, names in WITHOUT.items() if each not in capabilities for name in names}
        more: tuple[str, ...] = STRICT if strict else ()
        _deny(seccomp, made, {*denied, *useless, *more}, new_user=new_user)
    return _exported(made)


def _allow(seccomp: Library, made: Filter, names: Collection[str], *, new_user: bool) -> None:
    for name in sorted(names):
        if name == "clone" and new_user:
            made.add_rule(seccomp.ALLOW, name, seccomp.Arg(0, seccomp.MASKED_EQ, NEW_USER, 0))
        elif name == "clone3" and new_user:
            made.add_rule(seccomp.ERRNO(errno.ENOSYS), name)
        else:
            made.add_rule(seccomp.ALLOW, name)


def _deny(seccomp: Library, made: Filter, names: Collection[str], *, new_user: bool) -> None:
    for name in sorted(names):
        if _number(seccomp, name) != -1:
            made.add_rule(seccomp.ERRNO(errno.EPERM), name)
    if new_user and "clone" not in names:
        made.add_rule(
            seccomp.ERRNO(errno.EPERM), "clone", seccomp.Arg(0, seccomp.MASKED_EQ, NEW_USER, NEW_USER)
        )
    if new_user and "clone3" not in names:
        # Its flags are in memory, where no filter can look: C libraries then fall back to clone.
        made.add_rule(seccomp.ERRNO(errno.ENOSYS), "clone3")


def _number(seccomp: Library, name: str) -> int:
    """Its number on this machine, less than -1 for one that only other machines have, -1 for none."""
    return seccomp.resolve_syscall(seccomp.system_arch(), name) if name.isidentifier() else -1


def _exported(made: Filter) -> bytes:
    with os.fdopen(os.memfd_create("filter"), "w+b") as file:
        made.export_bpf(file)
        file.seek(0)
        return file.read(LARGEST)
