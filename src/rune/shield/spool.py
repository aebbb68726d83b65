"""Undelivered batches on disk: one file each, for its owner only, bounded, the oldest dropped first.

Processes may share a folder: a batch that two of them send is stored once, by the ids of its events.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

MAX_FILES = 10_000
SUFFIX = ".jsonl"


class Spool:
    """A folder of batches, oldest first by name. Its methods may raise OSError."""

    def __init__(self, folder: str, max_bytes: int, milliseconds: Callable[[], int]) -> None:
        self._folder = Path(folder)
        self._max_bytes = max_bytes
        self._milliseconds = milliseconds
        self._numbers = count()

    def save(self, events: Sequence[bytes]) -> int:
        """Keeps a batch across restarts; returns how many older events were dropped to make room."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        data = b"\n".join(events)
        dropped = self._make_room(len(data))
        name = f"{self._milliseconds():015d}-{os.getpid()}-{next(self._numbers)}-{len(events)}{SUFFIX}"
        draft = self._folder / f".{name}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        with open(os.open(draft, flags, 0o600), "wb") as file:  # noqa: PTH123 - modes and flags need the kernel's call
            file.write(data)
        draft.rename(self._folder / name)
        return dropped

    def oldest(self) -> tuple[Path, list[bytes]] | None:
        """The batch that has waited longest, left where it is until `remove`."""
        for path in self._files():
            try:
                return path, path.read_bytes().split(b"\n")
            except FileNotFoundError:
                continue  # another process was quicker
        return None

    def remove(self, path: Path) -> None:
        """Forgets a batch; one that is gone already is fine."""
        path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        if not self._folder.is_dir():
            return []
        return sorted(p for p in self._folder.iterdir() if p.suffix == SUFFIX and p.name[0] != ".")

    def _make_room(self, size: int) -> int:
        files = [(path, path.stat().st_size) for path in self._files() if path.exists()]
        used, dropped = sum(each for _, each in files) + size, 0
        for place, (path, each) in enumerate(files):
            if used <= self._max_bytes and len(files) - place < MAX_FILES:
                break
            self.remove(path)
            used -= each
            dropped += int(path.stem.rpartition("-")[2])
        return dropped
