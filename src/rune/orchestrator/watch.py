"""The handler of WatchService: the log itself, reduced to what the caller may see."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Final

from rune.api import codec
from rune.api.orchestrator import watch as api
from rune.api.orchestrator.configmaps import Configmap
from rune.api.orchestrator.instances import Instance
from rune.api.orchestrator.namespaces import Namespace
from rune.api.orchestrator.services import Service
from rune.api.orchestrator.watch import MutationKind, OrderedEvent, WatchCode, WatchEvent, WatchStatus
from rune.api.resource import Key, Resource
from rune.core.access import Principal
from rune.core.call import Call
from rune.core.dispatch import Dispatcher
from rune.core.store.base import Change, Mutation, Store
from rune.errors import OutOfRange, Unavailable

NOUNS: Final = {
    Service.KIND: "services",
    Instance.KIND: "instances",
    Namespace.KIND: "namespaces",
    Configmap.KIND: "configmaps",
}
"""The kinds that are shown, and the noun of their permission. Whatever is not named here never leaves."""
KEPT: Final = 256
"""Encoded resources kept for other watchers of the same change."""
LARGEST_KEPT: Final = 64 << 10
"""Bytes; larger ones are encoded anew for each."""


class Watch:
    """What can be watched in one stream."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._payloads: dict[tuple[Key, int], bytes] = {}

    def register(self, dispatcher: Dispatcher) -> None:
        """Make this the handler of the operation."""
        dispatcher.handles(api.subscribe)(self.subscribe)

    async def subscribe(self, call: Call, ask: api.SubscribeRequest) -> AsyncIterator[WatchEvent]:
        """Every change from a revision on; the last message says why there are no more."""
        try:
            changes = self._store.watch(ask.from_seq - 1 if ask.from_seq else self._store.revision)
        except OutOfRange as lost:
            yield _end(WatchCode.COMPACTED, lost.message, lost.oldest + 1)
            return
        except Unavailable as closed:
            yield _end(WatchCode.SHUTTING_DOWN, closed.message)
            return
        end = None
        try:
            async for change in changes:
                event = self._event(change, call.principal)
                if event is not None:
                    yield WatchEvent(event=event)
        except OutOfRange as lost:
            end = _end(WatchCode.SLOW_CONSUMER, lost.message, lost.oldest + 1)
        except Unavailable as closed:
            end = _end(WatchCode.SHUTTING_DOWN, closed.message)
        if end is not None:
            yield end

    def _event(self, change: Change, principal: Principal) -> OrderedEvent | None:
        """The change as the principal may see it; None when nothing is left of it."""
        seen = [self._mutation(item) for item in _visible(change.mutations, principal)]
        if not seen:
            return None
        return OrderedEvent(seq=change.revision, op_type=change.operation, mutations=seen)

    def _mutation(self, mutation: Mutation) -> api.Mutation:
        kind, namespace, name = mutation.key
        gone = mutation.after is None
        return api.Mutation(
            kind=MutationKind.DELETE if gone else MutationKind.PUT,
            resource_type=kind,
            namespace=namespace,
            name=name,
            payload=b"" if mutation.after is None else self._payload(mutation.after),
        )

    def _payload(self, resource: Resource) -> bytes:
        """Its bytes, worked out once for all who watch."""
        key = (resource.key, resource.revision)
        found = self._payloads.get(key)
        if found is not None:
            return found
        payload = codec.encode(resource)
        if len(payload) <= LARGEST_KEPT:
            self._payloads[key] = payload
        if len(self._payloads) > KEPT:
            del self._payloads[next(iter(self._payloads))]
        return payload


def _end(code: WatchCode, message: str, retained: int = 0) -> WatchEvent:
    return WatchEvent(status=WatchStatus(code=code, message=message, retained_min_seq=retained))


def _visible(mutations: Iterable[Mutation], principal: Principal) -> Iterable[Mutation]:
    """Those of a kind that is shown, where the principal may watch it; a namespace is its own."""
    for mutation in mutations:
        kind, namespace, name = mutation.key
        noun = NOUNS.get(kind)
        if noun and principal.may(noun, "watch", namespace or name):
            yield mutation
