"""A small world behind the doors: a store with one service, one token, and the handler that reads it."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import statistics
import subprocess
import sys
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import psutil
import uvloop

from rune.api import Operation
from rune.api.common import OK
from rune.api.fields import Message
from rune.api.orchestrator import services
from rune.api.orchestrator.instances import Instance, InstanceStatus
from rune.api.orchestrator.services import GetServiceRequest, Service, ServiceMetadata, ServiceResponse
from rune.api.orchestrator.specs import HealthCheck, Probe, ProbeType, ProcessSpec, ServicePort
from rune.core.access import Principal, rule
from rune.core.call import Call, Caller
from rune.core.clock import SystemClock
from rune.core.dispatch import Dispatcher, Guards
from rune.core.store.base import Put
from rune.core.store.memory import MemoryStore
from rune.errors import RuneError, Unauthenticated
from rune.server.metrics import Metrics

TOKEN = "0f8fad5b-d9cb-469f-a165-70867728950e.7c9e6679-7425-40de-944b-e07fc1f90ae7"  # noqa: S105 - an invented secret
CLOCK = SystemClock()
SERVICE = Service(
    name="api",
    namespace="default",
    labels={"app": "api", "tier": "web"},
    scale=3,
    command="/usr/bin/api",
    args=["--port", "8080"],
    env={"MODE": "production", "REGION": "eu"},
    ports=[ServicePort(name="http", port=80, target_port=8080)],
    process=ProcessSpec(command="/usr/bin/api"),
    health=HealthCheck(liveness=Probe(type=ProbeType.HTTP, path="/healthz", port=8080)),
    metadata=ServiceMetadata(generation=4, created_at=CLOCK.now(), updated_at=CLOCK.now()),
)


class Tokens:
    """One token, kept as its hash."""

    def __init__(self) -> None:
        root = Principal(
            id="1", name="ci", rules=(rule("configmaps", ["*"]), rule("services", ["get", "list"]))
        )
        self._by_hash = {hashlib.sha256(TOKEN.encode()).digest(): root}
        self._lost = asyncio.Event()

    def authenticate(self, caller: Caller) -> Principal:
        found = self._by_hash.get(hashlib.sha256(caller.bearer.encode()).digest())
        if found is None:
            raise Unauthenticated
        return found

    def lost(self, principal: Principal) -> asyncio.Event:
        return self._lost


class Bucket:
    """Counts every call, and has enough for all."""

    def __init__(self) -> None:
        self.left = 1e12

    def take(self, operation: Operation[Any, Any], principal: Principal) -> None:
        self.left -= 1


class Journal:
    """Reads are not audited, so nothing comes here."""

    async def record(self, call: Call, ask: Message | None, outcome: RuneError | None) -> None:
        raise AssertionError(call)


async def dispatcher() -> Dispatcher:
    """The real dispatcher over the real store, with the handler a `get` has."""
    store = MemoryStore([Service, Instance])
    await store.commit(Put(SERVICE), operation="create_service")
    for number in range(3):
        await store.commit(Put(instance(number)), operation="start")
    guards = Guards(identity=Tokens(), limits=Bucket(), audit=Journal(), meter=Metrics(), clock=CLOCK)
    road = Dispatcher(guards)

    @road.handles(services.get)
    async def get(call: Call, ask: GetServiceRequest) -> ServiceResponse:
        return ServiceResponse(service=store.get(Service, call.namespace, ask.name), status=OK)

    return road


def instance(number: int) -> Instance:
    """A copy of the service."""
    return Instance(
        id=f"api-instance-0000000{number}",
        namespace="default",
        service_name="api",
        status=InstanceStatus.RUNNING,
        pid=1000 + number,
        created_at=CLOCK.now(),
    )


class Door(Protocol):
    """What can be served."""

    async def open(self) -> int: ...

    async def close(self, grace: float) -> None: ...


def serve(made: Callable[[], Awaitable[Door]]) -> None:
    """Open the door in this process, say its port, and stay until the other side is gone."""

    async def main() -> None:
        door = await made()
        print(await door.open(), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        await door.close(1)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


@dataclass
class Served:
    """A side that runs in a process of its own."""

    port: int
    process: psutil.Process
    rates: list[float] = field(default_factory=list[float])
    seconds: float = 0.0
    """Of its processor, for all calls."""
    calls: float = 0.0

    def note(self, calls: float, took: float, before: float) -> None:
        """One round is over."""
        self.rates.append(calls / took)
        self.calls += calls
        self.seconds += self.used() - before

    def used(self) -> float:
        """Seconds of processor so far."""
        times = self.process.cpu_times()
        return times.user + times.system


@contextmanager
def served(script: str, side: str) -> Generator[Served]:
    """`script --serve side`, until the end."""
    command = [sys.executable, script, "--serve", side]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield Served(int(process.stdout.readline()), psutil.Process(process.pid))
        process.stdin.close()
        process.wait(10)


def compare(
    script: str, measure: Callable[[int], Coroutine[Any, Any, tuple[float, float]]], rounds: int
) -> None:
    """Both sides in short turns, so that what else the machine does falls on both; prints rates and ratio."""
    with (
        served(script, "bare") as bare,
        served(script, "rune") as rune,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        for turn, side in itertools.product(range(rounds + 1), (bare, rune)):
            before = side.used()
            calls, took = runner.run(measure(side.port))
            if turn:  # the first warms up
                side.note(calls, took, before)
    for name, side in (("bare", bare), ("rune", rune)):
        rate, cost = statistics.median(side.rates), side.seconds / side.calls
        print(f"{name}: {rate:7.0f} calls/s, {cost * 1e6:5.0f} µs of the server's processor each")
    ratios = sorted(ours / theirs for ours, theirs in zip(rune.rates, bare.rates, strict=True))
    low, high = ratios[0], ratios[-1]
    print(f"ratio {statistics.median(ratios):.2f} (median of {rounds} turns, {low:.2f} to {high:.2f})")
