"""A whole orchestrator in memory: store, dispatcher, handlers, reconcilers, and a runner that obeys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

from rune.api import Operation
from rune.api.fields import Message
from rune.api.orchestrator import services as service_operations
from rune.api.orchestrator.configmaps import Configmap
from rune.api.orchestrator.deletions import DeletionOperation
from rune.api.orchestrator.health import HealthCheckResult
from rune.api.orchestrator.instances import Instance
from rune.api.orchestrator.namespaces import Namespace
from rune.api.orchestrator.services import CreateServiceRequest, Service
from rune.api.orchestrator.specs import ProcessSpec
from rune.core.access import Principal, rule
from rune.core.call import Call, Caller
from rune.core.clock import EPOCH, ManualClock, SystemClock
from rune.core.dispatch import Dispatcher, Guards
from rune.core.store.base import Put
from rune.core.store.memory import MemoryStore
from rune.errors import RuneError, Unauthenticated
from rune.orchestrator.control import Control, Machine
from rune.orchestrator.copies import copies_of
from rune.orchestrator.deletions import Deletions
from rune.orchestrator.dependents import Dependents
from rune.orchestrator.instances import Instances
from rune.orchestrator.revisions import Revisions
from rune.orchestrator.runners.base import Credentials
from rune.orchestrator.runners.fake import FakeRunner
from rune.orchestrator.scalings import Scalings
from rune.orchestrator.services import Services
from rune.orchestrator.spec import Template

In = TypeVar("In", bound=Message)
Out = TypeVar("Out", bound=Message)

ROOT = Principal(id="root", name="root", rules=(rule("*", ["*"]),))
PATIENCE = 7200.0
"""Seconds, of virtual time mostly, after which a test that waits for something gives up."""


class LoopClock(ManualClock):
    """A clock that goes with the event loop, so that looptime moves it."""

    def __init__(self) -> None:
        super().__init__()
        self._began: float | None = None

    def monotonic(self) -> float:
        now = asyncio.get_running_loop().time()
        if self._began is None:
            self._began = now
        return now - self._began

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.monotonic())


class Everybody:
    """Takes the bearer text for the name of a principal."""

    def __init__(self) -> None:
        self.principals = {"root": ROOT}
        self.ended: dict[str, asyncio.Event] = {}

    def authenticate(self, caller: Caller) -> Principal:
        found = self.principals.get(caller.bearer)
        if found is None:
            raise Unauthenticated("invalid bearer token")
        return found

    def lost(self, principal: Principal) -> asyncio.Event:
        return self.ended.setdefault(principal.id, asyncio.Event())


@dataclass
class Ledger:
    """Remembers what the dispatcher told its limits, audit and meter."""

    audited: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    observed: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    refuse: RuneError | None = None

    def take(self, operation: Operation[Any, Any], principal: Principal, weight: int = 1) -> None:
        if self.refuse:
            raise self.refuse

    async def record(self, call: Call, ask: Message | None, outcome: RuneError | None) -> None:
        self.audited.append((call.operation.name, outcome.codes.name if outcome else "ok"))

    def observe(self, operation: Operation[Any, Any], outcome: str, seconds: float) -> None:
        self.observed.append((operation.name, outcome))


@dataclass
class Doctor:
    """Probes that say what the test wants them to say."""

    says_ready: dict[str, bool] = field(default_factory=dict[str, bool])
    says_sick: dict[str, str] = field(default_factory=dict[str, str])
    kept: set[str] = field(default_factory=set[str])

    def keep(self, instance: Instance, template: Template) -> None:
        self.kept.add(instance.id)

    def drop(self, instance: str) -> None:
        self.kept.discard(instance)
        self.says_sick.pop(instance, None)

    def ready(self, instance: str) -> bool | None:
        return self.says_ready.get(instance)

    def sick(self, instance: str) -> str:
        return self.says_sick.get(instance, "")

    def results(self, instance: str) -> list[HealthCheckResult]:
        return []


def dispatcher(identity: Everybody | None = None, ledger: Ledger | None = None) -> Dispatcher:
    """A dispatcher that lets everybody pass who says a name it knows."""
    ledger = ledger or Ledger()
    guards = Guards(
        identity=identity or Everybody(), limits=ledger, audit=ledger, meter=ledger, clock=SystemClock()
    )
    return Dispatcher(guards)


class World:
    """The orchestrator, and short words for what tests do with it."""

    def __init__(self) -> None:
        self.clock = LoopClock()
        self.store = MemoryStore([Service, Instance, Namespace, Template, DeletionOperation, Configmap])
        self.runner = FakeRunner(now=self.clock.now)
        self.engine = FakeRunner(now=self.clock.now)
        """What runs services with an image."""
        self.shown: dict[str, Credentials] = {}
        self.doctor = Doctor()
        self.identity = Everybody()
        self.ledger = Ledger()
        self.dispatcher = dispatcher(self.identity, self.ledger)
        dependents = Dependents()
        Services(self.store, dependents, clock=self.clock).register(self.dispatcher)
        Scalings(self.store, clock=self.clock).register(self.dispatcher)
        Revisions(self.store, clock=self.clock).register(self.dispatcher)
        Deletions(self.store, dependents, clock=self.clock).register(self.dispatcher)
        Instances(self.store, clock=self.clock).register(self.dispatcher)
        runners = {"process": self.runner, "docker": self.engine}
        machine = Machine(
            runners=runners,
            probes=self.doctor,
            node="here",
            credentials=self.credentials,
        )
        self.control = Control(self.store, dependents, machine, clock=self.clock)

    async def credentials(self, image: str) -> Credentials | None:
        """What registries are shown."""
        return self.shown.get(image)

    async def call(self, operation: Operation[In, Out], ask: In, who: str = "root") -> Out:
        """One call by somebody."""
        caller = Caller(edge="local", request_id="r-1", bearer=who, is_local=True)
        return await self.dispatcher.call(operation, caller, lambda: ask)

    async def stream(self, operation: Operation[In, Out], ask: In, who: str = "root") -> AsyncIterator[Out]:
        """A stream of answers to one request."""

        async def asks() -> AsyncIterator[Callable[[], In]]:
            yield lambda: ask

        caller = Caller(edge="local", request_id="r-1", bearer=who, is_local=True)
        async for item in self.dispatcher.stream(operation, caller, asks()):
            yield item

    async def cast(self, name: str, **fields: Any) -> Service:
        """Create a service that sleeps."""
        given: dict[str, Any] = {"scale": 1, "process": ProcessSpec(command="sleep"), **fields}
        ask = CreateServiceRequest(service=Service(name=name, **given))
        answer = await self.call(service_operations.create, ask)
        assert answer.service
        return answer.service

    def service(self, name: str) -> Service:
        """A service as the store has it."""
        return self.store.get(Service, "default", name)

    def copies(self, name: str) -> list[Instance]:
        """The copies of a service, also those that are ending."""
        return copies_of(self.store, "default", name)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """The reconcilers run; the store is closed with them."""
        async with self.store, asyncio.TaskGroup() as tasks:
            loop = tasks.create_task(self.control.run())
            try:
                yield
            finally:
                loop.cancel()

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait for a change of the store that makes it true."""
        async with asyncio.timeout(PATIENCE):
            changes = self.store.watch(self.store.revision)
            while not condition():
                await anext(changes)


@asynccontextmanager
async def world() -> AsyncGenerator[World]:
    """A world whose reconcilers run."""
    made = World()
    await made.store.commit(Put(Namespace(name="default")))
    async with made.running():
        yield made
