"""What this machine can enforce, found out once at the start; for what it cannot, why not and the remedy."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from rune.orchestrator.runners.isolation import syscalls, wrap

TRIAL: Final = 10.0
"""Seconds that a sandbox may take to come up at the start; it takes five milliseconds."""


class Feature(StrEnum):
    """Something that has to be enforced."""

    SANDBOX = "sandbox"
    CAPABILITIES = "capabilities"
    CPU = "cpu limit"
    MEMORY = "memory limit"
    PROCESSES = "limit of processes"


CONTROLLERS: Final = {Feature.CPU: "cpu", Feature.MEMORY: "memory", Feature.PROCESSES: "pids"}


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """What one machine can enforce."""

    bubblewrap: str = ""
    """The program, when sandboxes can be made with it."""
    is_root: bool = False
    lacks: Mapping[Feature, str] = {}
    """What it cannot enforce, and why not with what to do about it."""


async def detect(controllers: Sequence[str]) -> Host:
    """Look at this machine, by making a sandbox; `controllers` are those that the keeper can limit with."""
    program = await asyncio.to_thread(shutil.which, "bwrap")
    is_root = os.geteuid() == 0
    why = await asyncio.to_thread(_trial, program, is_root=is_root)
    lacks: dict[Feature, str] = {Feature.SANDBOX: why} if why else {}
    if not is_root:
        lacks[Feature.CAPABILITIES] = "only root can hand on capabilities: run runed as root"
    for feature, controller in CONTROLLERS.items():
        if controller not in controllers:
            lacks[feature] = (
                f"needs the cgroup controller {controller!r}, which runed is not given: run it as root,"
                " or as a systemd unit with Delegate=yes"
            )
    return Host(bubblewrap=program or "", is_root=is_root, lacks=lacks)


def _trial(program: str | None, *, is_root: bool) -> str:
    """Why no sandbox can be made; empty when one was."""
    if not program:
        return "needs bubblewrap: apt-get install bubblewrap"
    if not syscalls.library():
        return f"needs libseccomp: {syscalls.REMEDY}"
    argv = [program, *wrap.arguments(wrap.View(is_root=is_root)), "/bin/true"]
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=TRIAL, check=False, env={}
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bubblewrap does not work here: {error}"
    if done.returncode == 0:
        return ""
    said = done.stderr.decode(errors="replace").strip()[:300]
    return f"bubblewrap does not work here ({said}): allow user namespaces, or run runed as root"
