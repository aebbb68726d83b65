"""What a test may need of the machine, how to see whether it is there, and how to get it."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from rune.orchestrator.runners.isolation import syscalls
from rune.orchestrator.runners.keeper import cgroups, groups


class Tool(NamedTuple):
    """Something a test can require by name; `works` looks at the machine, `remedy` says how to get it."""

    works: Callable[[], bool]
    remedy: str


def on_path(*names: str) -> Callable[[], bool]:
    """True when one of the programs is there."""
    return lambda: any(shutil.which(name) for name in names)


def runs(*command: str) -> Callable[[], bool]:
    """True when the command ends well within ten seconds: being installed is not enough."""

    def works() -> bool:
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0

    return works


def go() -> str | None:
    """The go command: on the path, or where its own archive puts it."""
    return shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")


def controllers() -> set[str]:
    """What the cgroups that we may make here can limit."""
    tree = cgroups.tree("/limits-of-tests")
    for base in tree.bases():
        groups.drop(base)
    return set(tree.controllers)


def browser() -> str | None:
    """Chromium: the one without windows takes less than half the processor's time for the same pages."""
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if (found := shutil.which(name))), None)


TOOLS = {
    "git": Tool(on_path("git"), "apt-get install git"),
    "curl": Tool(on_path("curl"), "apt-get install curl"),
    "root": Tool(lambda: os.geteuid() == 0, "run the tests as root"),
    "bubblewrap": Tool(runs("bwrap", "--ro-bind", "/", "/", "true"), "apt-get install bubblewrap"),
    "cgroups": Tool(lambda: os.access("/sys/fs/cgroup", os.W_OK), "a writable /sys/fs/cgroup"),
    "libseccomp": Tool(lambda: syscalls.library() is not None, "apt-get install libseccomp2"),
    "limits": Tool(
        lambda: {"cpu", "memory", "pids"} <= controllers(),
        "the cgroup controllers cpu, memory and pids",
    ),
    "docker": Tool(
        lambda: (
            os.geteuid() == 0 and all(map(shutil.which, ("dockerd", "docker"))) and runs("busybox", "true")()
        ),
        "apt-get install docker.io busybox-static, as root",
    ),
    "chromium": Tool(lambda: browser() is not None, "apt-get install chromium-headless-shell"),
    "postgres": Tool(on_path("postgres", "pg_ctlcluster"), "apt-get install postgresql"),
    "go": Tool(lambda: go() is not None, "the Go toolchain from go.dev/dl"),
    "crewai": Tool(Path(".venv-crewai/ready").exists, "make crewai"),
}


@functools.cache
def missing(name: str) -> str | None:
    """Why tests that require it are skipped here, None when it works; each tool is tried once a session."""
    if name not in TOOLS:
        raise LookupError(f"no tool named {name!r}: tests/machine.py knows {', '.join(sorted(TOOLS))}")
    tool = TOOLS[name]
    return None if tool.works() else f"needs {name} ({tool.remedy})"
