"""One network for each namespace, made with its first instance and removed with its last.

Docker keeps about thirty address ranges unless its `default-address-pools` are widened: past that many
namespaces with containers, the Engine refuses to make another network.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote
from weakref import WeakValueDictionary

import msgspec

from rune.errors import Unavailable
from rune.orchestrator.runners.docker import containers
from rune.orchestrator.runners.docker.calls import inspect
from rune.orchestrator.runners.docker.engine import Engine, Refused, decode

logger = logging.getLogger(__name__)

CONFLICT = 409


class Network(msgspec.Struct, frozen=True, rename="pascal"):
    """A network as a list shows it."""

    id: str
    name: str


class Networks:
    """The networks of one owner. What is known to be there is not asked for again."""

    def __init__(self, engine: Engine, owner: str) -> None:
        self._engine = engine
        self._owner = owner
        self._ready: set[str] = set()
        self._using: Counter[str] = Counter()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def use(self, namespace: str) -> AsyncGenerator[None]:
        """The network is there and stays while a container is made in it."""
        self._using[namespace] += 1
        try:
            await self._make(namespace)
            yield
        finally:
            self._using[namespace] -= 1

    def doubt(self, namespace: str = "") -> None:
        """Somebody else may have removed it (or any of them): ask before the next use."""
        self._ready = self._ready - {namespace} if namespace else set()

    async def leave(self, namespace: str) -> None:
        """The last instance of the namespace is gone: so is the network, unless others are in it."""
        async with self._lock(namespace):
            if self._using[namespace]:
                return
            self._ready.discard(namespace)
            name = containers.network_name(self._owner, namespace)
            try:
                await self._engine.call("DELETE", f"networks/{name}", what=f"remove network {name!r}")
            except (
                Refused,
                Unavailable,
            ) as error:  # in use by somebody, or gone; the next last one tries again
                logger.info("network not removed", extra={"network": name, "reason": error.message})

    async def _make(self, namespace: str) -> None:
        async with self._lock(namespace):
            if namespace in self._ready:
                return
            name = containers.network_name(self._owner, namespace)
            if not await self._exists(name):
                await self._create(name, namespace)
            self._ready.add(namespace)

    async def _exists(self, name: str) -> bool:
        """By its whole name: the Engine's own look-up takes the beginning of an id for a name as well."""
        wanted = msgspec.json.encode({"name": [name]}).decode()
        answer = await self._engine.call(
            "GET", "networks", what="list its networks", params={"filters": wanted}
        )
        return any(network.name == name for network in decode(answer, list[Network]))

    async def _create(self, name: str, namespace: str) -> None:
        labels = {"rune.managed": "true", containers.OWNER: self._owner, containers.NAMESPACE: namespace}
        body = {"Name": name, "Driver": "bridge", "CheckDuplicate": True, "Labels": labels}
        try:
            await self._engine.call("POST", "networks/create", what=f"make network {name!r}", body=body)
        except Refused as error:
            if error.status != CONFLICT:
                raise

    def _lock(self, namespace: str) -> asyncio.Lock:
        return self._locks.setdefault(namespace, asyncio.Lock())


class Apart:
    """Takes containers out of their networks, and puts them back; those that are gone are left alone."""

    def __init__(
        self, engine: Engine, owner: str, networks: Networks, *, see: Callable[[str, str], Awaitable[None]]
    ) -> None:
        self._engine = engine
        self._owner = owner
        self._networks = networks
        self._see = see

    async def cut_off(self, instance: str) -> None:
        """Nothing reaches it any more, and it reaches nothing; published ports lead nowhere."""
        for found in await self._running(instance):
            for network in found.network.networks or {}:
                await self._call(network, "disconnect", {"Container": found.id, "Force": True})
            await self._see(found.id, instance)

    async def reconnect(self, instance: str) -> None:
        """It is in the network of its namespace again, under its names."""
        for found in await self._running(instance):
            namespace = found.labels.get(containers.NAMESPACE, "")
            network = containers.network_name(self._owner, namespace)
            if network not in (found.network.networks or {}):
                names = {"Aliases": containers.aliases_of(found)}
                async with self._networks.use(namespace):
                    await self._call(network, "connect", {"Container": found.id, "EndpointConfig": names})
            await self._see(found.id, instance)

    async def _running(self, instance: str) -> list[containers.Container]:
        labels = [f"{containers.OWNER}={self._owner}", f"{containers.INSTANCE}={instance}"]
        wanted = msgspec.json.encode({"label": labels, "status": ["running", "paused"]}).decode()
        answer = await self._engine.call(
            "GET", "containers/json", what="list its containers", params={"filters": wanted}
        )
        shown = [await inspect(self._engine, each.id) for each in decode(answer, list[containers.Listed])]
        return [each for each in shown if each is not None]

    async def _call(self, network: str, verb: str, body: Mapping[str, Any]) -> None:
        path = f"networks/{quote(network)}/{verb}"
        await self._engine.call("POST", path, what=f"{verb} network {network!r}", body=body)
