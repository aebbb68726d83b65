"""`rune login` and `rune whoami`: who we are."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from msgspec.structs import replace

from rune.api.orchestrator import auth
from rune.cli import options, output
from rune.cli.connect import connected
from rune.cli.state import State
from rune.client.contexts import Context, save
from rune.errors import InvalidArgument

FILES = ("ca_file", "cert_file", "key_file")


@click.command(
    epilog="Examples: rune login --server grpcs://prod.internal:7863; rune login --token-file - < token"
)
@click.option("--server", default="", metavar="ADDRESS", help="host:port for gRPC, or an http(s):// address.")
@click.option("--name", default="", metavar="CONTEXT", help="What to call the context. [the server's host]")
@click.option("--token-file", default="", metavar="FILE", help="Read the token from there; - is stdin.")
@options.certificates
@options.namespace
@click.pass_obj
def login(state: State, server: str, **given: str | None) -> None:
    """Keep a server's address and a token for later commands, once they are known to work."""
    address = server or state.address
    files = {name: str(Path(path).resolve()) for name in FILES if (path := given[name])}
    token = "" if _is_enough(files, given, state) else _token(given["token_file"] or "", state)
    name = given["name"] or address.rpartition("://")[2].partition(":")[0] or "default"
    insecure = "true" if state.insecure else ""
    context = Context(
        server=address, token=token, namespace=given["namespace"] or "", insecure=insecure, **files
    )
    said = {f"RUNE_{key.upper()}": files.get(key, "") for key in FILES}
    tried = State(
        {**state.environ, "RUNE_TOKEN": token, **said},
        server=address,
        config=state.config,
        insecure=state.insecure,
    )
    who = connected(tried, lambda client: client.call(auth.whoami, auth.WhoAmIRequest()))
    save(state.config_path, replace(state.contexts.having(name, context), current=name))
    click.echo(f"logged in to {address} as {who.subject_name}; context {name!r} is the current one")


def _is_enough(files: dict[str, str], given: dict[str, str | None], state: State) -> bool:
    """A certificate of our own stands for a token, unless one is given."""
    return "cert_file" in files and not given["token_file"] and not state.environ.get("RUNE_TOKEN")


def _token(path: str, state: State) -> str:
    if path:
        text = sys.stdin.read(4096) if path == "-" else _read(path)
    else:
        text = state.environ.get("RUNE_TOKEN", "")
        if not text:
            text = click.prompt("Token", hide_input=True, err=True)
    if not text.strip():
        raise InvalidArgument("the token is empty")
    return text.strip()


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")[:4096]
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"the token cannot be read from {path}: {error}") from error


@click.command(epilog="Example: rune whoami -o json")
@options.output("table", "json", "yaml")
@click.pass_obj
def whoami(state: State, output: str) -> None:
    """See who the server takes you for."""
    who = connected(state, lambda client: client.call(auth.whoami, auth.WhoAmIRequest()))
    if output != "table":
        _show(who, output)
        return
    click.echo(f"{who.subject_name} ({who.subject_id}) at {state.address}")
    click.echo(f"policies: {', '.join(who.policies) or 'none'}")


_show = output.show
