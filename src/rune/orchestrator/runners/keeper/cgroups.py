"""What an instance may use: limits in cgroups of version 2 or version 1, whichever has the controller.

The kernel gives each controller (cpu, memory, pids) to one version only, and a machine may mix them. In
version 2 processes are born (`spawn.py`); those of version 1 have to be joined, which costs some milliseconds
of waiting for the kernel, so it is done only for what a limit needs.
"""

from __future__ import annotations

import errno
import os
import signal
import zlib

from . import groups
from .records import Message, note

CONTROLLERS: tuple[str, ...] = ("cpu", "memory", "pids")

KILLED = 128 + signal.SIGKILL

STEPS = 1
"""A sandbox is entered by a process that forks the workload and ends."""

HELPERS = 2
"""Where it has no controller of its own, what holds the sandbox counts as well."""

OLD, NEW = "cgroup", "cgroup2"

PERIOD = 100_000
"""Microseconds in which the CPU time is given out. Long shares, short waits."""

LEAST_QUOTA = 1_000
"""The kernel takes no smaller quota; for tiny shares the period is the longest there is."""

LONGEST_PERIOD = 1_000_000

DELEGATED = ("trusted.delegate", "user.delegate")
"""Attributes by which systemd marks a cgroup whose inside is ours to arrange."""


class Tree:
    """Where the cgroups of one data folder are made."""

    def __init__(self, unified: str, old: dict[str, str]) -> None:
        self.unified = unified
        """The folder of version 2, empty without one; everything in it can be killed in one step."""
        self.old = old
        """By controller of version 1, its folder."""
        self.controllers = sorted({*old, *(_enabled(unified) if unified else ())})
        """What can be limited."""

    def bases(self) -> list[str]:
        """Every folder that holds cgroups of instances."""
        return [base for base in dict.fromkeys([self.unified, *self.old.values()]) if base]

    def place(self, name: str, limits: Message, *, sandboxed: bool) -> tuple[str, list[str]]:
        """Make the cgroups of an attempt, with its limits: that of version 2, and those to join.

        Raises OSError when a limit cannot be set: nothing runs without the limits it was given.
        """
        if sandboxed and limits.get("processes"):
            limits = {**limits, "processes": limits["processes"] + (STEPS if "pids" in self.old else HELPERS)}
        own = groups.fresh(f"{self.unified}/{name}") if self.unified else ""
        wanted = [controller for controller in self.old if _asks(limits, controller)]
        joins = {base: groups.fresh(f"{base}/{name}") for base in {self.old[each] for each in wanted}}
        for controller in CONTROLLERS:
            if not _asks(limits, controller):
                continue
            if controller not in self.controllers:
                raise OSError(errno.ENOTSUP, "", f"cgroup controller {controller}")
            if controller in self.old:
                _set(joins[self.old[controller]], _OLD[controller](limits))
            else:
                _set(own, _NEW[controller](limits))
        return own, list(joins.values())


def tree(data: str) -> Tree:
    """The cgroups that this process may make below its own, with as many controllers as it is given."""
    name = f"rune-{zlib.crc32(data.encode()):08x}"
    mounts, owns = _mounts(), dict(_owns())
    news = [
        _unified(at, _inside(at, root, owns.get("", "/")), name)
        for at, root, kind, _ in mounts
        if kind == NEW
    ]
    olds = {
        controller: f"{_inside(at, root, owns.get(controller, '/'))}/{name}"
        for at, root, kind, options in mounts
        for controller in CONTROLLERS
        if kind == OLD and controller in options
    }
    old = {each: base for each, base in olds.items() if groups.make(base) and os.access(base, os.W_OK)}
    return Tree(next(iter(news), ""), old)


def join(paths: list[str]) -> None:
    """Move the calling process, whose children will be born there."""
    for path in paths:
        with open(f"{path}/cgroup.procs", "w", encoding="ascii") as file:
            file.write("0")


def out_of_memory(paths: list[str]) -> bool:
    """Whether the kernel killed anything in them for want of memory."""
    for path in paths:
        for name in ("memory.events", "memory.oom_control"):
            if _counts(f"{path}/{name}").get("oom_kill", 0) > 0:
                return True
    return False


def why(limits: Message, code: int | None, paths: list[str]) -> str:
    """What the limit of memory has to do with an end; empty for nothing."""
    most = limits.get("memory", 0)
    if not code or not most or not out_of_memory(paths):
        return ""
    past = f"killed: past its memory limit of {_amount(most)}"
    return past if code == KILLED else f"exited with code {code} after one of its processes was {past}"


def _amount(size: int) -> str:
    """Bytes as people write them: 64Mi."""
    for unit, shift in (("Gi", 30), ("Mi", 20), ("Ki", 10)):
        if size >> shift and not size % (1 << shift):
            return f"{size >> shift}{unit}"
    return f"{size} bytes"


def usage(unified: str, joined: list[str]) -> Message:
    """Seconds of CPU time and bytes of memory; None for what no cgroup and no /proc can tell."""
    spent = _counts(f"{unified}/cpu.stat").get("usage_usec") if unified else None
    memory = None
    for path in (unified, *joined):
        memory = _memory(path) if memory is None and path else memory
    if memory is None and unified:
        memory = sum(_resident(pid) for pid in groups.members(unified))
    return {"cpu_seconds": None if spent is None else spent / 1e6, "memory": memory}


def _memory(path: str) -> int | None:
    """Without what the kernel merely caches and would give back first."""
    for total, idle in (
        ("memory.current", "inactive_file"),
        ("memory.usage_in_bytes", "total_inactive_file"),
    ):
        used = _number(f"{path}/{total}")
        if used is not None:
            return max(used - _counts(f"{path}/memory.stat").get(idle, 0), 0)
    return None


def _resident(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def _asks(limits: Message, controller: str) -> bool:
    wanted = {"cpu": ("cpu", "cpu_request"), "memory": ("memory", "memory_request"), "pids": ("processes",)}
    return any(limits.get(each) for each in wanted[controller])


def _quota(cores: float) -> tuple[int, int]:
    period = PERIOD if cores * PERIOD >= LEAST_QUOTA else LONGEST_PERIOD
    return max(int(cores * period), LEAST_QUOTA), period


def _new_cpu(limits: Message) -> dict[str, str]:
    files: dict[str, str] = {}
    if limits.get("cpu_request"):
        files["cpu.weight"] = str(min(max(round(limits["cpu_request"] * 100), 1), 10_000))
    if limits.get("cpu"):
        files["cpu.max"] = "{} {}".format(*_quota(limits["cpu"]))
    return files


def _old_cpu(limits: Message) -> dict[str, str]:
    files: dict[str, str] = {}
    if limits.get("cpu_request"):
        files["cpu.shares"] = str(min(max(round(limits["cpu_request"] * 1024), 2), 262_144))
    if limits.get("cpu"):
        quota, period = _quota(limits["cpu"])
        files |= {"cpu.cfs_period_us": str(period), "cpu.cfs_quota_us": str(quota)}
    return files


def _new_memory(limits: Message) -> dict[str, str]:
    files = {"memory.oom.group?": "1"}
    if limits.get("memory_request"):
        files["memory.low"] = str(limits["memory_request"])
    if limits.get("memory"):
        files |= {"memory.max": str(limits["memory"]), "memory.swap.max?": "0"}
    return files


def _old_memory(limits: Message) -> dict[str, str]:
    files: dict[str, str] = {}
    if limits.get("memory_request"):
        files["memory.soft_limit_in_bytes"] = str(limits["memory_request"])
    if limits.get("memory"):
        most = str(limits["memory"])
        files |= {"memory.limit_in_bytes": most, "memory.memsw.limit_in_bytes?": most}
    return files


def _pids(limits: Message) -> dict[str, str]:
    return {"pids.max": str(limits["processes"])}


_NEW = {"cpu": _new_cpu, "memory": _new_memory, "pids": _pids}
_OLD = {"cpu": _old_cpu, "memory": _old_memory, "pids": _pids}


def _set(path: str, files: dict[str, str]) -> None:
    """Write them; one with a question mark is left out where the kernel does not have it."""
    for name, value in files.items():
        file = f"{path}/{name.rstrip('?')}"
        if name.endswith("?") and not os.path.exists(file):
            continue
        with open(file, "w", encoding="ascii") as opened:
            opened.write(value)


def _unified(mount: str, own: str, name: str) -> str:
    """Below our own cgroup; for root below that of the machine, where ours cannot hand on controllers."""
    usable = [path for path in (own, mount) if _hands_on(path)]
    chosen = usable[0] if usable and (usable[0] == own or os.geteuid() == 0) else own
    base = f"{chosen.rstrip('/')}/{name}"
    if not groups.make(base) or not os.path.exists(f"{base}/cgroup.kill"):
        return ""
    _enable(base)
    return base


def _hands_on(path: str) -> bool:
    """Whether it gives its children what it has; true also for one that has nothing to give."""
    offered = _words(f"{path}/cgroup.controllers")
    if not set(CONTROLLERS) & offered:
        return True
    _enable(path)
    if not set(CONTROLLERS) & _words(f"{path}/cgroup.subtree_control") and _is_ours(path):
        _make_room(path)
        _enable(path)
    return bool(set(CONTROLLERS) & _words(f"{path}/cgroup.subtree_control"))


def _enable(path: str) -> None:
    for controller in CONTROLLERS:
        if controller in _words(f"{path}/cgroup.controllers") - _words(f"{path}/cgroup.subtree_control"):
            try:
                with open(f"{path}/cgroup.subtree_control", "w", encoding="ascii") as file:
                    file.write(f"+{controller}")
            except OSError as error:
                note(f"{path} does not hand on {controller}: {error.strerror}")


def _is_ours(path: str) -> bool:
    for name in DELEGATED:
        try:
            if os.getxattr(path, name) == b"1":
                return True
        except OSError:
            continue
    return False


def _make_room(path: str) -> None:
    """A cgroup that hands on controllers may hold no process itself: runed and we move one down."""
    inner = f"{path}/runed"
    if not groups.make(inner):
        return
    for pid in groups.pids(path):
        try:
            with open(f"{inner}/cgroup.procs", "w", encoding="ascii") as file:
                file.write(str(pid))
        except OSError as error:
            note(f"{pid} cannot be moved to {inner}: {error.strerror}")


def _enabled(base: str) -> set[str]:
    return set(CONTROLLERS) & _words(f"{base}/cgroup.subtree_control")


def _mounts() -> list[tuple[str, str, str, set[str]]]:
    """Every mounted hierarchy: where, which part of it, its kind and options."""
    found: list[tuple[str, str, str, set[str]]] = []
    for line in groups.lines("/proc/self/mountinfo"):
        head, _, tail = line.partition(" - ")
        kind, _, options = tail.split(" ", 2)
        if kind in (OLD, NEW):
            fields = head.split()
            found.append((fields[4], fields[3], kind, set(options.split(","))))
    return found


def _owns() -> list[tuple[str, str]]:
    """By controller (empty for version 2), the cgroup that we are in."""
    pairs: list[tuple[str, str]] = []
    for line in groups.lines("/proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        pairs += [(controller, path) for controller in controllers.split(",")]
    return pairs


def _inside(mount: str, root: str, own: str) -> str:
    """The folder of a cgroup; in a container only part of the hierarchy is mounted."""
    below = own[len(root) :] if root != "/" and own.startswith(root) else own
    return f"{mount}/{below.strip('/')}".rstrip("/")


def _words(path: str) -> set[str]:
    return {word for line in groups.lines(path) for word in line.split()}


def _counts(path: str) -> dict[str, int]:
    pairs = [line.partition(" ") for line in groups.lines(path)]
    return {name: int(number) for name, _, number in pairs if number.isdigit()}


def _number(path: str) -> int | None:
    text = "".join(groups.lines(path))
    return int(text) if text.isdigit() else None
