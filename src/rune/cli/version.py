"""`rune version`."""

from __future__ import annotations

import click

import rune
from rune.cli.state import State


@click.command(epilog="Examples: rune version; rune version --remote")
@click.option("--remote", is_flag=True, help="Ask the server for its version too.")
@click.pass_obj
def version(state: State, *, remote: bool) -> None:
    """Show the version of this command, and of the server."""
    click.echo(f"rune {rune.__version__}")
    if not remote:
        return
    from rune.api.orchestrator import health  # noqa: PLC0415 - the short answer does without all this
    from rune.cli.connect import connected  # noqa: PLC0415 - as above

    answer = connected(state, lambda client: client.call(health.version, health.GetServerVersionRequest()))
    click.echo(f"runed {answer.version} at {state.address} ({answer.os}/{answer.arch})")
