"""`rune admin registries add` and `update`, whose credentials come from files or stdin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from rune.api.orchestrator import registries as api
from rune.api.validate import build
from rune.cli import supplied
from rune.cli.connect import connected
from rune.cli.state import State

F = TypeVar("F", bound=Callable[..., Any])
TYPES = ("basic", "token", "dockerconfigjson", "ecr")


def _options(command: F) -> F:
    for option in (
        click.option(
            "--from-secret", default="", metavar="[NAMESPACE/]NAME", help="Log in with this secret."
        ),
        click.option("--region", default="", help="ecr: the region."),
        click.option(
            "--config-file", default="", help="A config.json as `docker login` writes it; - is stdin."
        ),
        click.option("--token-file", default="", help="A file with the token; - is stdin."),
        click.option("--password-file", default="", help="A file with the password; - is stdin."),
        click.option("--username", default="", help="The user's name, or the id of an AWS access key."),
        click.option("--type", "kind", type=click.Choice(TYPES), default="basic", show_default=True),
    ):
        command = option(command)
    return command


@click.command(
    epilog="Example: pass hub | rune admin registries add hub docker.io --username me --password-file -"
)
@click.argument("name")
@click.argument("host")
@_options
@click.pass_obj
def add(state: State, name: str, host: str, **given: Any) -> None:  # noqa: ANN401 - click's way
    """Add a registry; HOST is that of its images, or *.example.com for all below it."""
    request = build(api.AddRegistryRequest, {"registry": _config(name, host, given)})
    connected(state, lambda client: client.call(api.add_registry, request))
    click.echo(f"registry {name!r} added")


@click.command(epilog="Example: rune admin registries update hub docker.io --username me --password-file pw")
@click.argument("name")
@click.argument("host")
@_options
@click.pass_obj
def update(state: State, name: str, host: str, **given: Any) -> None:  # noqa: ANN401 - click's way
    """Replace a registry; a password or token that is not given stays, while the host does."""
    request = build(api.UpdateRegistryRequest, {"registry": _config(name, host, given)})
    connected(state, lambda client: client.call(api.update_registry, request))
    click.echo(f"registry {name!r} updated")


@click.command(epilog="Example: rune admin registries test hub --image docker.io/library/alpine:3")
@click.argument("name")
@click.option("--image", default="", help="Ask for this image as well; needed for a registry with a `*`.")
@click.pass_obj
def test(state: State, name: str, image: str) -> int:
    """Try to log in to a registry; ends with 1 when that fails."""
    request = build(api.TestRegistryRequest, {"name": name, "image_ref": image})
    answer = connected(state, lambda client: client.call(api.test_registry, request))
    click.echo(f"registry {name!r}: {answer.message}", err=not answer.ok)
    return 0 if answer.ok else 1


def _config(name: str, host: str, given: dict[str, Any]) -> dict[str, Any]:
    config = _content(given["config_file"])
    auth = {
        "type": given["kind"],
        "username": given["username"],
        "password": _content(given["password_file"]),
        "token": _content(given["token_file"]),
        "region": given["region"],
        "from_secret": given["from_secret"],
        "data": {".dockerconfigjson": config} if config else {},
    }
    return {"name": name, "registry": host, "auth": auth}


def _content(path: str) -> str:
    return supplied.content(path).rstrip("\r\n") if path else ""
