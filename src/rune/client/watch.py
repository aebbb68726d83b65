"""Watching that goes on: a list, then every change after it, over as many connections as it takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, NamedTuple

import msgspec

from rune.api.common import EventType, PagingParams, Status
from rune.api.fields import Message
from rune.api.operation import Operation
from rune.api.resource import Key, Resource
from rune.api.shape import fields
from rune.client.client import Client
from rune.errors import OutOfRange, Unavailable

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
GIVE_UP_SECONDS = 60.0
"""A server that stays away for longer ends the watch."""


class Change(NamedTuple):
    """What happened to one resource; its last value where it was deleted."""

    event: EventType
    resource: Any
    is_first: bool = False
    """It was there when the watch began."""


class Watched(NamedTuple):
    """A list operation and the watch that goes on where it ends."""

    list: Operation[Any, Any]
    watch: Operation[Any, Any]


async def follow(client: Client, what: Watched, request: Message) -> AsyncGenerator[Change]:
    """What there is, then every change, in order, none lost and none twice.

    A dropped connection is taken up again where it broke; where the server no longer remembers that, the
    list is read again and only what differs is told. Raises Unavailable when the server stays away.
    """
    at = _Place(client, what, request)
    patience = Patience()
    while True:
        async with aclosing(_until_broken(at, patience)) as changes:
            async for change in changes:
                yield change
        await asyncio.sleep(patience.pause())


async def _until_broken(at: _Place, patience: Patience) -> AsyncGenerator[Change]:
    """Changes over one connection."""
    try:
        async with aclosing(at.changes()) as changes:
            async for change in changes:
                patience.reset()
                yield change
    except OutOfRange:
        at.revision = 0
    except Unavailable as error:
        patience.check(error)


class _Place:
    """How far a watch has come, and what it knows."""

    def __init__(self, client: Client, what: Watched, request: Message) -> None:
        self.revision = 0
        self._client, self._what, self._request = client, what, request
        self._known: dict[Key, Any] = {}
        self._gone: set[Key] = set()
        """What was deleted since the revision moved on."""
        self._is_first = True

    async def changes(self) -> AsyncGenerator[Change]:
        """Changes until the connection breaks, after a list where there is nothing to go on from."""
        what = self._what
        if not self.revision and _tells_revision(what.list):
            answer: Any = await self._client.call(what.list, self._request)
            for change in self._begun(_resources(what.list, answer), answer.revision):
                yield change
        request = _from(what.watch, self._request, self.revision)
        async with aclosing(self._client.stream(what.watch, request)) as items:
            if not (self.revision or _tells_revision(what.list)):
                for change in self._begun(*await self._beginning(items)):
                    yield change
            async for item in items:
                if item.revision > self.revision:
                    self.revision = item.revision
                    self._gone.clear()
                change = Change(item.event_type, _resource(what.watch, item))
                if self._note(change):
                    yield change

    async def _beginning(self, items: AsyncIterator[Any]) -> tuple[list[Any], int]:
        """What a watch that begins by itself says there is, and the revision at which that was so."""
        found: list[Any] = []
        async for item in items:
            resource = _resource(self._what.watch, item)
            if resource is None:
                return found, item.revision
            found.append(resource)
        raise Unavailable("the watch ended before it said all that there is")

    def _note(self, change: Change) -> bool:
        """Whether it is news: where a connection broke inside a change of several, some come once more."""
        key, resource = key_of(change.resource), change.resource
        if change.event is EventType.DELETED:
            is_news = key not in self._gone
            self._gone.add(key)
            self._known.pop(key, None)
            return is_news
        before, self._known[key] = self._known.get(key), resource
        return before != resource

    def _begun(self, found: list[Any], revision: int) -> list[Change]:
        """What differs from what was known."""
        changes = _differences(self._known, found, is_first=self._is_first)
        self.revision, self._is_first = revision, False
        return changes


class Patience:
    """How long the server has been away, and how long to wait before it is asked again."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._pause = FIRST_PAUSE

    def reset(self) -> None:
        """It is there."""
        self._since, self._pause = None, FIRST_PAUSE

    def check(self, error: Unavailable) -> None:
        """Raise the error when it has been away for too long."""
        now = asyncio.get_running_loop().time()
        self._since = self._since if self._since is not None else now
        if now - self._since > GIVE_UP_SECONDS:
            raise error

    def pause(self) -> float:
        """Seconds, twice as many each time."""
        now, self._pause = self._pause, min(self._pause * 2, LONGEST_PAUSE)
        return now


def _differences(known: dict[Key, Any], found: list[Any], *, is_first: bool) -> list[Change]:
    fresh = {key_of(resource): resource for resource in found}
    changes = [Change(EventType.DELETED, known[key]) for key in known if key not in fresh]
    for key, resource in fresh.items():
        before = known.get(key)
        if before is None:
            changes.append(Change(EventType.ADDED, resource, is_first))
        elif not _is_same(before, resource):
            changes.append(Change(EventType.MODIFIED, resource))
    known.clear()
    known.update(fresh)
    return changes


def _from(watch: Operation[Any, Any], request: Message, revision: int) -> Message:
    """The watch's request: what the list was asked, from the revision on."""
    taken = {field.name for field in fields(watch.request)}
    same = {name: value for name, value in msgspec.structs.asdict(request).items() if name in taken}
    renamed = {"service_id": getattr(request, "service_name", "")} if "service_id" in taken else {}
    return watch.request(**{**same, **renamed, "resume": revision})


def _tells_revision(operation: Operation[Any, Any]) -> bool:
    """A list that does is where its watch goes on; without it the watch begins with what there is."""
    return any(field.name == "revision" for field in fields(operation.response))


def _resources(operation: Operation[Any, Any], answer: Message) -> list[Any]:
    return getattr(answer, _holder(operation))


def _resource(operation: Operation[Any, Any], item: Message) -> Any:  # noqa: ANN401 - a resource of any kind
    return getattr(item, _holder(operation))


def _holder(operation: Operation[Any, Any]) -> str:
    """The field of the answer that holds its resources: the first message that is not about the answer."""
    for field in fields(operation.response):
        if field.is_message and not issubclass(field.python, (Status, PagingParams)):
            return field.name
    raise TypeError(f"{operation.name} answers with no resource")


def key_of(resource: Any) -> Key:  # noqa: ANN401 - a message of any kind
    """What tells it from others of its kind; not everything that is listed is stored like that."""
    if isinstance(resource, Resource):
        return resource.key
    name = getattr(resource, "id", "") or resource.name
    return Key(type(resource).__name__, getattr(resource, "namespace", ""), name)


def _is_same(one: Any, other: Any) -> bool:  # noqa: ANN401 - messages of any kind
    revisions = getattr(one, "revision", 0), getattr(other, "revision", 0)
    return revisions[0] == revisions[1] if any(revisions) else one == other
