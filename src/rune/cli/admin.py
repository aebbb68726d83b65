"""`rune admin`: derived from the operation table, and what takes more than options."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from rune.api import OPERATIONS
from rune.api.orchestrator import admin as api
from rune.api.orchestrator import auth, sessions
from rune.api.validate import build
from rune.cli import audit as audit_commands
from rune.cli import backup as backup_commands
from rune.cli import derive, options, output, registry
from rune.cli.certs import certs
from rune.cli.connect import connected
from rune.cli.state import State
from rune.cli.typed import typed
from rune.client.contexts import Context, save
from rune.errors import InvalidArgument

admin = click.Group(
    "admin", help="Users, policies, tokens, registries, keys and the audit log.", no_args_is_help=True
)
derive.attach(admin, OPERATIONS, "admin")
policy = admin.commands["policy"]
token = admin.commands["token"]
audit = admin.commands["audit"]
assert isinstance(audit, click.Group)  # noqa: S101 - as below
audit.add_command(audit_commands.verify)
audit.add_command(audit_commands.export)
admin.add_command(backup_commands.backup)
admin.add_command(backup_commands.restore)
admin.add_command(certs)
assert isinstance(policy, click.Group)  # noqa: S101 - which the table has just made them
assert isinstance(token, click.Group)  # noqa: S101 - as above


user = admin.commands["user"]
assert isinstance(user, click.Group)  # noqa: S101 - as above
registries = admin.commands["registries"]
assert isinstance(registries, click.Group)  # noqa: S101 - as above
registries.add_command(registry.add)
registries.add_command(registry.update)
registries.add_command(registry.test)


@admin.command(epilog="Examples: rune admin bootstrap --save; rune admin bootstrap --out-file root.token")
@click.option("--save", "save_as", is_flag=True, help="Keep the token as the context `root` and use it.")
@click.option("--out-file", metavar="FILE", help="Write the token to a new file that only you may read.")
@click.pass_obj
def bootstrap(state: State, *, save_as: bool, out_file: str | None) -> None:
    """Make the first token of a new server; works once, and from the server's own machine."""
    _free(out_file)
    answer = connected(state, lambda client: client.call(api.bootstrap, api.AdminBootstrapRequest()))
    if save_as:
        files = {"ca_file": state.ca_file, "cert_file": state.cert_file, "key_file": state.key_file}
        context = Context(server=state.address, token=answer.token_secret, **files)
        contexts = state.contexts.having("root", context)
        save(state.config_path, type(contexts)(current="root", by_name=contexts.by_name))
        click.echo("the token is kept as context 'root', which is the current one")
    _hand_over(answer.token_secret, out_file, quiet=save_as)


@token.command(
    "create", epilog="Example: rune admin token create ci --policy readwrite --ttl 24h --out-file t"
)
@click.argument("name")
@click.option("--subject", default="", help="The user or service account; made when there is none. [NAME]")
@click.option("--type", "kind", type=click.Choice(("user", "service")), default="user", show_default=True)
@click.option("--policy", "policies", multiple=True, help="For a new subject; may be repeated. [readonly]")
@click.option("--ttl", type=options.LIFETIME, help="How long it is valid (24h, 90d); without it, for ever.")
@click.option("--description", default="", help="What it is for.")
@click.option("--out-file", metavar="FILE", help="Write the token to a new file that only you may read.")
@click.pass_obj
def create_token(state: State, name: str, **given: Any) -> None:  # noqa: ANN401 - click's way
    """Make a token; it is shown this once."""
    _free(given["out_file"])
    request = build(
        auth.CreateTokenRequest,
        {
            "name": name,
            "subject_name": given["subject"] or name,
            "subject_type": given["kind"],
            "policies": list(given["policies"]),
            "ttl_seconds": int(given["ttl"] or 0),
            "description": given["description"],
        },
    )
    answer = connected(state, lambda client: client.call(auth.create_token, request))
    click.echo(f"token {answer.id} made for {given['subject'] or name}", err=True)
    _hand_over(answer.secret, given["out_file"])


@user.command("set-password", epilog="Example: rune admin user set-password ann")
@click.argument("name")
@click.option("--password-file", default="", metavar="FILE", help="Read it from there; - is stdin. [asks]")
@click.option("--remove", is_flag=True, help="Take the password away instead.")
@click.pass_obj
def set_password(state: State, name: str, *, password_file: str, remove: bool) -> None:
    """Set a user's password, of 12 characters at least; sessions that began with the one before end."""
    if remove and password_file:
        raise click.UsageError("--remove takes the password away: it needs none")
    password = "" if remove else typed("Password", password_file, twice=True)
    request = build(sessions.SetPasswordRequest, {"name": name, "password": password})
    answer = connected(state, lambda client: client.call(sessions.set_password, request))
    ended = f"; {answer.sessions} sessions ended" if answer.sessions else ""
    click.echo(f"password of {name!r} {'taken away' if remove else 'set'}{ended}")


@policy.command(
    "create",
    epilog="Example: rune admin policy create deployer --rule services:get,update@prod --rule logs:get",
)
@click.argument("name")
@click.option("--rule", "rules", multiple=True, required=True, metavar="RESOURCE:VERB[,VERB]...[@NAMESPACE]")
@click.option("--description", default="", help="What it is for.")
@click.pass_obj
def create_policy(state: State, name: str, rules: tuple[str, ...], *, description: str) -> None:
    """Make a policy; a rule without a namespace holds in all of them."""
    data = {"name": name, "description": description, "rules": [_rule(text) for text in rules]}
    request = build(api.PolicyCreateRequest, {"policy": data})
    connected(state, lambda client: client.call(api.create_grant, request))
    click.echo(f"policy {name!r} created with {len(rules)} rules")


@policy.command("update", epilog="Example: rune admin policy update deployer --rule services:*@prod")
@click.argument("name")
@click.option("--rule", "rules", multiple=True, required=True, metavar="RESOURCE:VERB[,VERB]...[@NAMESPACE]")
@click.option("--description", default="", help="What it is for.")
@click.pass_obj
def update_policy(state: State, name: str, rules: tuple[str, ...], *, description: str) -> None:
    """Replace a policy's rules."""
    data = {"name": name, "description": description, "rules": [_rule(text) for text in rules]}
    request = build(api.PolicyUpdateRequest, {"policy": data})
    answer = connected(state, lambda client: client.call(api.update_grant, request))
    output.show(answer.policy or api.Grant(name=name), "yaml")


def _rule(text: str) -> dict[str, Any]:
    resource, colon, rest = text.partition(":")
    verbs, _, namespace = rest.partition("@")
    if not colon or not resource or not verbs:
        raise click.UsageError(f"{text!r} is not RESOURCE:VERB[,VERB]...[@NAMESPACE]")
    return {"resource": resource, "verbs": verbs.split(","), "namespace": namespace}


def _free(path: str | None) -> None:
    """Say that a file is in the way before a token is made that nobody would see."""
    if path and Path(path).exists():
        raise InvalidArgument(f"{path} exists: name another file")


def _hand_over(secret: str, path: str | None, *, quiet: bool = False) -> None:
    if path:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(f"{secret}\n")
        except OSError as error:
            click.echo(secret)
            raise InvalidArgument(
                f"{path} cannot be written ({error.strerror}); the token is on stdout instead"
            ) from error
        click.echo(f"the token is in {path}", err=True)
    elif not quiet:
        click.echo(secret)
