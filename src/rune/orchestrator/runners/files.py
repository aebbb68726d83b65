"""Shelf: the files that workloads find in folders of their own, laid out on this machine by runners.

A folder's files hang on one link, `..data`, which leads to the folder of the moment: a change is a new folder
and one rename, so a reader sees all of the old files or all of the new ones, even while it runs. Names that
begin with two dots are ours. Folders belong to runed, so that a workload cannot lead it astray with links.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from rune.errors import FailedPrecondition
from rune.orchestrator.runners.base import Files

DATA: Final = "..data"
TMPFS: Final = ("/run", "/dev/shm")  # noqa: S108 - we make a folder of our own there, or do without
"""Where memory is mounted on most machines, the better place first."""


class Owner(NamedTuple):
    """Whose the files are; -1 is runed itself."""

    uid: int = -1
    gid: int = -1
    is_contained: bool = False
    """Only what a container can see of the host keeps others out: its users are not those of the host."""


class Shelf:
    """A folder with one folder for each instance. Its methods block: call them in a thread."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, instance: str) -> Path:
        """Where the files of an instance are."""
        return self.root / instance

    def lay(self, instance: str, files: Sequence[Files], owner: Owner) -> Mapping[str, Path]:
        """Bring the files up to date; returns where each target is. Raises FailedPrecondition."""
        try:
            self._make_root()
            home = self.folder(instance)
            _folder(home, 0o700 if owner.is_contained else _mode(owner), owner)
            return {each.target: _laid(home, each, owner) for each in files}
        except OSError as error:
            what = f"{error.filename or self.root}: {os.strerror(error.errno or 0)}"
            raise FailedPrecondition(f"the mounted files cannot be written: {what}") from error

    def remove(self, instance: str) -> None:
        """Delete the files of an instance; none there: fine."""
        shutil.rmtree(self.folder(instance), ignore_errors=True)

    def clear(self) -> None:
        """Delete everything."""
        shutil.rmtree(self.root, ignore_errors=True)

    def _make_root(self) -> None:
        for folder in (self.root.parent, self.root):
            with suppress(FileExistsError):
                folder.mkdir(mode=0o711)
                folder.chmod(0o711)


def place(data: Path, *, is_root: bool) -> Path:
    """Where a server keeps mounted files: in memory where it is root, else below its data folder.

    The memory of a user's session (`/run/user`) will not do: it goes when the user logs out; workloads stay.
    """
    name = sha256(str(data.absolute()).encode()).hexdigest()[:16]
    for mount in TMPFS if is_root else ():
        if _is_tmpfs(mount) and _is_ours(Path(mount) / "rune"):
            return Path(mount) / "rune" / name
    return data / "mounts"


def _is_tmpfs(path: str) -> bool:
    try:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    kinds = [words[2] for line in lines if len(words := line.split()) > 2 and words[1] == path]  # noqa: PLR2004 - device, place, kind
    return bool(kinds) and kinds[-1] == "tmpfs"


def _is_ours(folder: Path) -> bool:
    """It is, or can be made, a folder that only we write to: anybody may have been there before us."""
    try:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o711)
        seen = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(seen.st_mode) and seen.st_uid == os.geteuid() and not seen.st_mode & 0o022


def _laid(home: Path, files: Files, owner: Owner) -> Path:
    """The folder of one target, with the files of the moment."""
    target = home
    for part in PurePosixPath(files.target.strip("/")).parts:
        target /= part
        _folder(target, _mode(owner), owner)
    if not (target / DATA).is_dir() or not _is_current(target, files.content):
        _swap(target, files, owner)
    _relink(target, {PurePosixPath(path).parts[0] for path in files.content})
    for left in _left(target, os.readlink(target / DATA)):
        shutil.rmtree(left, ignore_errors=True)
    return target


def _is_current(target: Path, wanted: Mapping[str, bytes]) -> bool:
    data = target / DATA
    found = {path.relative_to(data).as_posix() for path in data.rglob("*") if path.is_file()}
    return found == set(wanted) and all(_holds(data / path, content) for path, content in wanted.items())


def _holds(path: Path, content: bytes) -> bool:
    """The workload may have written to its file, and as much as it liked."""
    with path.open("rb") as file:
        return file.read(len(content) + 1) == content


def _swap(target: Path, files: Files, owner: Owner) -> None:
    fresh = target / f"..{secrets.token_hex(8)}"
    _folder(fresh, _mode(owner), owner)
    for path, content in files.content.items():
        for folder in reversed([*PurePosixPath(path).parents][:-1]):
            _folder(fresh / folder, _mode(owner), owner)
        _file(fresh / path, content, mode=0o400 if files.is_secret else 0o444, owner=owner)
    link = target / f"{DATA}.new"
    link.unlink(missing_ok=True)
    link.symlink_to(fresh.name)
    link.rename(target / DATA)


def _relink(target: Path, names: set[str]) -> None:
    """What readers see: a link through `..data` for each name, and none for what is gone."""
    there = {entry.name for entry in target.iterdir() if not entry.name.startswith("..")}
    for name in names - there:
        (target / name).symlink_to(f"{DATA}/{name}")
    for name in there - names:
        if (target / name).is_symlink():  # a folder is the way to another target
            (target / name).unlink()


def _left(target: Path, current: str) -> Iterator[Path]:
    """The folder of before, and what a crash left in the middle of a change."""
    for entry in target.iterdir():
        if entry.name.startswith("..") and entry.name != current and not entry.is_symlink():
            yield entry


def _mode(owner: Owner) -> int:
    if owner.is_contained:
        return 0o755
    return 0o700 if owner.uid < 0 else 0o750


def _folder(path: Path, mode: int, owner: Owner) -> None:
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        return
    if owner.gid >= 0 and not owner.is_contained:
        os.chown(path, -1, owner.gid)
    path.chmod(mode)


def _file(path: Path, content: bytes, *, mode: int, owner: Owner) -> None:
    """Nobody but its owner can open it, from its first byte on."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o400)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        if owner.uid >= 0 and os.geteuid() == 0:
            os.fchown(descriptor, owner.uid, owner.gid)
        elif owner.is_contained:
            mode = 0o444  # its user is the image's to choose; on the host the folder above is shut
        os.fchmod(descriptor, mode)
