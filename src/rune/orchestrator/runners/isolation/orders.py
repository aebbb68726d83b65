"""What the keeper is told to do for one workload: limits in numbers, a sandbox as arguments and a filter."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from rune.errors import FailedPrecondition
from rune.orchestrator.runners.base import Isolation, Workload
from rune.orchestrator.runners.isolation import capabilities, syscalls, wrap
from rune.orchestrator.runners.isolation.host import Host

Mode = Literal["none", "default", "strict"]

PROCESSES: Final = 4096
"""Processes and threads in one sandbox that says nothing else: enough for any service, no fork bomb."""

HOLD: Final = "/bin/cat"
"""The process 1 of a sandbox; see the keeper's `sandbox.py`."""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """How processes are isolated on this server."""

    mode: Mode = "default"
    hidden: Sequence[Path] = ()
    """Files and folders of runed's own that no sandbox shows."""


def wanted(workload: Workload, mode: Mode) -> Isolation | None:
    """The sandbox that it is to run in; None for none."""
    asked = workload.isolation
    if mode == "strict":
        return msgspec.structs.replace(asked or Isolation(), read_only=True)
    if asked is None and workload.mounts:
        return Isolation()
    return asked


def orders(workload: Workload, rules: Rules, *, host: Host, scratch: Path) -> Mapping[str, Any]:
    """The fields of the keeper's `ensure` that isolate this workload."""
    sandbox = wanted(workload, rules.mode)
    limits = workload.limits
    if sandbox and not limits.processes and "limit of processes" not in host.lacks:
        limits = msgspec.structs.replace(limits, processes=PROCESSES)
    told = {name: value for name, value in msgspec.to_builtins(limits).items() if value}
    if sandbox is None:
        return {"limits": told, "sandbox": None}
    view = _view(sandbox, workload, rules, host=host, scratch=scratch)
    return {"limits": told, "sandbox": _sandbox(sandbox, view, host, strict=rules.mode == "strict")}


def _view(asked: Isolation, workload: Workload, rules: Rules, *, host: Host, scratch: Path) -> wrap.View:
    hidden = _outermost(rules.hidden)
    return wrap.View(
        is_root=host.is_root,
        read_only=asked.read_only,
        workdir=_workdir(workload.workdir, hidden),
        scratch="" if workload.workdir else str(scratch),
        hidden_folders=[str(path) for path in hidden if path.is_dir()],
        hidden_files=[str(path) for path in hidden if path.is_file()],
        mounts=workload.mounts,
    )


def _sandbox(asked: Isolation, view: wrap.View, host: Host, *, strict: bool) -> Mapping[str, Any]:
    kernel = [name for name in wrap.KERNEL if Path("/proc", name).exists()]
    kept = frozenset(capabilities.plain(name) for name in asked.capabilities)
    allowed, denied = frozenset(asked.allowed_syscalls), frozenset(asked.denied_syscalls)
    program = syscalls.program(allowed, denied, kept, strict=strict)
    return {
        "wrap": [host.bubblewrap, *wrap.arguments(view, kernel), HOLD],
        "capabilities": capabilities.bits(kept),
        "filter": base64.b64encode(program).decode(),
    }


def _outermost(paths: Sequence[Path]) -> list[Path]:
    """Without those that are hidden by another one."""
    real = sorted({path.resolve() for path in paths})
    return [path for path in real if not any(other in path.parents for other in real)]


def _workdir(workdir: str, hidden: Sequence[Path]) -> str:
    """The folder to keep writable; raises FailedPrecondition for one that leads into what is hidden."""
    if workdir in ("", "/"):
        return ""
    real = Path(workdir).resolve()
    if any(path == real or path in real.parents for path in hidden):
        raise FailedPrecondition(f"working folder {workdir!r} is part of what runed keeps from workloads")
    if not real.is_dir():
        raise FailedPrecondition(f"working folder {workdir!r} cannot be entered: it is no folder")
    return workdir
