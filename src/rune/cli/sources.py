"""Where a runeset comes from: a folder, an archive, an https address or a git repository.

A checksum names the archive's own bytes. A folder and a git reference have none, so theirs is that of the
archive that `rune pack` makes of the same files: it is the same wherever they come from.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from rune.cli.files import content
from rune.errors import FailedPrecondition, InvalidArgument
from rune.manifest.runesets import archive
from rune.manifest.runesets.archive import Files

_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}")


class OtherChecksum(FailedPrecondition):
    """A runeset is not the one whose checksum was given."""


def files_of(source: str, *, checksum: str = "") -> tuple[Files, str]:
    """The runeset's files, and what it is called in messages; refused when the checksum is another."""
    wanted = checksum.strip().lower()
    if checksum and not _CHECKSUM.fullmatch(wanted):
        raise InvalidArgument("--checksum is sha256: and 64 hexadecimal digits, as `rune pack` prints it")
    if source.startswith("git+"):
        from rune.cli.git import files_of_git  # noqa: PLC0415 - the other sources do without

        files, name = files_of_git(source)
        _verify(wanted, lambda: archive.pack(files), name)
        return files, name
    if source.startswith(("https://", "http://")):
        from rune.cli.download import download  # noqa: PLC0415 - as above

        data, name = download(source)
    elif Path(source).is_dir():
        files = archive.from_folder(Path(source))
        _verify(wanted, lambda: archive.pack(files), source)
        return files, source.rstrip("/")
    else:
        data, name = _read(source), source
    _verify(wanted, lambda: data, name)
    return archive.unpack(data, name=name), name


def _read(path: str) -> bytes:
    try:
        return content(path, most=archive.MOST_ARCHIVE)
    except InvalidArgument as error:
        raise InvalidArgument(f"{path} cannot be read: {error.message}") from error


def _verify(wanted: str, data: Callable[[], bytes], name: str) -> None:
    """Refuse before anything is unpacked."""
    if wanted and (found := archive.checksum(data())) != wanted:
        raise OtherChecksum(f"{name} has the checksum {found}, and {wanted} was asked for: nothing is done")
