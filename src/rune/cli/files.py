"""Files for `rune cast` and `rune lint`: found, read, and everything wrong with them said at once."""

from __future__ import annotations

import glob
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rune.errors import InvalidArgument
from rune.manifest.documents import Item, read
from rune.positions.spots import Malformed, Problem, Spot
from rune.positions.tree import FILES

SUFFIXES = (".yaml", ".yml")
MOST_FILES = 10_000


def items_of(names: Sequence[str]) -> tuple[list[Item], list[Problem], int]:
    """What the files declare, what is wrong with them, and how many files there are."""
    items: list[Item] = []
    problems: list[Problem] = []
    count = 0
    for name in files(names):
        count += 1
        try:
            items += read(_text(name), name="<stdin>" if name == "-" else name)
        except Malformed as error:
            problems += error.problems
    return items, problems, count


def files(names: Iterable[str]) -> Iterator[str]:
    """Every file behind the names: files, folders (searched through), patterns, `-` for stdin."""
    seen: set[str] = set()
    for name in names:
        for path in _expanded(name):
            if path not in seen:
                seen.add(path)
                yield path
            if len(seen) > MOST_FILES:
                raise InvalidArgument(f"there are more than {MOST_FILES} files")


def _expanded(name: str) -> list[str]:
    path = Path(name)
    if name == "-" or path.is_file():
        return [name]
    if path.is_dir():
        found = sorted(str(file) for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file())
        if not found:
            raise InvalidArgument(f"there is no .yaml or .yml file in the folder {name}")
        return found
    found = sorted(glob.glob(name, recursive=True))  # noqa: PTH207 - the pattern may be absolute
    matched = [file for file in found if Path(file).is_file()]
    if not matched:
        what = "no file matches" if glob.has_magic(name) else "there is no file or folder"
        raise InvalidArgument(f"{what} {name}")
    return matched


def _text(name: str) -> str:
    try:
        if name == "-":
            data = sys.stdin.buffer.read(FILES.size + 1)
        else:
            with Path(name).open("rb") as file:
                data = file.read(FILES.size + 1)
        return data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else f"it is not UTF-8 ({error.reason})"
        raise Malformed([Problem(Spot(name, 1, 1), f"cannot be read: {why}")]) from error
