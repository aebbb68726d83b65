"""Where the fields of a request stand in an HTTP request, by the rules of `google.api.http`.

The path fills the fields that its braces name, the body fills the field that the operation names (or all),
the query fills the rest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rune.api.fields import Message
from rune.api.shape import Field, fields

SHORT = {
    "limit": "paging.limit",
    "continuation_token": "paging.continuation_token",
    "continuationToken": "paging.continuation_token",
    "l": "label_selector",
    "labels": "label_selector",
    "fields": "field_selector",
}
"""Short names of query parameters; one that is a field of the request itself means that field."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in the request's message."""

    path: tuple[str, ...]
    owner: type[Message]
    field: Field

    @property
    def name(self) -> str:
        """Dotted, as violations name it."""
        return ".".join(self.path)

    @property
    def names(self) -> set[str]:
        """What a query may call it: both spellings of the field."""
        return {self.name, ".".join((*self.path[:-1], self.field.json))}


def slot(model: type[Message], name: str) -> Slot:
    """The place that a dotted name means; raises StopIteration when there is none."""
    head, _, rest = name.partition(".")
    item = next(item for item in fields(model) if item.wire == head)
    if not rest:
        return Slot((head,), model, item)
    inner = slot(item.python, rest)
    return Slot((head, *inner.path), inner.owner, inner.field)


def query(request: type[Message], taken: Iterable[str]) -> list[Slot]:
    """What the query may fill, besides what is taken; fields of messages one level down are dotted."""
    others = set(taken)
    if "*" in others:
        return []
    return [place for place in _slots(request, (), others) if place.name not in others]


def spellings(places: Iterable[Slot]) -> dict[str, Slot]:
    """Every name that a query may use, the short ones too."""
    found = {name: place for place in places for name in place.names}
    short = {word: found[name] for word, name in SHORT.items() if name in found}
    return {**short, **found}


def _slots(model: type[Message], above: tuple[str, ...], taken: set[str]) -> list[Slot]:
    found: list[Slot] = []
    for item in fields(model):
        if not item.is_message:
            found.append(Slot((*above, item.wire), model, item))
        elif not (item.repeated or item.mapping or above or item.wire in taken):
            found += _slots(item.python, (item.wire,), taken)
    return found
