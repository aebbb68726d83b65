"""`rune admin audit verify` and `export`: the audit log at a server, in a file, or in a data folder."""

from __future__ import annotations

import os
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rune.api.orchestrator import audit as api
from rune.cli.connect import connected
from rune.cli.state import State
from rune.errors import FailedPrecondition, InvalidArgument

if TYPE_CHECKING:
    from rune.client.client import Client
    from rune.core.auditfile import Report


SQLITE = b"SQLite format 3\x00"


class Broken(FailedPrecondition):
    """The audit log is not what was written."""

    next = "keep this file and a copy of the data folder as they are, and compare them with older exports"


@click.command(
    epilog="Examples: rune admin audit verify; rune admin audit verify audit.jsonl; "
    "rune admin audit verify --data-dir /var/lib/rune"
)
@click.argument("file", required=False)
@click.option("--data-dir", metavar="FOLDER", help="Look into a data folder whose runed does not run.")
@click.option(
    "--key", default="", metavar="HEX", help="The server's public key, as earlier answers named it."
)
@click.option("--sequence", default=0, help="An entry that must be there, at a server …")
@click.option("--hash", "hash_", default="", metavar="HEX", help="… with this hash.")
@click.pass_obj
def verify(state: State, file: str | None, data_dir: str | None, **given: str) -> None:
    """Check that nobody changed, dropped, reordered or cut off entries of the audit log.

    Without a file or a folder the server is asked. The hash and the key that are shown are worth keeping
    elsewhere: with them a log that was rewritten as a whole is found out too.
    """
    if file and data_dir:
        raise click.UsageError("say either a file or --data-dir")
    if file or data_dir:
        _say(_offline(file, data_dir, given["key"]))
        return
    ask = api.VerifyAuditRequest(sequence=int(given["sequence"]), hash=given["hash_"])
    answer = connected(state, lambda client: client.call(api.verify, ask, timeout=600.0))
    seal = answer.seal or api.AuditSeal()
    if given["key"] and seal.public_key != given["key"]:
        raise Broken(f"the server's key is {seal.public_key}, not the one that you named")
    if not answer.intact:
        raise Broken(f"the audit log is broken: {answer.problem}")
    _intact(answer.entries, seal)


def _offline(file: str | None, data_dir: str | None, key: str) -> Report:
    from rune.core import auditfile  # noqa: PLC0415 - what asks a server does without

    try:
        if file and not _is_store(file):
            with Path(file).open("rb") as lines:
                return auditfile.of_export(lines, public_key=key)
    except OSError as error:
        raise InvalidArgument(f"{file} cannot be read: {error.strerror}") from error
    return auditfile.of_store(Path(file) if file else Path(data_dir or "") / "state.db", public_key=key)


def _is_store(file: str) -> bool:
    with Path(file).open("rb") as start:
        return start.read(len(SQLITE)) == SQLITE


def _say(report: Report) -> None:
    if report.problem:
        raise Broken(f"the audit log is broken: {report.problem}")
    shown = api.AuditSeal(
        sequence=report.seal.sequence, hash=report.seal.hash, public_key=report.seal.public_key
    )
    _intact(report.entries, shown)


def _intact(entries: int, seal: api.AuditSeal) -> None:
    click.echo(f"intact: {entries} entries, the newest is {seal.sequence} with the hash {seal.hash}")
    click.echo(f"sealed with the key {seal.public_key or '(not sealed yet)'}")


@click.command(epilog="Example: rune admin audit export audit.jsonl")
@click.argument("file")
@click.pass_obj
def export(state: State, file: str) -> None:
    """Write the whole audit log to a new file, which `rune admin audit verify FILE` can check anywhere."""
    count = connected(state, lambda client: _exported(client, file))
    click.echo(f"{file}: {count} entries; next: rune admin audit verify {file}")


async def _exported(client: Client, file: str) -> int:
    from rune.core.auditfile import first_line, line_of  # noqa: PLC0415 - the rest of admin does without
    from rune.core.chain import Seal  # noqa: PLC0415 - as above

    count = 0
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise InvalidArgument(f"{file} cannot be written: {error.strerror}") from error
    with os.fdopen(descriptor, "wb") as out:
        async with aclosing(client.stream(api.export, api.ExportAuditRequest())) as items:
            async for item in items:
                if item.seal is not None:
                    facts = {name: getattr(item.seal, name) for name in item.seal.__struct_fields__}
                    out.write(first_line(Seal(**facts)))
                else:
                    out.write(line_of(item.sequence, item.entry))
                    count += 1
    return count
