"""A runeset as files in memory: from a folder, from an archive, and into one.

An archive is never unpacked to disk, so nothing in it can escape; what tries to is refused all the same.
Archives that we write are the same bytes for the same files, on every machine: sorted, without times and
owners, and stored rather than compressed, since compressors differ.
"""

from __future__ import annotations

import hashlib
import io
import struct
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from rune.errors import InvalidArgument

Files = Mapping[str, bytes]
"""Content by path, with slashes, from the runeset's own folder."""

MANIFEST = "runeset.yaml"
SUFFIX = ".runeset.tgz"
MOST_FILES = 1_000
MOST_FILE = 4 << 20
MOST_TOTAL = 16 << 20
MOST_ARCHIVE = 16 << 20
MOST_RATIO = 200
"""How many times larger than itself an archive may become; text rarely passes 20."""
_SMALL = 1 << 20
"""Below this size no ratio is looked at."""
_BLOCK = 65_535
_LONGEST_PATH = 200


class Unsafe(InvalidArgument):
    """An archive holds what no runeset needs."""


def checksum(data: bytes) -> str:
    """The archive's name for itself, `sha256:` and 64 digits."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def from_folder(folder: Path) -> Files:
    """The files of a folder; hidden ones and packed runesets are left out, links are refused."""
    found: dict[str, bytes] = {}
    total = 0
    for path in _walk(folder):
        if len(found) >= MOST_FILES:
            raise InvalidArgument(f"{folder} has more than {MOST_FILES} files")
        try:
            with path.open("rb") as file:
                data = file.read(MOST_FILE + 1)
        except OSError as error:
            raise InvalidArgument(f"{path} cannot be read: {error.strerror}") from error
        total += len(data)
        name = path.relative_to(folder).as_posix()
        _bounded(name, len(data), total)
        found[name] = data
    return found


def _walk(folder: Path) -> Iterator[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise InvalidArgument(f"{folder} cannot be read: {error.strerror}") from error
    for path in entries:
        if path.name.startswith(".") or path.name.endswith((SUFFIX, f"{SUFFIX}.sha256")):
            continue
        if path.is_symlink():
            raise Unsafe(f"{path} is a link; a runeset holds files alone")
        if path.is_dir():
            yield from _walk(path)
        elif path.is_file():
            yield path
        else:
            raise Unsafe(f"{path} is no file")


def pack(files: Files) -> bytes:
    """The archive of the files."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in sorted(files):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(files[name]), 0o644, 0
            tar.addfile(entry, io.BytesIO(files[name]))
    return _stored(plain.getvalue())


def _stored(data: bytes) -> bytes:
    """The data as gzip in stored blocks."""
    parts = [b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"]
    for at in range(0, len(data), _BLOCK):
        block = data[at : at + _BLOCK]
        is_last = at + _BLOCK >= len(data)
        parts += [struct.pack("<BHH", is_last, len(block), len(block) ^ 0xFFFF), block]
    parts.append(struct.pack("<II", zlib.crc32(data), len(data) & 0xFFFFFFFF))
    return b"".join(parts)


def unpack(data: bytes, *, name: str) -> Files:
    """The files of a `.tgz`; raises Unsafe for what could harm, InvalidArgument for what is no archive."""
    if len(data) > MOST_ARCHIVE:
        raise Unsafe(f"{name} is larger than {MOST_ARCHIVE >> 20} MiB")
    return from_tar(_inflated(data, name), name=name)


def _inflated(data: bytes, name: str) -> bytes:
    most = min(MOST_TOTAL * 2, max(len(data) * MOST_RATIO, _SMALL))
    stream = zlib.decompressobj(wbits=31)
    try:
        plain = stream.decompress(data, most + 1)
    except zlib.error as error:
        raise InvalidArgument(f"{name} is no .tgz archive") from error
    if len(plain) > most:
        raise Unsafe(f"{name} becomes more than {most >> 20} MiB when it is unpacked")
    if not stream.eof:
        raise InvalidArgument(f"{name} is cut off")
    return plain


def from_tar(data: bytes, *, name: str) -> Files:
    """The files of a tar archive, as unpack has it."""
    found: dict[str, bytes] = {}
    total = count = 0
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            for entry in tar:
                count += 1
                if count > MOST_FILES:
                    raise Unsafe(f"{name} has more than {MOST_FILES} entries")
                path = _safe(entry, name)
                if not path:
                    continue
                total += entry.size
                _bounded(path, entry.size, total)
                content = tar.extractfile(entry)
                if path in found or content is None:
                    raise Unsafe(f"{name} holds {path!r} twice")
                found[path] = content.read()
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        raise InvalidArgument(f"{name} is no archive of a runeset: it cannot be read") from error
    return _without_top(found)


def _safe(entry: tarfile.TarInfo, name: str) -> str:
    """The entry's path when it is a file, nothing for a folder; everything else is refused."""
    shown = repr(entry.name[:100])
    if entry.type in (tarfile.XGLTYPE, tarfile.XHDTYPE):
        return ""
    if entry.issym() or entry.islnk():
        raise Unsafe(f"{name}: {shown} is a link; a runeset holds files alone")
    if not (entry.isfile() or entry.isdir()) or entry.issparse():
        raise Unsafe(f"{name}: {shown} is a device or something else that is no file")
    parts = entry.name.split("/")
    if entry.name.startswith("/") or ".." in parts or "\\" in entry.name or not entry.name.isprintable():
        raise Unsafe(f"{name}: {shown} leaves the archive's own folder")
    if len(entry.name) > _LONGEST_PATH:
        raise Unsafe(f"{name}: {shown} is longer than {_LONGEST_PATH} characters")
    path = PurePosixPath(entry.name).as_posix()
    return "" if entry.isdir() or path == "." else path


def _bounded(path: str, size: int, total: int) -> None:
    if size > MOST_FILE:
        raise Unsafe(f"{path} is larger than {MOST_FILE >> 20} MiB")
    if total > MOST_TOTAL:
        raise Unsafe(f"the files are larger than {MOST_TOTAL >> 20} MiB together")


def _without_top(files: dict[str, bytes]) -> Files:
    """Archives often hold one folder with everything in it: that folder is the runeset then."""
    tops = {path.partition("/")[0] for path in files}
    if MANIFEST in files or len(tops) != 1:
        return files
    (top,) = tops
    return {path.removeprefix(f"{top}/"): data for path, data in files.items()}
