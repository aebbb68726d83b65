"""Lists and watches of every kind: what may be seen, what matches, in pages or as a stream of changes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Generic, Protocol, TypeVar

from rune.api.common import EventType, PagingParams
from rune.api.orchestrator.configmaps import Configmap
from rune.api.orchestrator.instances import Instance
from rune.api.orchestrator.namespaces import Namespace
from rune.api.orchestrator.services import Service
from rune.api.resource import Resource
from rune.core.call import Call
from rune.core.crud import field_matches, matches, page
from rune.core.following import Seen, changes
from rune.core.store.base import Store

R = TypeVar("R", bound=Resource)


class Selection(Protocol):
    """The part of a list or watch request that all kinds share."""

    @property
    def label_selector(self) -> Mapping[str, str]: ...

    @property
    def field_selector(self) -> Mapping[str, str]: ...


class Resumable(Selection, Protocol):
    """A watch request."""

    @property
    def resume(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed(Generic[R]):
    """What a kind can be selected by."""

    kind: type[R]
    fields: Mapping[str, Callable[[Any], str]]

    def namespace(self, resource: R) -> str:
        """The namespace that rights are asked for: a namespace is its own."""
        return resource.key.namespace or resource.key.name

    def selects(self, resource: R, ask: Selection) -> bool:
        """Every selector of the request agrees."""
        labels: Mapping[str, str] = getattr(resource, "labels", {})
        return matches(labels, ask.label_selector) and field_matches(
            resource, ask.field_selector, self.fields
        )


def _status(resource: Service | Instance) -> str:
    """`running` for SERVICE_STATUS_RUNNING."""
    return resource.status.value.rpartition("STATUS_")[2]


_KEY: Final[dict[str, Callable[[Any], str]]] = {
    "name": lambda item: item.key.name,
    "namespace": lambda item: item.key.namespace,
}
SERVICES: Final = Listed(
    kind=Service, fields={**_KEY, "status": _status, "runtime": lambda item: item.runtime}
)
INSTANCES: Final = Listed(
    kind=Instance,
    fields={
        **_KEY,
        "status": _status,
        "service": lambda item: item.service_name,
        "node": lambda item: item.node_id,
    },
)
NAMESPACES: Final = Listed(kind=Namespace, fields={"name": lambda item: item.name})
CONFIGMAPS: Final = Listed(kind=Configmap, fields=_KEY)


def visible(store: Store, call: Call, ask: Selection, *, kind: Listed[R]) -> list[R]:
    """The resources that the caller may see and asked for, in the order of their keys."""
    everywhere = call.namespace == "*"
    namespace = None if everywhere or kind.kind is Namespace else call.namespace
    rows = store.list(kind.kind, namespace)
    return [
        row for row in rows if kind.selects(row, ask) and (not everywhere or call.sees(kind.namespace(row)))
    ]


def listed(
    store: Store, call: Call, ask: Selection, *, kind: Listed[R]
) -> tuple[list[R], PagingParams | None]:
    """One page of what is visible."""
    paging: PagingParams | None = getattr(ask, "paging", None)
    return page(visible(store, call, ask, kind=kind), paging)


async def watched(store: Store, call: Call, ask: Resumable, *, kind: Listed[R]) -> AsyncIterator[Seen[R]]:
    """What is visible now, unless the request resumes, then every change of it in the order of the log.

    A resource that begins or ceases to match is added or deleted, as the watcher sees it.
    """
    after = ask.resume
    if not after:
        after = store.revision
        for row in visible(store, call, ask, kind=kind):
            yield Seen(row, EventType.ADDED, 0)
    admits = partial(_admitted, call=call, ask=ask, kind=kind)
    async for seen in changes(store, after, admits):
        yield seen


async def everything(store: Store, after: int, *, kind: type[R]) -> AsyncIterator[Seen[R]]:
    """As `watched`, of a kind that has no namespaces and no selectors."""
    if not after:
        after = store.revision
        for row in store.list(kind):
            yield Seen(row, EventType.ADDED, 0)

    def admits(resource: Resource | None) -> R | None:
        return resource if isinstance(resource, kind) else None

    async for seen in changes(store, after, admits):
        yield seen


def _admitted(resource: Resource | None, *, call: Call, ask: Selection, kind: Listed[R]) -> R | None:
    if not isinstance(resource, kind.kind):
        return None
    namespace = kind.namespace(resource)
    here = call.namespace in ("*", namespace)
    return resource if here and call.sees(namespace) and kind.selects(resource, ask) else None
