"""A whole orchestrator in memory: the real dispatcher, store and reconcilers over a runner of dicts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rune.api import Operation
from rune.api.fields import Message
from rune.api.orchestrator import services as service_api
from rune.api.orchestrator.configmaps import Configmap
from rune.api.orchestrator.deletions import DeletionOperation
from rune.api.orchestrator.instances import Instance
from rune.api.orchestrator.namespaces import Namespace
from rune.api.orchestrator.services import Service
from rune.api.orchestrator.specs import ProcessSpec
from rune.api.resource import Resource
from rune.core.access import Principal, Rule, rule
from rune.core.call import Call, Caller
from rune.core.clock import Clock, ManualClock
from rune.core.dispatch import Dispatcher, Guards
from rune.core.store.base import Store
from rune.core.store.memory import MemoryStore
from rune.errors import RuneError, Unauthenticated
from rune.orchestrator import sealing
from rune.orchestrator.configmaps import ConfigmapVersion
from rune.orchestrator.control import Control, Machine
from rune.orchestrator.deletions import Deletions
from rune.orchestrator.dependents import Dependents
from rune.orchestrator.instances import Instances
from rune.orchestrator.machine import Probes
from rune.orchestrator.mounts import NOTHING, Supplies
from rune.orchestrator.namespaces import Namespaces, seed
from rune.orchestrator.reconcilers.namespaces import NamespaceReconciler
from rune.orchestrator.revisions import Revisions
from rune.orchestrator.runners.fake import FakeRunner
from rune.orchestrator.scalings import Scalings
from rune.orchestrator.services import Services
from rune.orchestrator.spec import Template
from world import LoopClock

KINDS: tuple[type[Resource], ...] = (
    Namespace,
    Service,
    Instance,
    Template,
    DeletionOperation,
    Configmap,
    ConfigmapVersion,
    *sealing.KINDS,
)
ALL = rule("*", "*")
__all__ = ["LoopClock"]

In = TypeVar("In", bound=Message)
Out = TypeVar("Out", bound=Message)


class People:
    """Who there is: the bearer is the name."""

    def __init__(self) -> None:
        self.rules: dict[str, tuple[Rule, ...]] = {"root": (ALL,)}
        self.losses: dict[str, asyncio.Event] = {}

    def authenticate(self, caller: Caller) -> Principal:
        if caller.bearer not in self.rules:
            raise Unauthenticated
        return Principal(id=caller.bearer, name=caller.bearer, rules=self.rules[caller.bearer])

    def lost(self, principal: Principal) -> asyncio.Event:
        return self.losses.setdefault(principal.id, asyncio.Event())


class Quiet:
    """Limits nobody, and remembers what was audited."""

    def __init__(self) -> None:
        self.records: list[tuple[str, str]] = []

    def take(self, operation: Operation[Any, Any], principal: Principal, weight: int = 1) -> None: ...

    async def record(self, call: Call, ask: Message | None, outcome: RuneError | None) -> None:
        self.records.append((call.operation.name, outcome.codes.name if outcome else "ok"))

    def observe(self, operation: Operation[Any, Any], outcome: str, seconds: float) -> None: ...


class NoProbes:
    """For services without probes."""

    def keep(self, instance: Instance, template: Template) -> None: ...

    def drop(self, instance: str) -> None: ...

    def ready(self, instance: str) -> bool | None:
        return True

    def sick(self, instance: str) -> str:
        return ""

    def results(self, instance: str) -> list[Any]:
        return []


@dataclass
class Plane:
    """The parts, and the ways to call them as an edge does."""

    store: Store
    clock: Clock = field(default_factory=ManualClock)
    people: People = field(default_factory=People)
    quiet: Quiet = field(default_factory=Quiet)
    probes: Probes = field(default_factory=NoProbes)
    supplies: Supplies = NOTHING

    def __post_init__(self) -> None:
        guards = Guards(
            identity=self.people, limits=self.quiet, audit=self.quiet, meter=self.quiet, clock=self.clock
        )
        self.dispatcher = Dispatcher(guards)
        self.runner = FakeRunner(now=self.clock.now)
        self.dependents = Dependents()
        Services(self.store, self.dependents, clock=self.clock).register(self.dispatcher)
        Scalings(self.store, clock=self.clock).register(self.dispatcher)
        Revisions(self.store, clock=self.clock).register(self.dispatcher)
        Deletions(self.store, self.dependents, clock=self.clock).register(self.dispatcher)
        Instances(self.store, clock=self.clock).register(self.dispatcher)
        Namespaces(self.store, KINDS, clock=self.clock).register(self.dispatcher)

    async def call(self, operation: Operation[In, Out], ask: In, who: str = "root") -> Out:
        return await self.dispatcher.call(operation, caller(who), lambda: ask)

    @asynccontextmanager
    async def stream(
        self, operation: Operation[In, Out], *asks: In, who: str = "root"
    ) -> AsyncGenerator[AsyncGenerator[Out]]:
        async with self.streaming(operation, given(asks), who) as items:
            yield items

    @asynccontextmanager
    async def streaming(
        self, operation: Operation[In, Out], asks: AsyncIterator[In], who: str = "root"
    ) -> AsyncGenerator[AsyncGenerator[Out]]:
        async def each() -> AsyncIterator[Callable[[], In]]:
            async for ask in asks:
                yield lambda ask=ask: ask

        async with aclosing(self.dispatcher.stream(operation, caller(who), each())) as items:
            yield items

    async def all(self, operation: Operation[In, Out], *asks: In, who: str = "root") -> list[Out]:
        async with self.stream(operation, *asks, who=who) as items:
            return [item async for item in items]

    async def serve(self, name: str, namespace: str = "default", **spec: Any) -> Service:
        """A service is created, with its namespace."""
        process = ProcessSpec(command=spec.pop("command", "sleeper"))
        given: dict[str, Any] = {"scale": 1, **spec}
        service = Service(name=name, namespace=namespace, process=process, **given)
        ask = service_api.CreateServiceRequest(service=service, ensure_namespace=True)
        answer = await self.call(service_api.create, ask)
        assert answer.service
        return answer.service

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """The reconcilers run."""
        machine = Machine(
            runners={"process": self.runner}, probes=self.probes, node="here", supplies=self.supplies
        )
        self.control = Control(self.store, self.dependents, machine, clock=self.clock)
        namespaces = NamespaceReconciler(self.store, KINDS, clock=self.clock)
        async with asyncio.TaskGroup() as tasks:
            loops = [tasks.create_task(self.control.run()), tasks.create_task(namespaces.run())]
            yield
            for each in loops:
                each.cancel()

    async def until(self, true: Callable[[], bool], seconds: float = 5) -> None:
        """Wait for the store to agree; the time is up after so many seconds."""
        async with asyncio.timeout(seconds):
            changes = self.store.watch(self.store.revision)
            while not true():
                await anext(changes)

    def copies(self, service: str, namespace: str = "default") -> list[Instance]:
        return [item for item in self.store.list(Instance, namespace) if item.service_name == service]

    async def copy_of(self, service: str, namespace: str = "default") -> Instance:
        """The service's first copy, once it runs."""
        await self.until(lambda: any(item.pid for item in self.copies(service, namespace)))
        return next(item for item in self.copies(service, namespace) if item.pid)


def caller(who: str) -> Caller:
    return Caller(edge="local", request_id="r1", bearer=who)


async def given(items: Iterable[In]) -> AsyncIterator[In]:
    for item in items:
        yield item


async def new_plane(store: Store | None = None, clock: Clock | None = None) -> Plane:
    """A plane with the namespaces of every first start."""
    plane = Plane(store or MemoryStore(KINDS), clock or ManualClock())
    await seed(plane.store, clock=plane.clock)
    return plane


def names(items: Sequence[Resource]) -> list[str]:
    return [item.key.name for item in items]
