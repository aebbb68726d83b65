"""`rune login`, `rune logout` and `rune whoami`: who we are."""

from __future__ import annotations

from pathlib import Path

import click
from msgspec.structs import replace

from rune.api.orchestrator import auth, sessions
from rune.cli import options, output
from rune.cli.connect import connected
from rune.cli.renewal import without_token
from rune.cli.state import State
from rune.cli.typed import typed
from rune.client.contexts import Context, save
from rune.client.trust import refuse_plain
from rune.errors import RuneError

FILES = ("ca_file", "cert_file", "key_file")


@click.command(
    epilog="Examples: rune login --server grpcs://prod.internal:7863 --user ann; "
    "rune login --token-file - < token"
)
@click.option("--server", default="", metavar="ADDRESS", help="host:port for gRPC, or an http(s):// address.")
@click.option("--name", default="", metavar="CONTEXT", help="What to call the context. [the server's host]")
@click.option("--user", default="", metavar="NAME", help="Log in with this user's password, not a token.")
@click.option("--password-file", default="", metavar="FILE", help="Read it from there; - is stdin. [asks]")
@click.option("--token-file", default="", metavar="FILE", help="Read the token from there; - is stdin.")
@options.certificates
@options.namespace
@click.pass_obj
def login(state: State, server: str, **given: str | None) -> None:
    """Keep a server's address and a token for later commands, once they are known to work.

    With --user the token is one of a session: it is traded for the next one as long as commands are used,
    and `rune logout` ends it.
    """
    if given["user"] and given["token_file"]:
        raise click.UsageError("--user and --token-file are two ways to log in: name one")
    address = server or state.address
    files = {name: str(Path(path).resolve()) for name in FILES if (path := given[name])}
    by_password = bool(given["user"])
    bare = by_password or _is_enough(files, given, state)
    token = "" if bare else _token(given["token_file"] or "", state)
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
    if by_password:
        begun = _begun(tried, given["user"] or "", given["password_file"] or "")
        who = begun.subject_name
        context = replace(
            context, token=begun.access_token, refresh=begun.refresh_token, expires=str(begun.expires_at)
        )
    else:
        who = connected(tried, lambda client: client.call(auth.whoami, auth.WhoAmIRequest())).subject_name
    save(state.config_path, replace(state.contexts.having(name, context), current=name))
    click.echo(f"logged in to {address} as {who}; context {name!r} is the current one")


def _begun(state: State, name: str, path: str) -> sessions.LogInResponse:
    """A session for the password, which travels to nobody else."""
    if state.address.partition("://")[0] not in ("https", "grpcs"):
        refuse_plain(state.address, name, insecure=state.insecure)
    ask = sessions.LogInRequest(name=name, password=typed("Password", path))
    return connected(without_token(state), lambda client: client.call(sessions.log_in, ask))


@click.command(epilog="Example: rune logout")
@click.pass_obj
def logout(state: State) -> None:
    """End the session of the current context, and forget its token here."""
    name = state.context or state.contexts.current
    context = state.contexts.chosen(name)
    if not context.token:
        click.echo("nobody is logged in here")
        return
    failure: RuneError | None = None
    try:
        connected(state, lambda client: client.call(sessions.log_out, sessions.LogOutRequest()))
    except RuneError as error:
        failure = error
    gone = replace(context, token="", refresh="", expires="")
    save(state.config_path, state.contexts.having(name, gone))
    click.echo(f"context {name!r} has no token any more")
    if failure is not None:
        click.echo(f"the server could not be told: {failure.message}", err=True)


def _is_enough(files: dict[str, str], given: dict[str, str | None], state: State) -> bool:
    """A certificate of our own stands for a token, unless one is given."""
    return "cert_file" in files and not given["token_file"] and not state.environ.get("RUNE_TOKEN")


def _token(path: str, state: State) -> str:
    said = "" if path else state.environ.get("RUNE_TOKEN", "")
    return (said or typed("Token", path)).strip()


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
