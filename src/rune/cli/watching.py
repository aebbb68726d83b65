"""`rune get --watch`: what there is, then a line for every change."""

from __future__ import annotations

from contextlib import aclosing

import click
import msgspec

from rune.api import wirejson
from rune.api.common import EventType
from rune.cli import table
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


def _shown(change: Change, wish: Wish) -> str:
    plain = {"type": _event(change), "object": wirejson.to_plain(change.resource)}
    if wish.format == "json":
        return msgspec.json.encode(plain).decode()
    if wish.format == "yaml":
        import yaml  # noqa: PLC0415 - only this format needs it

        text = yaml.safe_dump(msgspec.to_builtins(plain), sort_keys=False, allow_unicode=True)
        return f"---\n{text}".rstrip()
    cells = rows(wish, [change.resource], SystemClock().now())[0]
    return _line(cells, wish) + ("   (deleted)" if change.event is EventType.DELETED else "")


def _event(change: Change) -> str:
    return change.event.value.removeprefix("EVENT_TYPE_")


def _line(cells: list[str], wish: Wish) -> str:
    sizes = [WIDTHS.get(column.heading, len(column.heading) + 2) for column in wish.columns]
    padded = [table.padded(table.clean(cell), size) for cell, size in zip(cells, sizes, strict=True)]
    return "   ".join(padded).rstrip()
