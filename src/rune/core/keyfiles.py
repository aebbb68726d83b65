"""Files that hold a private key: nobody but their owner may read them, or they are not used."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from rune.errors import FailedPrecondition

OTHERS = 0o077
LARGEST = 1 << 20


def read_private(path: Path, what: str) -> bytes:
    """The file's bytes; raises FailedPrecondition when it is not there, or when others may read it."""
    try:
        with path.open("rb") as file:
            mode, data = stat.S_IMODE(os.fstat(file.fileno()).st_mode), file.read(LARGEST)
    except OSError as error:
        raise FailedPrecondition(f"{what} {path} cannot be read: {error.strerror}") from error
    if mode & OTHERS:
        raise FailedPrecondition(
            f"others may read {what} {path} (mode {mode:04o}): run `chmod 600 {path}` first"
        )
    return data


def read_public(path: Path, what: str) -> bytes:
    """The bytes of a file that anybody may read; raises FailedPrecondition when it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(LARGEST)
    except OSError as error:
        raise FailedPrecondition(f"{what} {path} cannot be read: {error.strerror}") from error


def write_private(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Put the whole file there in one step, for its owner alone from the first byte."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
