"""`rune version`."""

from __future__ import annotations

import click

import rune
from rune.cli import options
from rune.cli.state import State


@click.command(epilog="Examples: rune version; rune version --remote -o json")
@click.option("--remote", is_flag=True, help="Ask the server for its version too.")
@options.output("text", "json", "yaml")
@click.pass_obj
def version(state: State, *, remote: bool, output: str) -> None:
    """Show the version of this command, and of the server."""
    lines, told = [f"rune {rune.__version__}"], {"client": {"version": rune.__version__}}
    if remote:
        line, told["server"] = _server(state)
        lines.append(line)
    if output == "text":
        click.echo("\n".join(lines))
        return
    from rune.cli.output import write  # noqa: PLC0415 - the short answer does without all this

    write(told, output)


def _server(state: State) -> tuple[str, dict[str, str]]:
    """What the server says of itself, as a line and as data."""
    from rune.api.orchestrator import health  # noqa: PLC0415 - as above
    from rune.cli.connect import connected  # noqa: PLC0415 - as above

    answer = connected(state, lambda client: client.call(health.version, health.GetServerVersionRequest()))
    line = f"runed {answer.version} at {state.address} ({answer.os}/{answer.arch})"
    return line, {"address": state.address, "version": answer.version, "os": answer.os, "arch": answer.arch}
