"""Stand-ins for what the doors' tests are not about: identity, limits and audit, and a few handlers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec

from rune.api import OPERATIONS, Operation
from rune.api.common import OK, EventType
from rune.api.fields import Message
from rune.api.orchestrator import auth, configmaps, exec, health, logs, services  # noqa: A004 - the noun's name
from rune.api.orchestrator.exec import ExecRequest, ExecResponse, ExitInfo, RunCommandRequest
from rune.api.orchestrator.services import Service
from rune.core.access import Principal, rule
from rune.core.call import Call, Caller
from rune.core.clock import Clock, SystemClock
from rune.core.dispatch import Dispatcher, Guards, Meter
from rune.errors import (
    AlreadyExists,
    Conflict,
    NotFound,
    OutOfRange,
    ResourceExhausted,
    RuneError,
    Unauthenticated,
)

TOKEN = "root-token"
ROOT = Principal(id="1", name="root", rules=(rule("*", ["*"]),))
READER = Principal(id="2", name="reader", rules=(rule("*", ["get", "list", "watch"]),))


class Tokens:
    """Knows principals by their bearer text."""

    def __init__(self, principals: Mapping[str, Principal]) -> None:
        self.principals = dict(principals)
        self._lost = asyncio.Event()

    def authenticate(self, caller: Caller) -> Principal:
        found = self.principals.get(caller.bearer or caller.api_key)
        if found is None:
            raise Unauthenticated
        return found

    def lost(self, principal: Principal) -> asyncio.Event:
        return self._lost


class Plenty:
    """Counts calls and refuses those past `left`."""

    def __init__(self, left: float = float("inf")) -> None:
        self.left = left

    def take(self, operation: Operation[Any, Any], principal: Principal, weight: int = 1) -> None:
        self.left -= 1
        if self.left < 0:
            raise ResourceExhausted("too many calls", retry_after=2.5)


class Journal:
    """Keeps what was audited."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, str]] = []

    async def record(self, call: Call, ask: Message | None, outcome: RuneError | None) -> None:
        self.entries.append((call.operation.name, outcome.codes.name if outcome else "ok"))


class Numb:
    """A meter that does not look."""

    def observe(self, operation: Operation[Any, Any], outcome: str, seconds: float) -> None:
        pass


def dispatcher(
    principals: Mapping[str, Principal] | None = None,
    *,
    limits: Plenty | None = None,
    audit: Journal | None = None,
    clock: Clock | None = None,
    meter: Meter | None = None,
) -> Dispatcher:
    """A dispatcher with stand-ins all around and no handlers yet."""
    return Dispatcher(
        Guards(
            identity=Tokens(principals or {TOKEN: ROOT, "reader": READER}),
            limits=limits or Plenty(),
            audit=audit or Journal(),
            meter=meter or Numb(),
            clock=clock or SystemClock(),
        )
    )


def nothing_else(into: Dispatcher) -> None:
    """Give every operation that has no handler one that finds nothing."""

    async def one(call: Call, ask: Message) -> Message:
        raise NotFound(f"{call.operation.name} finds nothing here")

    async def many(call: Call, ask: Message, *more: AsyncIterator[Message]) -> AsyncIterator[Message]:
        yield await one(call, ask)

    for row in OPERATIONS:
        if row.name not in into.handled:
            into.handles(row)(many if row.streams else one)


class Shelf:
    """Handlers over a dictionary: enough of services, configmaps, logs and exec to try every kind of door."""

    def __init__(self, into: Dispatcher) -> None:
        self.services: dict[tuple[str, str], Service] = {}
        self.revision = 0
        self.changed = asyncio.Condition()
        self.changes: list[tuple[int, EventType, Service]] = []
        self.oldest = 0
        self.instances: list[ExecRequest] = []
        into.handles(services.create)(self.create)
        into.handles(services.get)(self.get)
        into.handles(services.list_)(self.list)
        into.handles(services.update)(self.update)
        into.handles(services.scale)(self.scale)
        into.handles(services.watch)(self.watch)
        into.handles(configmaps.get)(self.configmap)
        into.handles(logs.get)(self.logs)
        into.handles(logs.stream)(self.follow)
        into.handles(exec.run)(self.run)
        into.handles(exec.stream)(self.shell)
        into.handles(auth.whoami)(self.whoami)
        into.handles(health.version)(self.version)

    async def put(self, service: Service, word: EventType = EventType.ADDED) -> Service:
        self.revision += 1
        kept = msgspec.structs.replace(service, revision=self.revision)
        self.services[kept.namespace, kept.name] = kept
        self.changes.append((self.revision, word, kept))
        async with self.changed:
            self.changed.notify_all()
        return kept

    async def create(self, call: Call, ask: services.CreateServiceRequest) -> services.ServiceResponse:
        if (call.namespace, ask.service.name) in self.services:
            raise AlreadyExists(f"there is a service {ask.service.name}")
        return services.ServiceResponse(service=await self.put(ask.service), status=OK)

    async def get(self, call: Call, ask: services.GetServiceRequest) -> services.ServiceResponse:
        return services.ServiceResponse(service=self.find(call.namespace, ask.name), status=OK)

    def find(self, namespace: str, name: str) -> Service:
        found = self.services.get((namespace, name))
        if found is None:
            raise NotFound(f"there is no service {namespace}/{name}")
        return found

    async def list(self, call: Call, ask: services.ListServicesRequest) -> services.ListServicesResponse:
        rows = [
            row
            for (namespace, _), row in sorted(self.services.items())
            if namespace == call.namespace or (call.namespace == "*" and call.sees(namespace))
        ]
        chosen = [row for row in rows if all(row.labels.get(k) == v for k, v in ask.label_selector.items())]
        limit = ask.paging.limit if ask.paging else 0
        return services.ListServicesResponse(
            services=chosen[: limit or None], paging=ask.paging, revision=self.revision
        )

    async def update(self, call: Call, ask: services.UpdateServiceRequest) -> services.ServiceResponse:
        there = self.find(call.namespace, ask.service.name)
        if ask.service.revision not in (0, there.revision):
            raise Conflict(f"service {there.name} is at revision {there.revision}")
        return services.ServiceResponse(service=await self.put(ask.service, EventType.MODIFIED))

    async def scale(self, call: Call, ask: services.ScaleServiceRequest) -> services.ServiceResponse:
        there = self.find(call.namespace, ask.name)
        changed = msgspec.structs.replace(there, scale=ask.scale)
        return services.ServiceResponse(service=await self.put(changed, EventType.MODIFIED))

    async def watch(
        self, call: Call, ask: services.WatchServicesRequest
    ) -> AsyncIterator[services.WatchServicesResponse]:
        if ask.resume and ask.resume < self.oldest:
            raise OutOfRange(f"the oldest kept revision is {self.oldest}", oldest=self.oldest)
        seen = ask.resume
        while True:
            for revision, word, service in [row for row in self.changes if row[0] > seen]:
                seen = revision
                yield services.WatchServicesResponse(service=service, event_type=word, revision=revision)
            async with self.changed:
                while self.revision <= seen:
                    await self.changed.wait()

    async def configmap(
        self, call: Call, ask: configmaps.GetConfigmapRequest
    ) -> configmaps.ConfigmapResponse:
        if ask.name == "boom":
            raise KeyError(ask.name)
        raise NotFound(f"there is no configmap {ask.name}")

    async def logs(self, call: Call, ask: logs.LogRequest) -> AsyncIterator[logs.LogResponse]:
        self.find(call.namespace, ask.resource_target)
        for number in range(ask.tail):
            yield logs.LogResponse(
                service_name=ask.resource_target, content=f"line {number}", stream="stdout"
            )
        if ask.follow:
            await asyncio.Event().wait()

    async def follow(
        self, call: Call, ask: logs.LogRequest, more: AsyncIterator[logs.LogRequest]
    ) -> AsyncIterator[logs.LogResponse]:
        yield logs.LogResponse(content=ask.resource_target)
        async for other in more:
            yield logs.LogResponse(content=other.resource_target)

    async def run(self, call: Call, ask: RunCommandRequest) -> AsyncIterator[ExecResponse]:
        if ask.target != "api":
            raise NotFound(f"there is no service or instance {ask.target}")
        yield ExecResponse(stdout=" ".join(ask.command).encode())
        yield ExecResponse(exit=ExitInfo(code=3))

    async def shell(
        self, call: Call, ask: ExecRequest, more: AsyncIterator[ExecRequest]
    ) -> AsyncIterator[ExecResponse]:
        """Says back what it is told; `exit` ends it, and so does the end of its input."""
        self.instances.append(ask)
        async for item in more:
            self.instances.append(item)
            if item.stdin == b"exit\n":
                break
            if item.stdin is not None:
                yield ExecResponse(stdout=item.stdin)
            if item.resize is not None:
                yield ExecResponse(stderr=f"{item.resize.width}x{item.resize.height}".encode())
        yield ExecResponse(exit=ExitInfo(code=7))

    async def whoami(self, call: Call, ask: auth.WhoAmIRequest) -> auth.WhoAmIResponse:
        return auth.WhoAmIResponse(subject_id=call.principal.id, subject_name=call.principal.name)

    async def version(
        self, call: Call, ask: health.GetServerVersionRequest
    ) -> health.GetServerVersionResponse:
        return health.GetServerVersionResponse(version=call.caller.edge, ready=call.caller.is_local)
