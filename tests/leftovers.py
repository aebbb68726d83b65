"""Finds what a test left behind: threads, children of this process, temporary files, stray daemons."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path

import psutil

DEADLINE = 2.0
"""Seconds that what is ending anyway gets to end; a test that leaves nothing waits for none of them."""

STAYS = ("_poll_wrapper", "channel_spin")
"""Parts of the names of threads that grpc keeps for the whole process by design."""

KEPT = "multiprocessing.resource_tracker"
"""The one child that Python itself keeps until the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was there at one moment."""

    threads: frozenset[threading.Thread]
    children: frozenset[int]
    files: frozenset[str]


def look(folder: Path) -> Found:
    """What is there now; cheap enough to be done around every test."""
    return Found(
        threads=frozenset(threading.enumerate()),
        children=frozenset(children()),
        files=frozenset(path.name for path in folder.iterdir()),
    )


def children() -> set[int]:
    """Processes this one started and has not waited for; the kernel's own list, quicker than all of /proc."""
    found: set[int] = set()
    for task in Path("/proc/self/task").glob("*/children"):
        try:
            found.update(map(int, task.read_text(encoding="ascii").split()))
        except FileNotFoundError:
            continue  # that thread has just ended
    return found


def since(before: Found, folder: Path) -> list[str]:
    """What is there now and was not before. New children are killed, lest one test fails the next."""
    left = [f"thread {thread.name}" for thread in new_threads(before)]
    for pid in children() - before.children:
        left += ended(pid)
    left += [f"file {path}" for path in folder.iterdir() if path.name not in before.files]
    return left


def new_threads(before: Found) -> list[threading.Thread]:
    """Threads that do not end within the deadline."""
    fresh = [thread for thread in threading.enumerate() if thread not in before.threads]
    meant = [thread for thread in fresh if not any(part in thread.name for part in STAYS)]
    for thread in meant:
        thread.join(DEADLINE / len(meant))
    return [thread for thread in meant if thread.is_alive()]


def ended(pid: int) -> list[str]:
    """Kills a child and says what it was; nothing for one that is gone already or that Python keeps."""
    try:
        child = psutil.Process(pid)
        command = " ".join(child.cmdline()) or child.name()
        if KEPT in command:
            return []
        child.kill()
        child.wait(DEADLINE)
    except psutil.NoSuchProcess:
        return []
    return [f"process {pid} ({command[:120]})"]


def end_strays(*folders: str) -> list[str]:
    """Kills processes that still name one of the folders, also those that are nobody's child any more."""
    strays: list[str] = []
    spared = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    for process in psutil.process_iter():
        if process.pid in spared:
            continue
        try:
            command = " ".join(process.cmdline())
            traces = f"{command} {process.environ().get('TMPDIR', '')} "
        except psutil.Error:
            continue  # it ended while we looked, or belongs to somebody else
        if any(f"{folder}/" in traces or f"{folder} " in traces for folder in folders):
            strays.append(f"{process.pid} ({command[:120]})")
            process.kill()
    return strays
