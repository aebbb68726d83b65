"""Texts for `rune scan`: of files, folders and stdin, in pieces, so that no file is ever held whole."""

from __future__ import annotations

import codecs
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from rune.errors import InvalidArgument

PIECE = 1 << 20
"""Bytes that are read at once."""
OVERLAP = 4_000
"""Characters of a piece that are read again with the next, for what lies on the border."""
SNIFFED = 8_192
MOST_FILES = 1_000_000
GIT_SECONDS = 60
SKIPPED_FOLDERS = frozenset({".git", ".hg", ".svn", ".venv", "node_modules", "__pycache__"})


class Piece(NamedTuple):
    """A stretch of a text; `line` and `column` are where it begins, both from 1."""

    text: str
    line: int
    column: int

    def place(self, offset: int) -> tuple[int, int]:
        """The line and column of a character of it."""
        before = self.text.count("\n", 0, offset)
        if not before:
            return self.line, self.column + offset
        return self.line + before, offset - self.text.rfind("\n", 0, offset)


def files(target: str, *, ignore: bool) -> list[Path]:
    """The files behind a name, sorted; of a folder in a git work tree those that git does not ignore."""
    root = Path(target)
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise InvalidArgument(f"there is no file or folder {target}")
    found = _of_git(root) if ignore else None
    if found is None:
        found = sorted(_walked(root, all_of_it=not ignore))
    if len(found) > MOST_FILES:
        raise InvalidArgument(f"{target} has more than {MOST_FILES} files; scan its folders one by one")
    return found


def _of_git(root: Path) -> list[Path] | None:
    """None where there is no git, or no work tree of its own."""
    if shutil.which("git") is None:
        return None
    # A work tree that somebody else made must not choose programs for us to run.
    careful = ["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"]
    command = [
        "git",
        *careful,
        "-C",
        str(root),
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]
    try:
        done = subprocess.run(command, capture_output=True, timeout=GIT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode:
        return None
    names = {os.fsdecode(name) for name in done.stdout.split(b"\0") if name}
    return sorted(
        path for path in (root / name for name in names) if path.is_file() and not path.is_symlink()
    )


def _walked(root: Path, *, all_of_it: bool) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        if not all_of_it:
            folders[:] = [name for name in folders if name not in SKIPPED_FOLDERS]
        for name in names:
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                yield path


def pieces_of(path: Path) -> Iterator[Piece]:
    """A file piece by piece; nothing of one that is no text. Raises OSError."""
    with path.open("rb") as file:
        yield from _pieces(file)


def pieces_of_stdin() -> Iterator[Piece]:
    """What comes on stdin, piece by piece."""
    yield from _pieces(sys.stdin.buffer)


def _pieces(file: BinaryIO) -> Iterator[Piece]:
    first = file.read(PIECE)
    if b"\0" in first[:SNIFFED] and not first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return
    decoder = codecs.getincrementaldecoder(_encoding(first))("replace")
    piece, data = Piece("", 1, 1), first
    while True:
        text = piece.text + decoder.decode(data, final=not data)
        piece = piece._replace(text=text)
        following = file.read(PIECE) if data else b""
        if text:
            yield piece
        if not following:
            rest = decoder.decode(b"", final=True) if data else ""
            if rest:
                yield piece._replace(text=text + rest)
            return
        cut = max(len(text) - OVERLAP, 0)
        piece, data = Piece(text[cut:], *piece.place(cut)), following


def _encoding(first: bytes) -> str:
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return "utf-8-sig"
