"""What `rune cast`, `rune lint` and `rune deps` are given: files, folders, patterns, stdin and runesets."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

from rune.errors import InvalidArgument
from rune.manifest.documents import Item, read
from rune.positions.spots import Malformed, Problem, Spot
from rune.positions.tree import FILES

if TYPE_CHECKING:
    from pathlib import Path

SUFFIXES = (".yaml", ".yml")
ARCHIVES = (".tgz", ".tar.gz")
REMOTE = ("https://", "http://", "git+")
MOST_FILES = 10_000
MANIFEST = "runeset.yaml"


class Found(msgspec.Struct):
    """What files and runesets declare, and what is wrong with them."""

    items: list[Item] = []
    problems: list[Problem] = []
    count: int = 0
    """How many files were read; a runeset's templates count each."""
    hints: list[Problem] = []
    """What is no mistake, and probably not meant."""
    shown: list[tuple[str, str]] = []
    """The text of each file by its name, without what is sensitive."""


def add_file(found: Found, name: str) -> None:
    """Read a file of resources."""
    found.count += 1
    shown = "<stdin>" if name == "-" else name
    try:
        text = _text(name)
        found.shown.append((shown, text))
        found.items += read(text, name=shown)
    except Malformed as error:
        found.problems += error.problems


def sources(names: Iterable[str], *, is_recursive: bool) -> Iterator[str]:
    """Every file and runeset behind the names, each once."""
    seen: set[str] = set()
    for name in names:
        for path in _expanded(name, is_recursive=is_recursive):
            if path not in seen:
                seen.add(path)
                yield path
            if len(seen) > MOST_FILES:
                raise InvalidArgument(f"there are more than {MOST_FILES} files")


def is_runeset(name: str) -> bool:
    """It is a runeset's folder, archive or address, not a file of resources."""
    return name.startswith(REMOTE) or name.endswith(ARCHIVES) or os.path.isfile(f"{name}/{MANIFEST}")  # noqa: PTH113 - pathlib takes 4 ms to import


def _expanded(name: str, *, is_recursive: bool) -> list[str]:
    if name == "-" or name.startswith(REMOTE) or _is_there(name):
        return [name]
    import glob  # noqa: PLC0415 - the plain file above does without
    from pathlib import Path  # noqa: PLC0415 - as above, 4 ms

    if Path(name).is_dir():
        return _folder(Path(name), is_recursive=is_recursive)
    found = sorted(glob.glob(name, recursive=True))  # noqa: PTH207 - the pattern may be absolute
    matched = [file for file in found if Path(file).is_file() or is_runeset(file)]
    if not matched:
        what = "no file matches" if glob.has_magic(name) else "there is no file or folder"
        raise InvalidArgument(f"{what} {name}")
    return matched


def _is_there(name: str) -> bool:
    """A file, or a pipe or a device that can be read like one."""
    return os.path.exists(name) and not os.path.isdir(name)  # noqa: PTH110, PTH112 - pathlib takes 4 ms to import


def _folder(path: Path, *, is_recursive: bool) -> list[str]:
    """The folder's files, or the folder itself where it is a runeset."""
    if (path / MANIFEST).is_file():
        return [str(path)]
    found: list[str] = []
    for entry in sorted(path.iterdir()):
        if entry.is_file() and entry.suffix in SUFFIXES:
            found.append(str(entry))
        elif is_recursive and entry.is_dir() and not entry.is_symlink():
            found += _folder(entry, is_recursive=True) if _has_files(entry) else []
    if not found:
        deeper = not is_recursive and _has_files(path)
        hint = "; -R looks into the folders inside of it" if deeper else ""
        raise InvalidArgument(f"there is no .yaml or .yml file in the folder {path}{hint}")
    return found


def _has_files(path: Path) -> bool:
    return any(file.suffix in SUFFIXES and file.is_file() for file in path.rglob("*"))


def _text(name: str) -> str:
    try:
        data = content(name, most=FILES.size)
        return data.decode("utf-8-sig")
    except (InvalidArgument, UnicodeDecodeError) as error:
        why = error.message if isinstance(error, InvalidArgument) else f"it is not UTF-8 ({error.reason})"
        raise Malformed([Problem(Spot(name, 1, 1), f"cannot be read: {why}")]) from error


def content(name: str, *, most: int) -> bytes:
    """The bytes of a file, or of stdin for `-`; raises InvalidArgument with the reason."""
    try:
        if name == "-":
            data = sys.stdin.buffer.read(most + 1)
        else:
            with open(name, "rb") as file:  # noqa: PTH123 - as above
                data = file.read(most + 1)
    except OSError as error:
        raise InvalidArgument(error.strerror or "it cannot be read") from error
    if len(data) > most:
        raise InvalidArgument(f"it is larger than {most >> 20} MiB")
    return data
