"""Undelivered batches on disk: one file each, for its owner only, bounded, the oldest dropped first.

Processes may share a folder: a batch that two of them send is stored once, by the ids of its events.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path

from rune.shield.faults import logger

MAX_FILES = 10_000
SUFFIX = ".jsonl"
ABANDONED = 600_000
"""Milliseconds after which the draft of a batch is one that nobody finishes."""


class Spool:
    """A folder of batches, oldest first by name. Its methods may raise OSError."""

    def __init__(self, folder: str, max_bytes: int, milliseconds: Callable[[], int]) -> None:
        self._folder = Path(folder)
        self._max_bytes = max_bytes
        self._milliseconds = milliseconds
        self._numbers = count()
        self._passed_over: set[Path] = set()
        """Batches that cannot be read or removed here: they must not stand before the others for ever."""

    def save(self, events: Sequence[bytes]) -> int:
        """Keeps a batch across restarts; returns how many older events were dropped to make room."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        data = b"\n".join(events)
        dropped = self._make_room(len(data))
        # Containers that share a folder have the same process ids.
        mark = f"{os.getpid()}-{next(self._numbers)}-{os.urandom(4).hex()}"
        name = f"{self._milliseconds():015d}-{mark}-{len(events)}{SUFFIX}"
        draft = self._folder / f".{name}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        try:
            with open(os.open(draft, flags, 0o600), "wb") as file:  # noqa: PTH123 - modes and flags need the kernel's call
                file.write(data)
            draft.rename(self._folder / name)
        except OSError:
            draft.unlink(missing_ok=True)  # a full disk is not made fuller
            raise
        return dropped

    def oldest(self) -> tuple[Path, list[bytes]] | None:
        """The batch that has waited longest, left where it is until `remove`."""
        for path in self._files():
            try:
                return path, path.read_bytes().split(b"\n")
            except FileNotFoundError:
                continue  # another process was quicker
            except PermissionError:
                self._passed_over.add(path)  # another user's
        return None

    def remove(self, path: Path) -> None:
        """Forgets a batch; one that is gone already is fine, one that must stay is passed over."""
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            self._passed_over.add(path)
            logger.warning("a batch of the event spool cannot be removed: %s", error.strerror)

    def _files(self) -> list[Path]:
        if not self._folder.is_dir():
            return []
        found = {p for p in self._folder.iterdir() if p.suffix == SUFFIX and p.name[0] != "."}
        return sorted(found - self._passed_over)

    def _sizes(self) -> list[tuple[Path, int]]:
        found: list[tuple[Path, int]] = []
        for path in self._files():
            with suppress(FileNotFoundError):  # another process was quicker
                found.append((path, path.stat().st_size))
        return found

    def _make_room(self, size: int) -> int:
        self._clear_drafts()
        files = self._sizes()
        used, dropped = sum(each for _, each in files) + size, 0
        for place, (path, each) in enumerate(files):
            if used <= self._max_bytes and len(files) - place < MAX_FILES:
                break
            self.remove(path)
            used -= each
            told = path.stem.rpartition("-")[2]
            dropped += int(told) if told.isdecimal() else 1
        return dropped

    def _clear_drafts(self) -> None:
        """Removes what a process left that died in the middle of a write."""
        for draft in self._folder.glob(f".*{SUFFIX}"):
            began = draft.name[1:].partition("-")[0]
            if began.isdecimal() and int(began) < self._milliseconds() - ABANDONED:
                self.remove(draft)
