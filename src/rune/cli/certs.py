"""`rune admin certs`: a private certificate authority for a server and its clients, in a folder of files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rune.cli import output
from rune.core.clock import SystemClock
from rune.errors import FailedPrecondition

if TYPE_CHECKING:
    from rune.core.authority import Authority

directory = click.option(
    "--dir",
    "folder",
    default="certs",
    show_default=True,
    metavar="FOLDER",
    help="Where the certificates and keys are.",
)
days = click.option(
    "--days", type=click.IntRange(1, 825), default=365, show_default=True, help="How long it lasts."
)


@click.group(no_args_is_help=True)
def certs() -> None:
    """Make the certificates for TLS, where there is no authority that does."""


@certs.command(epilog="Example: rune admin certs init --dir /etc/rune/certs")
@directory
@click.option("--name", default="Rune private authority", show_default=True, help="What it is called.")
def init(folder: str, name: str) -> None:
    """Make an authority: its key signs the certificates of the server and its clients."""
    made = _authority(folder).init(name)
    click.echo(f"the authority is in {folder}" if made else f"there is an authority in {folder} already")
    click.echo(f"next: rune admin certs issue --dir {folder} --server runed.example.com", err=True)


@certs.command(
    epilog="Examples: rune admin certs issue --server runed.internal --server 10.0.0.5; "
    "rune admin certs issue --client ann"
)
@directory
@click.option("--server", "hosts", multiple=True, metavar="HOST", help="For a server; may be repeated.")
@click.option("--client", default="", metavar="NAME", help="For the user or service account of that name.")
@days
def issue(*, folder: str, hosts: tuple[str, ...], client: str, days: int) -> None:
    """Issue a certificate with a key of its own."""
    if bool(hosts) is bool(client):
        raise click.UsageError("say either --server HOST (once or more) or --client NAME")
    authority = _authority(folder)
    if hosts:
        made = authority.issue_server(hosts, days=days)
        _told(authority, "server", made=made)
        click.echo(
            f"next: set auth.tls.enabled: true, cert-file: {authority.path('server')} and key-file: "
            f"{authority.path('server', key=True)} in the Runefile, then start runed",
            err=True,
        )
        return
    name = f"client-{client}"
    made = authority.issue_client(client, days=days)
    _told(authority, name, made=made)
    click.echo(
        f"next: rune login --server grpcs://HOST:7863 --ca-file {authority.path('ca')} "
        f"--cert-file {authority.path(name)} --key-file {authority.path(name, key=True)}",
        err=True,
    )


@certs.command(epilog="Examples: rune admin certs renew; rune admin certs renew server")
@directory
@days
@click.argument("names", nargs=-1)
def renew(*, folder: str, days: int, names: tuple[str, ...]) -> None:
    """Issue certificates anew: those that are named, or all that end within 30 days."""
    authority = _authority(folder)
    wanted = names or tuple(authority.due())
    for name in wanted:
        authority.renew(name, days=days)
        _told(authority, name, made=True)
    if not wanted:
        click.echo("nothing ends within 30 days")
    elif "server" in wanted:
        click.echo("next: send SIGHUP to runed, which then reads its certificate again", err=True)


@certs.command(epilog="Example: rune admin certs show")
@directory
def show(folder: str) -> None:
    """List the certificates and when they end."""
    rows = [
        [each.name, ",".join(each.names) or "-", f"{each.expires_at:%Y-%m-%d %H:%M} UTC", each.serial]
        for each in _authority(folder).issued()
    ]
    output.show_table(["NAME", "FOR", "ENDS", "SERIAL"], rows)


def _told(authority: Authority, name: str, *, made: bool) -> None:
    words = "issued" if made else "there already, and good for a while"
    click.echo(f"{authority.path(name)} ({words}); its key is {authority.path(name, key=True)}")


def _authority(folder: str) -> Authority:
    try:
        from rune.core.authority import Authority as Made  # noqa: PLC0415 - cryptography takes its time
    except ImportError as error:
        raise FailedPrecondition("this needs the package cryptography: pip install 'runesec[cli]'") from error
    return Made(Path(folder), SystemClock().now())
