"""`rune config`: the contexts in `~/.rune/config.yaml`."""

from __future__ import annotations

from pathlib import Path

import click
from msgspec.structs import replace

from rune.cli import options
from rune.cli.state import State
from rune.client.contexts import Context, save, text_of


@click.group(no_args_is_help=True, epilog="Examples: rune config view; rune config use-context prod")
def config() -> None:
    """See and change the contexts in ~/.rune/config.yaml."""


@config.command(epilog="Example: rune config view")
@click.pass_obj
def view(state: State) -> None:
    """Show the file, with *** for tokens."""
    hidden = {
        name: replace(context, token="***" if context.token else "", refresh="***" if context.refresh else "")
        for name, context in state.contexts.by_name.items()
    }
    click.echo(f"# {state.config_path}")
    click.echo(text_of(replace(state.contexts, by_name=hidden)).replace('"***"', "***"), nl=False)


@config.command(epilog="Example: rune config set-context prod --server prod.internal:7863 -n payments")
@click.argument("name")
@click.option("--server", metavar="ADDRESS", help="host:port for gRPC, or an http(s):// address.")
@options.certificates
@click.option("--insecure/--no-insecure", default=None, help="Send the token even unencrypted, or not.")
@options.namespace
@click.pass_obj
def set_context(state: State, name: str, *, insecure: bool | None, **given: str | None) -> None:
    """Make a context, or change it; its token comes with `rune login`.

    A context that is given another server loses its token: a token belongs to one server.
    """
    before = state.contexts.by_name.get(name, Context())
    files = {name: given[name] for name in ("ca_file", "cert_file", "key_file")}
    changes = {
        "server": given["server"],
        "namespace": given["namespace"],
        "insecure": None if insecure is None else "true" if insecure else "",
        **{name: str(Path(path).resolve()) if path else path for name, path in files.items()},
    }
    after = replace(before, **{key: value for key, value in changes.items() if value is not None})
    if after.server != before.server:
        after = replace(after, token="", refresh="", expires="", insecure="true" if insecure else "")
    save(state.config_path, state.contexts.having(name, after))
    click.echo(f"context {name!r} {'changed' if name in state.contexts.by_name else 'made'}")


@config.command("use-context", epilog="Example: rune config use-context prod")
@click.argument("name")
@click.pass_obj
def use_context(state: State, name: str) -> None:
    """Make a context the current one."""
    state.contexts.chosen(name)
    save(state.config_path, replace(state.contexts, current=name))
    click.echo(f"context {name!r} is the current one")


@config.command(epilog="Example: rune config list-contexts")
@click.pass_obj
def list_contexts(state: State) -> None:
    """List the contexts; * marks the current one."""
    for name, context in state.contexts.by_name.items():
        mark = "*" if name == state.contexts.current else " "
        click.echo(f"{mark} {name}   {context.server or '-'}   {context.namespace or 'default'}")


@config.command(epilog="Example: rune config delete-context old")
@click.argument("name")
@click.pass_obj
def delete_context(state: State, name: str) -> None:
    """Forget a context and its token."""
    save(state.config_path, state.contexts.without(name))
    click.echo(f"context {name!r} deleted")
