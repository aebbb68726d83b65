"""The arguments of bubblewrap: what a workload sees of the machine's files, decided in a pure function."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Final

import msgspec

from rune.orchestrator.runners.base import Mount

SCRATCH: Final = 256 << 20
"""Bytes of each of /tmp, /var/tmp and /dev/shm; they are memory, and count against its limit."""

SHARED: Final = "/dev/shm"  # noqa: S108 - the sandbox's own

TEMPORARY: Final = ("/tmp", "/var/tmp")  # noqa: S108 - the sandbox's own

KERNEL: Final = ("sys", "fs", "acpi", "scsi")
"""Parts of /proc by which root, even one without a single capability, changes the machine. bubblewrap itself
sees to bus, irq and sysrq-trigger; each costs half a millisecond of a start."""

RESOLVER: Final = ("/run/systemd/resolve", "/run/resolvconf", "/run/nscd")
"""What looking up names needs of /run."""


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be seen; `bubblewrap` makes the rest disappear."""

    is_root: bool
    """Whether runed is; a user namespace takes its place otherwise."""
    read_only: bool = False
    workdir: str = ""
    """Stays writable, but for what is hidden in it."""
    scratch: str = ""
    """Stays writable, also where it is in something hidden."""
    hidden_folders: Sequence[str] = ()
    hidden_files: Sequence[str] = ()
    mounts: Sequence[Mount] = ()


def arguments(view: View, kernel: Sequence[str] = ()) -> list[str]:
    """Namespaces and mounts, in the order in which later ones cover earlier ones.

    `kernel` are those of `KERNEL` that this machine has.
    """
    return [
        "--unshare-pid",
        "--unshare-ipc",
        "--as-pid-1",
        *([] if view.is_root else USER),
        *_mounts(view, kernel),
    ]


USER: Final = ["--unshare-user", "--cap-add", "ALL"]
"""Process 1 keeps the powers that it has in there over what is in there, so that nothing in there can take
it over. The workload keeps none."""


def _mounts(view: View, kernel: Sequence[str]) -> Iterator[str]:
    yield from ("--ro-bind" if view.read_only else "--bind", "/", "/")
    yield from ("--ro-bind", "/sys", "/sys", "--dev", "/dev", *_own(SHARED), "--remount-ro", "/dev")
    yield from ("--proc", "/proc")
    for name in kernel:
        yield from ("--ro-bind", f"/proc/{name}", f"/proc/{name}")
    for folder in TEMPORARY:
        yield from _own(folder)
    yield from _own("/run", mode="0755")
    for path in RESOLVER:
        yield from ("--ro-bind-try", path, path)
    if view.workdir:
        yield from _bound(Mount(source=view.workdir, target=view.workdir, read_only=False), TEMPORARY)
    for folder in view.hidden_folders:
        yield from _own(folder, mode="0711")
    for file in view.hidden_files:
        yield from ("--ro-bind", "/dev/null", file)
    covered = (*TEMPORARY, SHARED, "/run", *view.hidden_folders)
    if view.scratch:
        yield from _bound(Mount(source=view.scratch, target=view.scratch, read_only=False), covered)
    for mount in view.mounts:
        yield from _bound(mount, covered)
    for folder in view.hidden_folders:
        yield from ("--remount-ro", folder)


def _own(folder: str, mode: str = "1777") -> tuple[str, ...]:
    return ("--perms", mode, "--size", str(SCRATCH), "--tmpfs", folder)


def _bound(mount: Mount, covered: Sequence[str]) -> Iterator[str]:
    """With the folders that lead to it, where they are covered: bubblewrap would keep them to itself."""
    for parent in reversed(PurePosixPath(mount.target).parents):
        if any(PurePosixPath(cover) in parent.parents for cover in covered):
            yield from ("--perms", "0711", "--dir", str(parent))
    yield from ("--ro-bind" if mount.read_only else "--bind", mount.source, mount.target)
