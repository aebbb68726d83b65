"""Handlers of namespaces, and the door that everything new in a namespace comes through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

from rune.api.common import OK, Status
from rune.api.orchestrator import namespaces as api
from rune.api.orchestrator.namespaces import Namespace, NamespaceDeletion
from rune.api.resource import Resource
from rune.core.call import Call
from rune.core.clock import Clock
from rune.core.crud import change, put
from rune.core.dispatch import Dispatcher
from rune.core.settle import TRIES
from rune.core.store.base import Put, Store, Write
from rune.errors import (
    AlreadyExists,
    Conflict,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    OutOfRange,
    Violation,
)
from rune.orchestrator import listing
from rune.orchestrator.spec import MOST_LABELS

RESERVED: Final = ("default", "system")
INTERNAL: Final = frozenset({"instance", "template", "deletion", "configmap-version", "secret-version"})
"""Kinds that come and go with what users make: a namespace that holds only these counts as empty."""
DELETE_WAIT: Final = 300
NAMED: Final = 5
"""How many resources of a kind are named in a refusal; the rest are counted."""


class Namespaces:
    """What can be done with namespaces. `kinds` are all that the store may hold."""

    def __init__(self, store: Store, kinds: Sequence[type[Resource]], *, clock: Clock) -> None:
        self._store = store
        self._kinds = kinds
        self._clock = clock

    def register(self, dispatcher: Dispatcher) -> None:
        """Make these the handlers of the operations."""
        for operation, handler in (
            (api.create, self.create),
            (api.get, self.get),
            (api.list_, self.list),
            (api.watch, self.watch),
            (api.delete, self.delete),
        ):
            dispatcher.handles(operation)(handler)

    async def create(self, call: Call, ask: api.CreateNamespaceRequest) -> api.CreateNamespaceResponse:
        """Store a new namespace."""
        given = ask.namespace
        if given.name in RESERVED:
            what = f"namespace name '{given.name}' is reserved and cannot be used"
            raise InvalidArgument.of([Violation("namespace.name", what)])
        if len(given.labels) > MOST_LABELS:
            what = f"has {len(given.labels)} entries; {MOST_LABELS} are the most"
            raise InvalidArgument.of([Violation("namespace.labels", what)])
        if self._store.find(Namespace, "", given.name) is not None:
            raise AlreadyExists(f"namespace {given.name} exists already")
        made = new(given.name, clock=self._clock, description=given.description, labels=given.labels)
        await self._store.commit(Put(made), operation=call.operation.permission)
        return api.CreateNamespaceResponse(namespace=self._get(given.name), status=OK)

    async def get(self, call: Call, ask: api.GetNamespaceRequest) -> api.GetNamespaceResponse:
        """One namespace."""
        return api.GetNamespaceResponse(namespace=self._get(ask.name), status=OK)

    async def list(self, call: Call, ask: api.ListNamespacesRequest) -> api.ListNamespacesResponse:
        """The namespaces that match."""
        revision = self._store.revision
        rows = listing.visible(self._store, call, ask, kind=listing.NAMESPACES)
        return api.ListNamespacesResponse(namespaces=rows, status=OK, revision=revision)

    async def watch(
        self, call: Call, ask: api.WatchNamespacesRequest
    ) -> AsyncIterator[api.WatchNamespacesResponse]:
        """What there is, then every change."""
        async for seen in listing.watched(self._store, call, ask, kind=listing.NAMESPACES):
            yield api.WatchNamespacesResponse(
                namespace=seen.resource, event_type=seen.event_type, revision=seen.revision
            )

    async def delete(self, call: Call, ask: api.DeleteNamespaceRequest) -> api.DeleteNamespaceResponse:
        """Mark it for deletion and wait until it is gone; its reconciler does the rest.

        Asked again while a deletion is under way, or after one that was waited for in vain, it waits on.
        """
        if ask.name in RESERVED:
            raise FailedPrecondition(f"cannot delete reserved namespace: {ask.name}")
        found = self._store.find(Namespace, "", ask.name)
        if found is None and ask.ignore_not_found:
            return api.DeleteNamespaceResponse(status=Status(message="not found"))
        if found is None:
            raise _missing(ask.name)
        if not ask.force and found.deletion is not NamespaceDeletion.FORCED:
            self._refuse_content(ask.name)
        revision = self._store.revision
        with suppress(NotFound):  # it may be gone sooner than it is read again
            await change(
                self._store,
                lambda: self._get(ask.name),
                lambda now: self._marked(now, force=ask.force),
                operation=call.operation.permission,
            )
        await self._gone(found, revision)
        return api.DeleteNamespaceResponse(status=OK)

    def _marked(self, found: Namespace, *, force: bool) -> Sequence[Write]:
        wanted = NamespaceDeletion.FORCED if force else NamespaceDeletion.IF_EMPTY
        if found.deletion in (wanted, NamespaceDeletion.FORCED):
            return []
        return [put(found, deletion=wanted, updated_at=self._clock.now())]

    async def _gone(self, found: Namespace, after: int) -> None:
        """Until it is gone; raises FailedPrecondition when the deletion was called off."""
        try:
            async with asyncio.timeout(DELETE_WAIT):
                while not self._is_gone(found):
                    after = await _next(self._store, after)
        except TimeoutError as error:
            left = contents(self._store, self._kinds, found.name) or "its last instances"
            raise DeadlineExceeded(
                f"namespace {found.name} is not gone after {DELETE_WAIT} s: {left} are still being ended;"
                " it goes with them, and deleting it again waits on"
            ) from error

    def _is_gone(self, found: Namespace) -> bool:
        now = self._store.find(Namespace, "", found.name)
        if now is None or now.id != found.id:
            return True
        if now.deletion is NamespaceDeletion.UNSPECIFIED:
            self._refuse_content(now.name)
            raise Conflict(f"the deletion of namespace {now.name} was called off; try again")
        return False

    def _refuse_content(self, name: str) -> None:
        held = contents(self._store, self._kinds, name)
        if held:
            raise FailedPrecondition(
                f"namespace {name} is not empty, it holds {held}: delete them first, or use --force"
                " to delete everything in it"
            )

    def _get(self, name: str) -> Namespace:
        namespace = self._store.find(Namespace, "", name)
        if namespace is None:
            raise _missing(name)
        return namespace


async def seed(store: Store, *, clock: Clock) -> None:
    """Make `default` and `system` unless they are there."""
    missing = [name for name in RESERVED if store.find(Namespace, "", name) is None]
    await store.commit(*(Put(new(name, clock=clock)) for name in missing), operation="namespaces.seed")


def new(
    name: str, *, clock: Clock, description: str = "", labels: Mapping[str, str] | None = None
) -> Namespace:
    """A namespace that is about to be stored."""
    now = clock.now()
    return Namespace(
        id=clock.new_id(),
        name=name,
        description=description,
        labels=dict(labels or {}),
        created_at=now,
        updated_at=now,
    )


async def create_in(
    store: Store, namespace: str, writes: Sequence[Write], *, ensure: bool, clock: Clock, operation: str
) -> None:
    """Commit something new in a namespace; with `ensure`, the namespace as well when there is none.

    Nothing is awaited between the look at the namespace and the commit. The namespace's reconciler
    relies on that: a commit after its mark shows in reads only after all that did not see the mark.
    """
    for _ in range(TRIES):
        admitted = admit(store, namespace, ensure=ensure, clock=clock)
        try:
            await store.commit(*writes, *admitted, operation=operation)
        except AlreadyExists:
            if not admitted:
                raise
            continue  # somebody makes the namespace as well, and may not be done yet
        return
    raise Conflict(f"namespace {namespace} is made and deleted by others all the time; try again")


def admit(store: Store, name: str, *, ensure: bool, clock: Clock) -> Sequence[Write]:
    """The writes that let something new be made there; raises FailedPrecondition where it may not."""
    found = store.find(Namespace, "", name)
    if found is None and not ensure:
        raise FailedPrecondition(
            f"failed to ensure namespace exists: namespace {name} does not exist"
            " (use --create-namespace to create it)"
        )
    if found is None:
        return [Put(new(name, clock=clock, labels={"rune/auto-created": "true"}))]
    if found.deletion is not NamespaceDeletion.UNSPECIFIED:
        raise FailedPrecondition(f"namespace {name} is being deleted: nothing new may be made in it")
    return []


def contents(store: Store, kinds: Sequence[type[Resource]], namespace: str) -> str:
    """What users made there, in words: `2 services (api, web), 1 configmap (app)`; empty for nothing."""
    found: list[str] = []
    for kind in kinds:
        items = () if kind.KIND in INTERNAL else store.list(kind, namespace)
        if items:
            names = [item.key.name for item in items[:NAMED]] + ["…"] * (len(items) > NAMED)
            plural = "s" if len(items) > 1 else ""
            found.append(f"{len(items)} {kind.KIND}{plural} ({', '.join(names)})")
    return ", ".join(found)


async def _next(store: Store, after: int) -> int:
    """The revision of the next change; a reader that fell behind goes on with what is there now."""
    with suppress(OutOfRange):
        async for seen in store.watch(after):
            return seen.revision
    return store.revision


def _missing(name: str) -> NotFound:
    return NotFound(f"namespace not found: {name}")
