"""Resources: everything that can be read by name, under `rune://` and the path that it has over REST."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any, Final
from urllib.parse import unquote

from mcp import types

from rune.api import Effect, Operation
from rune.api.security import alerts
from rune.mcp import schemas

SCHEME: Final = "rune://"
JSON: Final = "application/json"
OPEN_ALERTS: Final = "rune://alerts/open"
NAMED: Final[tuple[tuple[str, str, Operation[Any, Any], dict[str, Any]], ...]] = (
    (OPEN_ALERTS, "open_alerts", alerts.list_, {"status": "open"}),
)
"""Addresses that say a part of the question: address, name, operation, and what it is asked."""


def readable(rows: Iterable[Operation[Any, Any]]) -> list[Operation[Any, Any]]:
    """Those of the rows that one GET answers."""
    return [
        row
        for row in rows
        if row.effect is Effect.READ and not row.streams and row.http is not None and row.http.verb == "GET"
    ]


def resources(rows: Collection[Operation[Any, Any]]) -> list[types.Resource]:
    """Those whose address is complete."""
    complete = [(uri(row), row.name, row) for row in readable(rows) if not _parameters(row)]
    named = [(address, name, row) for address, name, row, _ in NAMED if row in rows]
    return [
        types.Resource(uri=address, name=name, description=row.summary, mime_type=JSON)
        for address, name, row in (*complete, *named)
    ]


def templates(rows: Iterable[Operation[Any, Any]]) -> list[types.ResourceTemplate]:
    """Those whose address has places to fill."""
    return [
        types.ResourceTemplate(uri_template=uri(row), name=row.name, description=_about(row), mime_type=JSON)
        for row in readable(rows)
        if _parameters(row)
    ]


def uri(operation: Operation[Any, Any]) -> str:
    """Its address, with names in braces where something must be filled in."""
    path = operation.http.path if operation.http else ""
    return SCHEME + re.sub(r"^/(?:v\d+/)?", "", path)


def find(
    rows: Iterable[Operation[Any, Any]], address: str
) -> tuple[Operation[Any, Any], dict[str, Any]] | None:
    """The operation that reads the address, and what the address says; the most literal one of several."""
    found: list[tuple[int, Operation[Any, Any], dict[str, Any]]] = []
    rows = list(rows)
    for named, _, row, values in NAMED:
        if named == address and row in rows:
            return row, dict(values)
    for row in readable(rows):
        values = _match(uri(row), address)
        if values is not None:
            found.append((len(values), row, values))
    if not found:
        return None
    _, row, values = min(found, key=lambda each: each[0])
    return row, values


def _match(template: str, address: str) -> dict[str, Any] | None:
    asked, given = template.split("/"), address.split("/")
    if len(asked) != len(given):
        return None
    values: dict[str, Any] = {}
    for name, text in zip(asked, given, strict=True):
        if name.startswith("{"):
            values[name.strip("{}")] = unquote(text)
        elif name != text:
            return None
    return values


def _parameters(operation: Operation[Any, Any]) -> tuple[str, ...]:
    return operation.http.parameters if operation.http else ()


def _about(operation: Operation[Any, Any]) -> str:
    return f"{operation.summary} {schemas.about(operation.request)}"
