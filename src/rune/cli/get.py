"""`rune get`: lists, single things, and both as they change."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from rune.cli import options, output
from rune.cli.connect import asked, connected
from rune.cli.state import State
from rune.cli.views import BY_WORD, VIEWS, View
from rune.cli.wishes import Wish, ask, request, rows
from rune.errors import NotFound


@click.command(epilog="Examples: rune get services; rune get svc api -o yaml; rune get instances -A --watch")
@click.argument("type", metavar="TYPE")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@options.namespace
@click.option("-A", "--all-namespaces", is_flag=True, help="Everything you may see, wherever it is.")
@options.output("table", "wide", "json", "yaml")
@click.option("-w", "--watch", is_flag=True, help="Go on with every change.")
@click.option("-l", "--selector", type=options.SELECTOR, default="", help="Labels, such as app=api,tier!=db.")
@click.option("--field-selector", type=options.SELECTOR, default="", help="Fields, such as status=running.")
@click.option("--service-name", metavar="NAME", default="", help="Of instances: those of this service.")
@click.option("--sort-by", metavar="COLUMN", default="", help="A column's heading, such as age or status.")
@click.option("--limit", type=click.IntRange(0), default=0, help="At most so many.")
@click.option("--no-headers", is_flag=True, help="Leave out the headings.")
@click.pass_obj
def get(state: State, type: str, names: tuple[str, ...], **given: Any) -> int | None:  # noqa: ANN401 - click's way
    """Show services, instances, namespaces, configmaps, secrets, deletions, registries, users and more."""
    view = BY_WORD.get(type.lower())
    if view is None:
        known = ", ".join(item.plural for item in VIEWS)
        raise click.UsageError(f"there is no type {type!r}: {known}")
    wish = Wish(
        view=view,
        names=names,
        namespace="*" if given["all_namespaces"] else state.namespace(given["namespace"]),
        format=given["output"],
        labels=given["selector"],
        fields=_fields(view, given),
        sort=given["sort_by"].upper(),
        limit=given["limit"],
        no_headers=given["no_headers"],
    )
    _check(wish, watch=given["watch"])
    if given["watch"]:
        from rune.cli.watching import watch  # noqa: PLC0415 - lists do without

        return connected(state, lambda client: watch(client, wish))
    return _show(wish, fetch(state, wish))


def _fields(view: View, given: dict[str, Any]) -> dict[str, str]:
    """What the fields must be: `--service-name` is the short way to say which service instances are of."""
    service = given["service_name"]
    if service and view.noun != "instance":
        raise click.UsageError(f"--service-name is for instances, and this asks for {view.plural}")
    return {**given["field_selector"], **({"service": service} if service else {})}


def _check(wish: Wish, *, watch: bool) -> None:
    """Say what cannot be asked for before anything is asked."""
    view = wish.view
    if watch and (not view.watch_name or wish.names):
        what = "one thing by name" if view.watch_name else view.plural
        known = ", ".join(item.plural for item in VIEWS if item.watch_name)
        raise click.UsageError(f"{what} cannot be watched; {known} can")
    headings = [column.heading for column in wish.columns]
    if wish.sort and wish.sort not in headings:
        raise click.UsageError(f"--sort-by takes one of {', '.join(headings).lower()}")
    if wish.names and wish.namespace == "*":
        raise click.UsageError("a name is looked for in one namespace: use -n instead of -A")


def fetch(state: State, wish: Wish) -> list[Any]:
    """The items."""
    view = wish.view
    if wish.names and view.get_name:
        operation = view.operation(view.get_name)
        key = "id" if view.noun == "instance" else "name"
        answers = [asked(state, operation, ask(operation, wish, {key: name})) for name in wish.names]
        return [view.got(answer) for answer in answers]
    operation = view.operation(view.list_name)
    items = view.listed(asked(state, operation, request(operation, wish)))
    if not wish.names:
        return items
    found = {item.name: item for item in items}
    missing = [name for name in wish.names if name not in found]
    if missing:
        raise NotFound(f"there is no {view.noun} {missing[0]!r}")
    return [found[name] for name in wish.names]


def _show(wish: Wish, items: list[Any]) -> int | None:
    if wish.sort:
        items = _sorted(wish, items)
    items = items[: wish.limit] if wish.limit else items
    if wish.format in ("json", "yaml"):
        if len(wish.names) == 1:
            output.show(items[0], wish.format)
        else:
            output.show_all(items, wish.format)
        return
    if not items:
        where = "" if not wish.view.is_scoped or wish.namespace == "*" else f" in namespace {wish.namespace}"
        click.echo(f"there are no {wish.view.plural}{where}", err=True)
        return
    headings = [column.heading for column in wish.columns]
    cells = rows(wish, items, _now())
    output.show_table(headings, cells, show_headers=not wish.no_headers)


def _sorted(wish: Wish, items: list[Any]) -> list[Any]:
    """By the column's text; ages by the moment, youngest first, and numbers by value."""
    column = next(column for column in wish.columns if column.heading == wish.sort)
    now = _now()
    if wish.sort == "AGE":
        return sorted(items, key=_moment, reverse=True)
    return sorted(items, key=lambda item: _natural(column.cell(item, now)))


def _now() -> datetime:
    from rune.core.clock import SystemClock  # noqa: PLC0415 - an empty list does without

    return SystemClock().now()


def _natural(text: str) -> tuple[int, float, str]:
    number = text.partition("/")[0]
    return (0, float(number), text) if number.isdecimal() else (1, 0.0, text)


def _moment(item: Any) -> float:  # noqa: ANN401 - a resource of any kind
    metadata = getattr(item, "metadata", None)
    at = getattr(item, "created_at", None) or getattr(metadata, "created_at", None)
    at = at or getattr(item, "start_time", None)
    return at.timestamp() if at else 0.0
