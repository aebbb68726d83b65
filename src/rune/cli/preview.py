"""`rune cast --dry-run` and `--diff`: what would happen, beside what is there."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from typing import Any, cast

import click
import msgspec
import yaml

from rune.api.fields import Message
from rune.api.orchestrator import configmaps, namespaces, services
from rune.api.shape import fields
from rune.cli import output, table
from rune.client.client import Client
from rune.errors import NotFound, Unimplemented
from rune.manifest.documents import KINDS, Item
from rune.manifest.template.sealed import MASK
from rune.manifest.values import yaml_path
from rune.manifest.words import WRITTEN_BY_SERVER

COLOURS = {"+++": "", "---": "", "+": "green", "-": "red", "@@": "cyan"}
"""Of the lines of a diff, by how they begin; the first that fits."""
_GET: dict[str, tuple[Any, Any]] = {
    "service": (services.get, services.GetServiceRequest),
    "configmap": (configmaps.get, configmaps.GetConfigmapRequest),
    "namespace": (namespaces.get, namespaces.GetNamespaceRequest),
}


async def preview(client: Client, items: list[Item], *, with_diff: bool) -> None:
    """Show for every resource whether it would be created, changed or left alone."""
    rows: list[list[str]] = []
    for item in sorted(items, key=lambda item: list(KINDS).index(item.kind)):
        there = await _there(client, item)
        wanted = _spec(item.model, item.model)
        before = _spec(there, item.model) if there is not None else None
        if before is not None and item.kind == "service" and _is_autoscaled(item.model, there):
            wanted["scale"] = before.get("scale", 0)
        action = "create" if before is None else "unchanged" if before == wanted else "update"
        if item.kind == "secret":
            action = "create or update"
        if with_diff and action != "unchanged" and item.kind != "secret":
            old = Veil.of(item, "before").over(before, wanted) if before is not None else None
            _diff(item, old, Veil.of(item, "changed").over(wanted, before or {}))
        rows.append([action, item.kind, getattr(item.model, "namespace", "") or "-", item.model.name])
    if not with_diff:
        output.show_table(["ACTION", "KIND", "NAMESPACE", "NAME"], rows)


def _is_autoscaled(one: Any, other: Any) -> bool:  # noqa: ANN401 - two services
    """What autoscale has reached is kept over a cast, whatever the file says."""
    return all(each.autoscale is not None and each.autoscale.enabled for each in (one, other))


async def _there(client: Client, item: Item) -> Any:  # noqa: ANN401 - a resource of any kind
    """What the server has of this name; a secret's values it does not tell, so they are not compared."""
    if item.kind not in _GET:
        return None
    operation, request = _GET[item.kind]
    scope = {} if item.kind == "namespace" else {"namespace": item.model.namespace}
    try:
        return getattr(await client.call(operation, request(name=item.model.name, **scope)), item.kind)
    except (NotFound, Unimplemented):
        return None


def _spec(message: Message, wanted: Message) -> dict[str, Any]:
    """The part that a file decides, defaults left out; what it leaves to the server is not compared."""
    found = said(message)
    if not getattr(wanted, "runtime", ""):
        found.pop("runtime", None)
    return found


def said(message: Message) -> dict[str, Any]:
    """What a file would have to say for this message: nothing of the server's, no defaults."""
    hidden = WRITTEN_BY_SERVER.get(type(message), frozenset())
    found: dict[str, Any] = {}
    for field in fields(type(message)):
        value = getattr(message, field.name)
        if field.wire in hidden or value is None or value == field.default:
            continue
        if (text := _said(value)) != {}:  # a message with nothing but the server's words
            found[field.json] = text
    return found


def _said(value: Any) -> Any:  # noqa: ANN401 - a field's value
    if isinstance(value, Message):
        return said(value)
    if isinstance(value, list):
        return [_said(item) for item in cast("list[Any]", value)]
    return msgspec.to_builtins(value)


@dataclass(frozen=True, slots=True)
class Veil:
    """Paths that are sensitive, and what is written there where both sides differ."""

    paths: frozenset[str]
    differs: str

    @classmethod
    def of(cls, item: Item, differs: str) -> Veil:
        """What came from sensitive values."""
        return cls(frozenset(yaml_path(path) for path, spot in item.spots.items() if spot.is_sealed), differs)

    def over(self, plain: Any, other: Any, path: str = "") -> Any:  # noqa: ANN401 - plain data
        """The same without what is sensitive; that it differs from the other side can still be seen.

        A list is hidden whole, and so are keys beside a sensitive one that the other side has not: an older
        secret may stand at another place.
        """
        is_above = any(one.startswith((f"{path}.", f"{path}[")) for one in self.paths)
        if yaml_path(path) in self.paths or (is_above and not isinstance(plain, dict)):
            return MASK if plain == other else f"{MASK} ({self.differs})"
        if not is_above and path:
            return cast("Any", plain)
        theirs = cast("dict[str, Any]", other if isinstance(other, dict) else {})
        return {
            key: MASK
            if path and key not in theirs
            else self.over(value, theirs.get(key), f"{path}.{key}" if path else key)
            for key, value in cast("dict[str, Any]", plain).items()
        }


def _diff(item: Item, before: dict[str, Any] | None, after: dict[str, Any]) -> None:
    old = _lines(before) if before is not None else []
    name = f"{item.kind}/{item.model.name}"
    there = f"{name} (on the server)" if before is not None else "/dev/null"
    for line in difflib.unified_diff(old, _lines(after), there, f"{name} ({item.spot.file})", lineterm=""):
        colour = next((COLOURS[mark] for mark in COLOURS if line.startswith(mark)), "")
        shown = table.clean(line)
        click.echo(output.colour(shown, colour, environ=os.environ) if colour else shown)


def _lines(plain: dict[str, Any]) -> list[str]:
    return yaml.safe_dump(plain, sort_keys=True, allow_unicode=True).splitlines()
