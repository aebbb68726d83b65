"""`rune create`: a namespace, a configmap or a secret without a file."""

from __future__ import annotations

from typing import Any

import click

from rune.api.orchestrator import configmaps, namespaces, secrets
from rune.api.validate import build
from rune.cli import options, supplied
from rune.cli.connect import connected
from rune.cli.state import State


@click.group(no_args_is_help=True)
def create() -> None:
    """Create a namespace, a configmap or a secret; services come from files: rune cast."""


@create.command(epilog="Example: rune create namespace prod --label team=payments")
@click.argument("name")
@click.option("--description", default="", help="What it is for.")
@click.option("--label", type=options.PAIR, multiple=True, help="May be repeated.")
@click.pass_obj
def namespace(state: State, name: str, *, description: str, label: tuple[tuple[str, str], ...]) -> None:
    """Create a namespace."""
    data = {"name": name, "description": description, "labels": dict(label)}
    request = build(namespaces.CreateNamespaceRequest, {"namespace": data})
    connected(state, lambda client: client.call(namespaces.create, request))
    click.echo(f"namespace {name!r} created")


@create.command(epilog="Example: rune create configmap web --data LOG=debug --from-file nginx.conf=./my.conf")
@click.argument("name")
@options.namespace
@click.option("--data", type=options.PAIR, multiple=True, help="A key and its value; may be repeated.")
@click.option("--from-file", metavar="[KEY=]PATH", multiple=True, help="A key with a file's content.")
@click.option("--create-namespace", is_flag=True, help="Create the namespace when it is not there.")
@click.pass_obj
def configmap(state: State, name: str, **given: Any) -> None:  # noqa: ANN401 - click's way
    """Create a configmap."""
    data = {**dict(given["data"]), **supplied.from_files(given["from_file"])}
    where = state.namespace(given["namespace"])
    plain = {"configmap": {"name": name, "namespace": where, "data": data}}
    request = build(
        configmaps.CreateConfigmapRequest, {**plain, "ensure_namespace": given["create_namespace"]}
    )
    connected(state, lambda client: client.call(configmaps.create, request))
    click.echo(f"configmap {name!r} created with {len(data)} keys")


@create.command(
    epilog="Examples: rune create secret db --prompt password; rune create secret tls --from-file key.pem; "
    "rune create secret app --from-env-file .env; pass db | rune create secret db --from-literal password=-"
)
@click.argument("name")
@options.namespace
@supplied.values
@click.option("--create-namespace", is_flag=True, help="Create the namespace when it is not there.")
@click.pass_obj
def secret(state: State, name: str, **given: Any) -> None:  # noqa: ANN401 - click's way
    """Create a secret. Values are no arguments: every process of the machine could read them there."""
    data = supplied.data(given)
    if not data:
        raise click.UsageError(f"give at least one value: {supplied.WAYS}")
    where = state.namespace(given["namespace"])
    plain = {"secret": {"name": name, "namespace": where, "data": data}}
    request = build(secrets.CreateSecretRequest, {**plain, "ensure_namespace": given["create_namespace"]})
    connected(state, lambda client: client.call(secrets.create, request))
    click.echo(f"secret {name!r} created with {len(data)} keys")
