"""From the parts of an HTTP request to the operation's message, by the rules of `google.api.http`.

The path fills the fields that its braces name, the body fills the field that the operation names (or all),
the query fills the rest. Where two of them fill one field with different values the request is refused.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

from rune.api import Operation, wirejson
from rune.api.fields import Message
from rune.api.places import Slot, query, slot, spellings
from rune.api.resource import Resource
from rune.api.shape import fields
from rune.api.validate import build
from rune.errors import InvalidArgument, Violation
from rune.server.texts import parsed

Pairs = Sequence[tuple[str, str]]
MOST_PARAMETERS = 100
SHOWN = 80
"""How much of a value a violation repeats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """One HTTP request, split but not yet understood."""

    values: Sequence[str] = ()
    """What the path has in place of the template's braces, percent-encoded."""
    query: Pairs = ()
    body: bytes = b""
    revision: int | None = None
    """From If-Match."""
    resume: str = ""
    """From Last-Event-ID."""
    known: str = ""
    """From If-None-Match."""


@dataclass(slots=True)
class _Draft:
    """The data so far, and what is wrong with it."""

    data: dict[str, Any] = field(default_factory=dict[str, Any])
    wrong: list[Violation] = field(default_factory=list[Violation])


class Binding:
    """How one operation's message is made; worked out once."""

    def __init__(self, operation: Operation[Any, Any], parameters: Iterable[str], body: str = "") -> None:
        self.request: type[Message] = operation.request
        self.body = body
        self._path = [slot(self.request, name) for name in parameters]
        self._own = {item.wire: item for item in fields(self.request)}
        taken = {place.name for place in self._path}
        self.query = spellings(query(self.request, taken | {body}))
        self._guard = self._revision_slot()

    def message(self, parts: Parts) -> Message:
        """The message; raises InvalidArgument with everything that is wrong with the request."""
        draft = _Draft()
        if self.body:
            self._take_body(draft, parts.body)
        for place, text in zip(self._path, parts.values, strict=True):
            self._take(draft, place, [_decoded(place, text)])
        if parts.query:
            self._take_query(draft, parts.query)
        if parts.resume:
            self._take_resume(draft, parts.resume)
        if parts.known and "etag" in self._own:
            draft.data["etag"] = parts.known.strip().removeprefix("W/").strip('"')[:128]
        if parts.revision is not None:
            self._take_revision(draft, parts.revision)
        if draft.wrong:
            raise InvalidArgument.of(draft.wrong)
        return build(self.request, draft.data)

    def _take_body(self, draft: _Draft, body: bytes) -> None:
        data = wirejson.parse(body)
        if self.body == "*":
            draft.data = wirejson.from_plain(self.request, data)
        else:
            model = self._own[self.body].python
            draft.data = {self.body: wirejson.from_plain(model, data, f"{self.body}.")}

    def _take_query(self, draft: _Draft, pairs: Pairs) -> None:
        given: dict[str, list[str]] = {}
        for name, text in pairs:
            given.setdefault(name, []).append(text)
        for name, texts in given.items():
            place = self.query.get(name)
            if place is None:
                draft.wrong.append(Violation(name[:100], self._unknown(name)))
            else:
                self._take(draft, place, texts)

    def _unknown(self, name: str) -> str:
        if name in {part for place in self._path for part in place.names}:
            return "is given by the path"
        if self.body == "*":
            return "is not a query parameter here: everything is in the body"
        near = difflib.get_close_matches(name[:100], self.query, n=1)
        return "is not a query parameter here" + (f"; did you mean {near[0]}?" if near else "")

    def _take(self, draft: _Draft, place: Slot, texts: Sequence[str]) -> None:
        value, wrong = parsed(place.field, texts)
        if wrong:
            draft.wrong.append(Violation(place.name, wrong))
        else:
            _place(draft, place, value)

    def _take_resume(self, draft: _Draft, text: str) -> None:
        """A browser that comes back asks with its first address: what it saw last counts for more."""
        if "resume" in self._own:
            draft.data.pop("resume", None)
            self._take(draft, slot(self.request, "resume"), [text])

    def _take_revision(self, draft: _Draft, revision: int) -> None:
        if self._guard is None:
            draft.wrong.append(
                Violation("If-Match", "cannot be honoured: the request holds no resource with a revision")
            )
        else:
            _place(draft, self._guard, revision)

    def _revision_slot(self) -> Slot | None:
        if "revision" in self._own:
            return slot(self.request, "revision")
        holder = self._own.get(self.body)
        if holder is None or not issubclass(holder.python, Resource):
            return None
        return slot(self.request, f"{self.body}.revision")


def pairs(query: bytes) -> Pairs:
    """The parameters of a query string; raises InvalidArgument for broken UTF-8 or too many."""
    try:
        return parse_qsl(
            query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MOST_PARAMETERS
        )
    except (UnicodeError, ValueError) as error:
        raise InvalidArgument(
            f"the query is not percent-encoded UTF-8 of at most {MOST_PARAMETERS} parameters"
        ) from error


def _place(draft: _Draft, place: Slot, value: object) -> None:
    """Put a value where it belongs, unless something else is there."""
    holder: dict[str, Any] = draft.data
    for name in place.path[:-1]:
        holder = holder.setdefault(name, {})
    last = place.path[-1]
    there = holder.get(last)
    if there and there != value:
        draft.wrong.append(
            Violation(place.name, f"is {_shown(there)} in one place and {_shown(value)} in another")
        )
    else:
        holder[last] = value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _decoded(place: Slot, text: str) -> str:
    if "%" not in text:
        return text
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError as error:
        raise InvalidArgument.of([Violation(place.name, "is not percent-encoded UTF-8")]) from error
