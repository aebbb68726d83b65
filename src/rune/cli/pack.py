"""`rune pack`: a runeset's folder becomes one file, the same bytes wherever it is packed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import click

from rune.cli.sources import files_of
from rune.errors import InvalidArgument
from rune.manifest.runesets import archive
from rune.manifest.runesets.rendering import load


@click.command(epilog="Example: rune pack web/ -o dist/web.runeset.tgz --sha256")
@click.argument("folder", metavar="DIR")
@click.option(
    "-o", "--output", metavar="FILE", default="", help="Where to; NAME-VERSION.runeset.tgz unless given."
)
@click.option("--sha256", is_flag=True, help="Write FILE.sha256 as well, for sha256sum --check.")
def pack(folder: str, *, output: str, sha256: bool) -> None:
    """Check a runeset and pack it into an archive; prints its checksum for `rune cast --checksum`."""
    if not Path(folder).is_dir():
        raise InvalidArgument(f"{folder} is no folder")
    files, origin = files_of(folder)
    about = load(files, origin=origin).metadata
    target = Path(output or f"{about.name}-{_plain(about.version)}{archive.SUFFIX}")
    data = archive.pack(files)
    archive.unpack(data, name=str(target))
    checksum = archive.checksum(data)
    _write(target, data)
    if sha256:
        line = f"{checksum.removeprefix('sha256:')}  {target.name}\n"
        _write(target.with_name(f"{target.name}.sha256"), line.encode())
    click.echo(f"{target} {checksum}")


def _plain(version: str) -> str:
    return "".join(char if char.isalnum() or char in ".-_+" else "-" for char in version)[:64]


def _write(path: Path, data: bytes) -> None:
    """All of it, or nothing."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            file.write(data)
        Path(file.name).chmod(0o644)
        os.replace(file.name, path)  # noqa: PTH105 - as atomic writes are spelled everywhere
    except OSError as error:
        raise InvalidArgument(f"{path} cannot be written: {error.strerror}") from error
