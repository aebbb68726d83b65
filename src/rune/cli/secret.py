"""`rune secret`: what can be done with secrets besides creating, listing and deleting them."""

from __future__ import annotations

import shlex
from typing import Any

import click

from rune.api import OPERATIONS
from rune.api.orchestrator import secrets as api
from rune.api.validate import build
from rune.cli import derive, options, output, supplied
from rune.cli.connect import connected
from rune.cli.state import State
from rune.errors import NotFound

secret = click.Group(
    "secret", help="Change secrets, see their versions, and reveal them.", no_args_is_help=True
)
derive.attach(secret, OPERATIONS, "secret")


@secret.command(
    "set", epilog="Examples: rune secret set db --prompt password; rune secret set db --unset old"
)
@click.argument("name")
@options.namespace
@supplied.values
@click.option("--unset", metavar="KEY", multiple=True, help="Remove a key; may be repeated.")
@click.pass_obj
def set_(state: State, name: str, **given: Any) -> None:  # noqa: ANN401 - click's way
    """Set some keys of a secret and remove others; the rest stays."""
    data = supplied.data(given)
    if not data and not given["unset"]:
        raise click.UsageError(f"give at least one value ({supplied.WAYS}) or --unset")
    where = state.namespace(given["namespace"])
    plain = {"name": name, "namespace": where, "set": data, "unset": list(given["unset"])}
    request = build(api.PatchSecretRequest, plain)
    answer = connected(state, lambda client: client.call(api.patch, request))
    click.echo(f"secret {name!r} is at version {answer.secret.version if answer.secret else 0}")


@secret.command(epilog="Examples: rune secret reveal db --key password; rune secret reveal app > .env")
@click.argument("name")
@options.namespace
@click.option("--key", default="", help="Show the bare value of this key alone.")
@click.option("--version", type=click.IntRange(0), default=0, help="Of this version instead of the newest.")
@options.output("env", "json", "yaml")
@click.pass_obj
def reveal(state: State, name: str, **given: Any) -> None:  # noqa: ANN401 - click's way
    """Show the values of a secret. It takes the permission secrets:reveal, and is in the audit log."""
    where = state.namespace(given["namespace"])
    plain = {"name": name, "namespace": where, "version": given["version"]}
    request = build(api.RevealSecretVersionRequest, plain)
    answer = connected(state, lambda client: client.call(api.reveal_version, request))
    data = answer.secret.data if answer.secret else {}
    if given["key"]:
        if given["key"] not in data:
            raise NotFound(f"secret {name!r} has no key {given['key']!r}: {', '.join(data) or 'it has none'}")
        click.echo(data[given["key"]], nl=False)
    elif given["output"] == "env":
        for key, value in data.items():
            click.echo(f"{key}={shlex.quote(value)}")
    else:
        output.write(data, given["output"])
