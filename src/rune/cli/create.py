"""`rune create`: a namespace, a configmap or a secret without a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from rune.api.orchestrator import configmaps, namespaces, secrets
from rune.api.validate import build
from rune.cli import options
from rune.cli.connect import connected
from rune.cli.state import State
from rune.errors import InvalidArgument

MOST_BYTES = 1 << 20


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
    data = {**dict(given["data"]), **_from_files(given["from_file"])}
    where = state.namespace(given["namespace"])
    plain = {"configmap": {"name": name, "namespace": where, "data": data}}
    request = build(
        configmaps.CreateConfigmapRequest, {**plain, "ensure_namespace": given["create_namespace"]}
    )
    connected(state, lambda client: client.call(configmaps.create, request))
    click.echo(f"configmap {name!r} created with {len(data)} keys")


@create.command(
    epilog="Examples: rune create secret db --prompt password; rune create secret tls --from-file key.pem; "
    "rune create secret app --from-env-file .env; pass db | rune create secret db --from-file password=-"
)
@click.argument("name")
@options.namespace
@click.option("--prompt", metavar="KEY", multiple=True, help="Ask for the key's value, without showing it.")
@click.option("--from-file", metavar="[KEY=]PATH", multiple=True, help="A key from a file; - is stdin.")
@click.option("--from-env-file", metavar="PATH", multiple=True, help="Keys and values, a KEY=VALUE a line.")
@click.option("--create-namespace", is_flag=True, help="Create the namespace when it is not there.")
@click.pass_obj
def secret(state: State, name: str, **given: Any) -> None:  # noqa: ANN401 - click's way
    """Create a secret. Values are no arguments: every process of the machine could read them there."""
    data = {**_from_env(given["from_env_file"]), **_from_files(given["from_file"])}
    for key in given["prompt"]:
        data[key] = click.prompt(key, hide_input=True, err=True)
    if not data:
        raise click.UsageError("give at least one value: --prompt, --from-file or --from-env-file")
    where = state.namespace(given["namespace"])
    plain = {"secret": {"name": name, "namespace": where, "data": data}}
    request = build(secrets.CreateSecretRequest, {**plain, "ensure_namespace": given["create_namespace"]})
    connected(state, lambda client: client.call(secrets.create, request))
    click.echo(f"secret {name!r} created with {len(data)} keys")


def _from_files(texts: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        key, equals, path = text.partition("=")
        found[key if equals else Path(text).name] = _content(path if equals else text)
    return found


def _from_env(paths: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in paths:
        for number, line in enumerate(_content(path).splitlines(), start=1):
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            key, equals, value = text.partition("=")
            if not equals:
                raise InvalidArgument(f"{path}:{number}: this line is not KEY=VALUE")
            found[key.strip()] = _unquoted(value.strip())
    return found


def _unquoted(text: str) -> str:
    is_quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1] if is_quoted else text


def _content(path: str) -> str:
    try:
        if path == "-":
            data = sys.stdin.buffer.read(MOST_BYTES + 1)
        else:
            with Path(path).open("rb") as file:
                data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise InvalidArgument(f"{path} is larger than {MOST_BYTES >> 20} MiB")
        return data.decode()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InvalidArgument(f"{path} cannot be read: {why}") from error
