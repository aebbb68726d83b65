"""What `rune get` was asked for, as requests and as cells of a table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click
import msgspec

from rune.cli.views import Column, View


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for."""

    view: View
    names: tuple[str, ...]
    namespace: str
    format: str
    labels: dict[str, str]
    fields: dict[str, str]
    sort: str
    limit: int
    no_headers: bool

    @property
    def columns(self) -> tuple[Column, ...]:
        """What the table shows."""
        everywhere = self.view.is_scoped and self.namespace == "*"
        first = (Column("NAMESPACE", lambda item, _now: item.namespace or "-"),) if everywhere else ()
        return (*first, *self.view.columns, *(self.view.wide if self.format == "wide" else ()))


def request(operation: Any, wish: Wish) -> Any:  # noqa: ANN401 - an operation of any view, and its request
    """The list's request."""
    paging = {}
    if wish.limit:
        from rune.api.common import PagingParams  # noqa: PLC0415 - only for a limit

        paging = {"paging": PagingParams(limit=wish.limit)}
    given = {"label_selector": wish.labels, "field_selector": wish.fields, **paging}
    for option, field in (("-l", "label_selector"), ("--field-selector", "field_selector")):
        if given[field] and field not in operation.request.__struct_fields__:
            raise click.UsageError(f"{wish.view.plural} have nothing for {option}")
    return ask(operation, wish, given)


def ask(operation: Any, wish: Wish, given: dict[str, Any]) -> Any:  # noqa: ANN401 - as request
    """A request with what was given, in the namespace that was."""
    taken = operation.request.__struct_fields__
    scope = {"namespace": wish.namespace} if wish.view.is_scoped else {}
    return operation.request(**{key: value for key, value in {**scope, **given}.items() if key in taken})


def rows(wish: Wish, items: Sequence[Any], now: datetime) -> list[list[str]]:
    """The table's cells."""
    return [[column.cell(item, now) for column in wish.columns] for item in items]
