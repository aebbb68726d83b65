"""What stands behind the doors: all of runed but its reconcilers, with a service, its copies and a token."""

from __future__ import annotations

import asyncio
import itertools
import os
import statistics
import subprocess
import sys
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
import psutil
import uvloop

from rune.api.orchestrator.instances import Instance, InstanceStatus
from rune.api.orchestrator.services import Service, ServiceMetadata
from rune.api.orchestrator.specs import HealthCheck, Probe, ProbeType, ProcessSpec, ServicePort
from rune.core import roles
from rune.core.clock import SystemClock
from rune.core.dispatch import Dispatcher
from rune.core.events.memory import MemoryEvents
from rune.core.keyring import SIZE, EnvKeyring, Key
from rune.core.runefile import Settings
from rune.core.store.base import Put
from rune.core.store.memory import MemoryStore
from rune.core.tokens import digest
from rune.core.vault import Vault
from rune.daemon.assembly import KINDS, assemble
from rune.orchestrator import namespaces
from rune.orchestrator.plane import Ground
from rune.orchestrator.runners.fake import FakeRunner
from rune.security import organizations

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


async def dispatcher() -> Dispatcher:
    """The dispatcher, identity, limits, audit, metrics and handlers of runed, over a store in memory."""
    store = MemoryStore(KINDS)
    await organizations.seed(store, CLOCK)
    await roles.seed(store, CLOCK)
    await namespaces.seed(store, clock=CLOCK)
    ground = Ground(store=store, kinds=KINDS, runners={"process": FakeRunner(now=CLOCK.now)})
    vault = Vault(EnvKeyring("none", [Key(os.urandom(SIZE))]))
    parts = assemble(ground, MemoryEvents(), Settings(), vault=vault, clock=CLOCK)
    root, _ = await parts.rights.bootstrap()
    known = msgspec.structs.replace(root, id=TOKEN.partition(".")[0], hash=digest(TOKEN), revision=0)
    await store.commit(Put(known))
    await store.commit(Put(SERVICE))
    await store.commit(*(Put(instance(number)) for number in range(SERVICE.scale)))
    return parts.dispatcher


def instance(number: int) -> Instance:
    """A copy of the service."""
    return Instance(
        id=f"api-instance-0000000{number}",
        name=f"api-instance-0000000{number}",
        namespace="default",
        service_name="api",
        status=InstanceStatus.RUNNING,
        ready=True,
        pid=1000 + number,
        created_at=CLOCK.now(),
    )


SHOWN = msgspec.structs.replace(SERVICE, instances=[instance(number) for number in range(SERVICE.scale)])
"""The service as it is answered; what the bare sides send is as large."""


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
