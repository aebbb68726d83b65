"""Handlers of configmaps: plain settings with a version that counts up, and the last ten of them kept."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import ClassVar, Final

import msgspec

from rune.api.common import OK, Status
from rune.api.fields import NamespaceName
from rune.api.orchestrator import configmaps as api
from rune.api.orchestrator.configmaps import Configmap
from rune.api.resource import Resource
from rune.core.call import Call
from rune.core.clock import Clock
from rune.core.crud import change, put
from rune.core.dispatch import Dispatcher
from rune.core.store.base import Delete, Put, Store, Write
from rune.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, Violation
from rune.orchestrator import listing
from rune.orchestrator.namespaces import create_in
from rune.orchestrator.uses import CONFIGMAP, Use, used_by

KEPT: Final = 10
"""How many versions there are of a configmap, the newest included."""
MOST_KEYS: Final = 64
MOST_BYTES: Final = 1 << 20

Revise = Callable[[Configmap], Mapping[str, str]]
"""What the data of a configmap becomes."""


class ConfigmapVersion(Resource):
    """A configmap as it was before a change."""

    KIND: ClassVar[str] = "configmap-version"

    name: str
    """`CONFIGMAP.VERSION`, so that the versions of a configmap stand together."""
    namespace: NamespaceName
    configmap: Configmap


class Configmaps:
    """What can be done with configmaps."""

    def __init__(self, store: Store, *, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def register(self, dispatcher: Dispatcher) -> None:
        """Make these the handlers of the operations."""
        for operation, handler in (
            (api.create, self.create),
            (api.get, self.get),
            (api.list_, self.list),
            (api.watch, self.watch),
            (api.update, self.update),
            (api.patch, self.patch),
            (api.delete, self.delete),
            (api.list_versions, self.list_versions),
            (api.rollback, self.rollback),
        ):
            dispatcher.handles(operation)(handler)

    async def create(self, call: Call, ask: api.CreateConfigmapRequest) -> api.ConfigmapResponse:
        """Store a new configmap as version 1."""
        given = ask.configmap
        _refuse(_violations(given.data, "configmap.data"))
        if self._store.find(Configmap, given.namespace, given.name) is not None:
            raise AlreadyExists(f"configmap {given.namespace}/{given.name} exists: update it instead")
        now = self._clock.now()
        made = Configmap(
            name=given.name,
            namespace=given.namespace,
            data=given.data,
            version=1,
            created_at=now,
            updated_at=now,
        )
        await create_in(
            self._store,
            given.namespace,
            [Put(made)],
            ensure=ask.ensure_namespace,
            clock=self._clock,
            operation=call.operation.permission,
        )
        return self._answer(given.namespace, given.name)

    async def get(self, call: Call, ask: api.GetConfigmapRequest) -> api.ConfigmapResponse:
        """One configmap."""
        return self._answer(ask.namespace, ask.name)

    async def list(self, call: Call, ask: api.ListConfigmapsRequest) -> api.ListConfigmapsResponse:
        """The configmaps that match."""
        revision = self._store.revision
        chosen, paging = listing.listed(self._store, call, ask, kind=listing.CONFIGMAPS)
        return api.ListConfigmapsResponse(configmaps=chosen, status=OK, paging=paging, revision=revision)

    async def watch(
        self, call: Call, ask: api.WatchConfigmapsRequest
    ) -> AsyncIterator[api.WatchConfigmapsResponse]:
        """What there is, then every change."""
        async for seen in listing.watched(self._store, call, ask, kind=listing.CONFIGMAPS):
            yield api.WatchConfigmapsResponse(
                configmap=seen.resource, event_type=seen.event_type, revision=seen.revision
            )

    async def update(self, call: Call, ask: api.UpdateConfigmapRequest) -> api.ConfigmapResponse:
        """Replace the data; the same data again changes nothing."""
        given = ask.configmap
        _refuse(_violations(given.data, "configmap.data"))
        return await self._revise(
            call, (given.namespace, given.name), lambda _: given.data, revision=given.revision
        )

    async def patch(self, call: Call, ask: api.PatchConfigmapRequest) -> api.ConfigmapResponse:
        """Set some keys and remove others; a key that is not there is removed already."""
        both = sorted(ask.set.keys() & set(ask.unset))
        _refuse(Violation(f"unset[{key}]", "is in `set` as well: it can only be one") for key in both)

        def revised(found: Configmap) -> Mapping[str, str]:
            kept = {key: value for key, value in found.data.items() if key not in ask.unset}
            data = {**kept, **ask.set}
            _refuse(_violations(data, "set"))
            return data

        return await self._revise(call, (ask.namespace, ask.name), revised)

    async def delete(self, call: Call, ask: api.DeleteConfigmapRequest) -> Status:
        """Remove it with its versions, unless a service uses it."""
        users = used_by(self._store, Use(CONFIGMAP, ask.namespace, ask.name))
        if users:
            raise FailedPrecondition(
                f"cannot delete configmap {ask.namespace}/{ask.name}; services use it: {', '.join(users)}"
            )
        found = self._get(ask.namespace, ask.name)
        gone = [Delete(item.key) for item in self._versions(found)]
        await self._store.commit(
            Delete(found.key, found.revision), *gone, operation=call.operation.permission
        )
        return OK

    async def list_versions(
        self, call: Call, ask: api.ListConfigmapVersionsRequest
    ) -> api.ListConfigmapVersionsResponse:
        """The kept versions, newest first."""
        found = self._get(ask.namespace, ask.name)
        kept = [found, *(item.configmap for item in reversed(self._versions(found)))]
        return api.ListConfigmapVersionsResponse(versions=kept, status=OK)

    async def rollback(self, call: Call, ask: api.RollbackConfigmapRequest) -> api.ConfigmapResponse:
        """A new version with the data of an earlier one."""
        return await self._revise(
            call, (ask.namespace, ask.name), lambda found: self._earlier(found, ask.to_version).data
        )

    def _earlier(self, found: Configmap, version: int) -> Configmap:
        """A kept version; 0 is the one before the newest."""
        kept = [*(item.configmap for item in self._versions(found)), found]
        if not version and len(kept) == 1:
            raise FailedPrecondition(
                f"configmap {found.namespace}/{found.name} has no version before {found.version}"
            )
        wanted = version or kept[-2].version
        for item in kept:
            if item.version == wanted:
                return item
        raise NotFound(
            f"version {wanted} of configmap {found.namespace}/{found.name} is not kept:"
            f" {kept[0].version} to {found.version} are"
        )

    async def _revise(
        self, call: Call, ref: tuple[str, str], revise: Revise, *, revision: int = 0
    ) -> api.ConfigmapResponse:
        def decide(found: Configmap) -> Sequence[Write]:
            data = dict(revise(found))
            return [] if data == found.data else self._revised(found, data)

        changed = await change(
            self._store,
            lambda: self._get(*ref),
            decide,
            revision=revision,
            operation=call.operation.permission,
        )
        return api.ConfigmapResponse(configmap=changed, status=OK)

    def _revised(self, found: Configmap, data: Mapping[str, str]) -> Sequence[Write]:
        """The next version, what it was before, and the versions that are too old by then."""
        before = ConfigmapVersion(
            name=f"{found.name}.{found.version:010d}",
            namespace=found.namespace,
            configmap=msgspec.structs.replace(found, revision=0),
        )
        old = self._versions(found)[: -(KEPT - 2)]
        return [
            put(found, data=data, version=found.version + 1, updated_at=self._clock.now()),
            Put(before),
            *(Delete(item.key) for item in old),
        ]

    def _versions(self, configmap: Configmap) -> Sequence[ConfigmapVersion]:
        """What it was before, oldest first."""
        return self._store.near(ConfigmapVersion, configmap.namespace, f"{configmap.name}.")

    def _get(self, namespace: str, name: str) -> Configmap:
        configmap = self._store.find(Configmap, namespace, name)
        if configmap is None:
            raise NotFound(f"configmap not found: {namespace}/{name}")
        return configmap

    def _answer(self, namespace: str, name: str) -> api.ConfigmapResponse:
        return api.ConfigmapResponse(configmap=self._get(namespace, name), status=OK)


def _violations(data: Mapping[str, str], field: str) -> Iterator[Violation]:
    if len(data) > MOST_KEYS:
        yield Violation(field, f"has {len(data)} keys; {MOST_KEYS} are the most")
    sizes = {key: len(key) + len(value.encode()) for key, value in data.items()}
    if sum(sizes.values()) > MOST_BYTES:
        largest = max(sizes, key=lambda key: sizes[key])
        what = f"has {sizes[largest]} bytes, which makes {sum(sizes.values())} in all"
        yield Violation(f"{field}.{largest}", f"{what}; {MOST_BYTES} are the most")


def _refuse(violations: Iterator[Violation]) -> None:
    found = list(violations)
    if found:
        raise InvalidArgument.of(found)
