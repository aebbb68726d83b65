"""`rune get --watch` and `--watch` of other lists: what there is, then a line for every change."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import click
import msgspec

from rune.api import by_name, wirejson
from rune.api.common import EventType
from rune.api.fields import Message
from rune.api.operation import Operation
from rune.api.shape import fields
from rune.cli import output, table
from rune.cli.cells import cell, columns
from rune.cli.wishes import Wish, request, rows
from rune.client.client import Client
from rune.client.watch import Change, Watched, follow
from rune.core.clock import SystemClock

WIDTHS = {"NAME": 24, "INSTANCE ID": 36, "NAMESPACE": 16, "STATUS": 9, "SERVICE": 20}
"""Columns of lines that come one by one keep these widths; longer texts run over."""


async def watch(client: Client, wish: Wish) -> None:
    """Show changes until somebody ends it."""
    view = wish.view
    what = Watched(view.operation(view.list_name), view.operation(view.watch_name))
    if wish.format in ("table", "wide") and not wish.no_headers:
        click.echo(_line([column.heading for column in wish.columns], wish))
    async with aclosing(follow(client, what, request(what.list, wish))) as changes:
        async for change in changes:
            click.echo(_shown(change, wish))


async def go_on(client: Client, row: Operation[Any, Any], request: Message, *, format: str) -> None:
    """The same for a list of the table's: a line of `COLUMN=text` pairs for every change."""
    what = Watched(row, by_name(row.watch))
    refuse_unwatched(what, request)
    async with aclosing(follow(client, what, request)) as changes:
        async for change in changes:
            click.echo(_pairs(change) if format == "table" else _whole(change, format))


def refuse_unwatched(what: Watched, request: Message) -> None:
    """Raise UsageError for options that the list knows and its watch does not."""
    taken = {field.name for field in fields(what.watch.request)}
    for field in fields(what.list.request):
        if field.name not in taken and getattr(request, field.name) != field.default:
            raise click.UsageError(f"--{field.name.replace('_', '-')} does not go with --watch")


def _pairs(change: Change) -> str:
    resource: Message = change.resource
    shown = [part for part in columns(type(resource)) if getattr(resource, part.name)]
    pairs = [f"{part.name}={table.clean(cell(resource, part))}" for part in shown]
    return "   ".join((f"{_event(change).lower():<8}", *pairs))


def _shown(change: Change, wish: Wish) -> str:
    if wish.format in ("json", "yaml"):
        return _whole(change, wish.format)
    cells = rows(wish, [change.resource], SystemClock().now())[0]
    return _line(cells, wish) + ("   (deleted)" if change.event is EventType.DELETED else "")


def _whole(change: Change, format: str) -> str:
    plain = {"type": _event(change), "object": wirejson.to_plain(change.resource)}
    if format == "json":
        return output.as_json(plain)
    import yaml  # noqa: PLC0415 - only this format needs it

    text = yaml.safe_dump(msgspec.to_builtins(plain), sort_keys=False, allow_unicode=True)
    return f"---\n{text}".rstrip()


def _event(change: Change) -> str:
    return change.event.value.removeprefix("EVENT_TYPE_")


def _line(cells: list[str], wish: Wish) -> str:
    sizes = [WIDTHS.get(column.heading, len(column.heading) + 2) for column in wish.columns]
    padded = [table.padded(table.clean(cell), size) for cell, size in zip(cells, sizes, strict=True)]
    return "   ".join(padded).rstrip()
