"""`rune cast`: files and runesets become resources; everything is checked before anything is sent."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Sequence
from typing import Any

import click
import msgspec

from rune.cli import options
from rune.cli.connect import connected
from rune.cli.runeset import Ask, ask_of, found_in, runeset_options
from rune.cli.sending import Order, Sent, send
from rune.cli.state import State
from rune.client.client import Client
from rune.errors import InvalidArgument
from rune.manifest.documents import Item
from rune.manifest.lint import check
from rune.positions.spots import Malformed


@click.command(
    epilog="Examples: rune cast api.yaml; rune cast k/ -n prod --diff; rune cast web/ --set replicas=3; "
    "rune cast git+https://host/repo.git@v1.2//web --checksum sha256:…; cat api.yaml | rune cast - --dry-run"
)
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@options.namespace
@runeset_options
@click.option("--detach", is_flag=True, help="Do not wait until it runs; the same as --no-wait.")
@options.wait
@options.timeout("5m")
@click.option("--render", is_flag=True, help="Print what templates become, without secrets, and do nothing.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@click.option("--diff", is_flag=True, help="Show what differs from what is there, and do nothing.")
@click.option("--force", is_flag=True, help="Replace the copies of services even where nothing changed.")
@click.option("--create-namespace", is_flag=True, help="Create namespaces that are not there.")
@click.option("--tag", metavar="TEXT", default="", help="Kept as the label rune/deployment-tag.")
@click.pass_obj
def cast(state: State, files: tuple[str, ...], **given: Any) -> None:  # noqa: ANN401 - click's way
    """Bring files to life: create or update what they declare, then wait until it runs.

    FILE is a YAML file, a folder, a pattern, `-` for stdin, or a runeset: its folder, its .runeset.tgz, an
    https:// address, or git+https://host/repository.git@ref//path.
    """
    ask = ask_of(given, namespace=state.namespace(given["namespace"]))
    if given["render"]:
        _render(files, ask)
        return
    items = checked(files, ask)
    if given["dry_run"] or given["diff"]:
        from rune.cli.preview import preview  # noqa: PLC0415 - casting does without

        connected(state, lambda client: preview(client, items, with_diff=given["diff"]))
        return
    order = Order(tag=given["tag"], force=given["force"], create_namespace=given["create_namespace"])
    waits = given["wait"] and not given["detach"]
    timeout = given["timeout"] if waits else None
    connected(state, lambda client: _cast(client, send(client, items, order), timeout=timeout))


def checked(files: tuple[str, ...], ask: Ask) -> list[Item]:
    """What the files declare, in the namespace where they name none; raises Malformed with all errors."""
    found = found_in(files, ask)
    problems = found.problems
    problems += [finding.problem for finding in check(found.items) if finding.severity == "error"]
    if problems:
        raise Malformed(problems)
    if not found.items:
        raise InvalidArgument("the files declare nothing")
    return [_placed(item, ask.namespace) for item in found.items]


def _placed(item: Item, namespace: str) -> Item:
    if item.kind == "namespace" or item.model.namespace:
        return item
    model = msgspec.structs.replace(item.model, namespace=namespace)
    return Item(item.kind, model, item.spot, item.spots, item.source)


def _render(files: tuple[str, ...], ask: Ask) -> None:
    """Print every file as it would be read; no server is asked."""
    found = found_in(files, ask)
    for name, text in found.shown:
        click.echo(f"---\n# {name}\n{text.removeprefix('---').strip()}")
    if found.problems:
        raise Malformed(found.problems)


async def _cast(client: Client, sending: Awaitable[Sequence[Sent]], *, timeout: float | None) -> None:
    from rune.cli.live import Board  # noqa: PLC0415 - while what was sent is on its way
    from rune.cli.rollout import wait_for  # noqa: PLC0415 - as above

    sent = await sending
    for one in sent:
        if one.item.kind != "service" or timeout is None or one.outcome == "unchanged":
            click.echo(str(one))
    awaited = [one.answer.service for one in sent if one.item.kind == "service"]
    if awaited and timeout is not None:
        await wait_for(client, awaited, Board(sys.stdout, os.environ), timeout=timeout)
