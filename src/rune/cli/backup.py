"""`rune admin backup` and `restore`: everything that a server keeps, as one file."""

from __future__ import annotations

import os
from contextlib import aclosing, suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rune.api.orchestrator import backup as api
from rune.cli.confirm import confirm
from rune.cli.connect import connected
from rune.cli.state import State
from rune.core.clock import SystemClock
from rune.errors import FailedPrecondition, InvalidArgument, Unavailable

if TYPE_CHECKING:
    from rune.client.client import Client


@click.command(epilog="Example: rune admin backup rune-$(date +%F).db")
@click.argument("file")
@click.pass_obj
def backup(state: State, file: str) -> None:
    """Copy everything that the server keeps into a new file, while it goes on working.

    The file holds no key: keep those of the data folder elsewhere (audit.key, and the one of secrets).
    """
    if Path(file).exists():
        raise InvalidArgument(f"{file} exists: name another file")
    part = Path(f"{file}.part")
    try:
        size = connected(state, lambda client: _fetched(client, part))
        part.rename(file)
    finally:
        with suppress(FileNotFoundError):
            part.unlink()
    click.echo(f"{file}: {size} bytes; next, after a loss: rune admin restore {file} --data-dir FOLDER")


async def _fetched(client: Client, part: Path) -> int:
    """The size of the copy, once it is whole on the disk; raises Unavailable for one that is not."""
    digest, size, last = sha256(), 0, api.BackupResponse()
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise InvalidArgument(f"{part} cannot be written: {error.strerror}") from error
    with os.fdopen(descriptor, "wb") as out:
        async with aclosing(client.stream(api.create, api.BackupRequest())) as pieces:
            async for piece in pieces:
                out.write(piece.data)
                digest.update(piece.data)
                size += len(piece.data)
                last = piece
        out.flush()
        os.fsync(out.fileno())
    if (last.size, last.sha256) != (size, digest.hexdigest()):
        raise Unavailable("the copy arrived damaged, and was removed: try again")
    return size


@click.command(epilog="Example: rune admin restore rune-2026-01-31.db --data-dir /var/lib/rune")
@click.argument("file")
@click.option("--data-dir", required=True, metavar="FOLDER", help="The folder of a runed that does not run.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def restore(file: str, data_dir: str, *, yes: bool) -> None:
    """Have runed begin with a backup; what is in the folder is kept beside it.

    The file is checked first: that it is whole, that this version can read it, and its audit log.
    """
    from rune.core import auditfile  # noqa: PLC0415 - a backup does without
    from rune.core.store import copies  # noqa: PLC0415 - as above

    source, store = Path(file), Path(data_dir) / "state.db"
    if not source.is_file():
        raise InvalidArgument(f"{file} is not there")
    copies.check(source)
    report = auditfile.of_store(source)
    if report.problem:
        raise FailedPrecondition(f"the audit log in {file} is broken: {report.problem}")
    if store.exists():
        confirm(f"the state in {data_dir}, in favour of {file} (the old one is kept beside it)", yes=yes)
    moment = f"{SystemClock().now():%Y%m%dT%H%M%S}"
    aside = store.with_name(f"state.db.before-{moment}")
    copies.put_in_place(source, store, aside=aside)
    click.echo(f"{store} is that of {file}, with {report.entries} entries in its audit log")
    if aside.exists():
        click.echo(f"what was there before is {aside}")
    click.echo("next: start runed", err=True)
