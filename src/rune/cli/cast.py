"""`rune cast`: files become resources; everything is checked before anything is sent."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from typing import Any

import click
import msgspec

from rune.api.orchestrator import configmaps, namespaces, secrets, services
from rune.cli import options
from rune.cli.connect import connected
from rune.cli.files import items_of
from rune.cli.live import Board
from rune.cli.rollout import wait_for
from rune.cli.state import State
from rune.client.client import Client
from rune.errors import AlreadyExists, InvalidArgument, RuneError
from rune.manifest.documents import KINDS, Item
from rune.manifest.lint import check
from rune.positions.spots import Malformed

AT_ONCE = 16
"""How many calls are open at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What was asked for besides the files."""

    tag: str = ""
    force: bool = False
    create_namespace: bool = False


@dataclass(frozen=True, slots=True)
class Sent:
    """One resource as the server has it now."""

    item: Item
    answer: Any
    is_new: bool


@click.command(
    epilog="Examples: rune cast api.yaml; rune cast k/ -n prod --diff; cat api.yaml | rune cast - --dry-run"
)
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@options.namespace
@click.option("--detach", is_flag=True, help="Do not wait until it runs; the same as --no-wait.")
@options.wait
@options.timeout("5m")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@click.option("--diff", is_flag=True, help="Show what differs from what is there, and do nothing.")
@click.option("--force", is_flag=True, help="Replace the copies of services even where nothing changed.")
@click.option("--create-namespace", is_flag=True, help="Create namespaces that are not there.")
@click.option("--tag", metavar="TEXT", default="", help="Kept as the label rune/deployment-tag.")
@click.pass_obj
def cast(state: State, files: tuple[str, ...], **given: Any) -> None:  # noqa: ANN401 - click's way
    """Bring files to life: create or update what they declare, then wait until it runs.

    FILE is a YAML file, a folder, a pattern, or `-` for stdin.
    """
    items = checked(files, state.namespace(given["namespace"]))
    if given["dry_run"] or given["diff"]:
        from rune.cli.preview import preview  # noqa: PLC0415 - casting does without

        connected(state, lambda client: preview(client, items, with_diff=given["diff"]))
        return
    order = Order(tag=given["tag"], force=given["force"], create_namespace=given["create_namespace"])
    waits = given["wait"] and not given["detach"]
    connected(state, lambda client: _cast(client, items, order, timeout=given["timeout"] if waits else None))


def checked(files: tuple[str, ...], namespace: str) -> list[Item]:
    """What the files declare, in the namespace where they name none; raises Malformed with all errors."""
    items, problems, _count = items_of(files)
    problems += [finding.problem for finding in check(items) if finding.severity == "error"]
    if problems:
        raise Malformed(problems)
    if not items:
        raise InvalidArgument("the files declare nothing")
    return [_placed(item, namespace) for item in items]


def _placed(item: Item, namespace: str) -> Item:
    if item.kind == "namespace" or item.model.namespace:
        return item
    model = msgspec.structs.replace(item.model, namespace=namespace)
    return Item(item.kind, model, item.spot, item.spots, item.source)


async def _cast(client: Client, items: list[Item], order: Order, *, timeout: float | None) -> None:
    sent: list[Sent] = []
    for kind in KINDS:
        sent += await _send_all(client, [item for item in items if item.kind == kind], order)
    for one in sent:
        if one.item.kind != "service" or timeout is None:
            click.echo(f"{one.item.label} {'created' if one.is_new else 'updated'}")
    awaited = [one.answer.service for one in sent if one.item.kind == "service"]
    if awaited and timeout is not None:
        await wait_for(client, awaited, Board(sys.stdout, os.environ), timeout=timeout)


async def _send_all(client: Client, items: list[Item], order: Order) -> list[Sent]:
    """Create or update each, several at once; every failure is told, each with its place in the files."""
    gate = asyncio.Semaphore(AT_ONCE)
    failures: list[tuple[Item, RuneError]] = []

    async def send(item: Item) -> Sent | None:
        async with gate:
            try:
                return await _upsert(client, item, order)
            except RuneError as error:
                failures.append((item, error))
                return None

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(send(item)) for item in items]
    if failures:
        raise _told(failures)
    return [sent for task in tasks if (sent := task.result())]


async def _upsert(client: Client, item: Item, order: Order) -> Sent:
    create, update = _requests(item, order)
    try:
        return Sent(item, await client.call(*create), is_new=True)
    except AlreadyExists:
        if update is None:
            return Sent(item, None, is_new=False)
        return Sent(item, await client.call(*update), is_new=False)


def _requests(item: Item, order: Order) -> tuple[tuple[Any, Any], tuple[Any, Any] | None]:
    """The call that creates it, and the one that updates it; a namespace that is there stays as it is."""
    model, ensure = item.model, order.create_namespace
    match item.kind:
        case "service":
            create = services.CreateServiceRequest(
                service=model, deployment_tag=order.tag, ensure_namespace=ensure
            )
            update = services.UpdateServiceRequest(service=model, deployment_tag=order.tag, force=order.force)
            return (services.create, create), (services.update, update)
        case "configmap":
            create = configmaps.CreateConfigmapRequest(configmap=model, ensure_namespace=ensure)
            return (configmaps.create, create), (
                configmaps.update,
                configmaps.UpdateConfigmapRequest(configmap=model),
            )
        case "secret":
            create = secrets.CreateSecretRequest(secret=model, ensure_namespace=ensure)
            return (secrets.create, create), (secrets.update, secrets.UpdateSecretRequest(secret=model))
        case _:
            return (namespaces.create, namespaces.CreateNamespaceRequest(namespace=model)), None


def _told(failures: list[tuple[Item, RuneError]]) -> RuneError:
    """One failure of the first one's class, which says what happened to each, and where it stands."""
    lines: list[str] = []
    for item, error in failures:
        if error.details:
            lines += [
                str(item.problem(v.field.partition(".")[2] or v.field, v.description)) for v in error.details
            ]
        else:
            lines.append(f"{item.spot}: {item.label}: {error.message}")
    first = failures[0][1]
    return type(first)("\n".join(dict.fromkeys(lines)))
