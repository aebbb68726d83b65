"""runed: settings, then store, then handlers and reconcilers, then doors; put together here alone."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import uvloop

from rune.api.orchestrator.configmaps import Configmap
from rune.api.orchestrator.deletions import DeletionOperation
from rune.api.orchestrator.instances import Instance
from rune.api.orchestrator.namespaces import Namespace
from rune.api.orchestrator.services import Service
from rune.core import logs as log_setup
from rune.core import rights, roles, settings, upkeep
from rune.core.apikeys import Keys
from rune.core.audit import Audit
from rune.core.auth import Identity
from rune.core.clock import Clock, SystemClock
from rune.core.dispatch import Dispatcher, Guards
from rune.core.events.base import Retention
from rune.core.events.sqlite import SqliteEvents
from rune.core.limits import Limits, Quota
from rune.core.runefile import Settings
from rune.core.store.base import Store
from rune.core.store.sqlite import SqliteStore
from rune.errors import FailedPrecondition, InvalidArgument, RuneError
from rune.orchestrator import admin, namespaces, permissions
from rune.orchestrator import audit as audit_handlers
from rune.orchestrator.configmaps import Configmaps, ConfigmapVersion
from rune.orchestrator.control import Control, Machine
from rune.orchestrator.deletions import Deletions
from rune.orchestrator.dependents import Dependents
from rune.orchestrator.exec import Exec
from rune.orchestrator.health import Health
from rune.orchestrator.instances import Instances
from rune.orchestrator.logs import Logs
from rune.orchestrator.namespaces import Namespaces
from rune.orchestrator.node import Node
from rune.orchestrator.probes import Prober
from rune.orchestrator.questions import Questioner
from rune.orchestrator.reconcilers.namespaces import NamespaceReconciler
from rune.orchestrator.runners.process import ProcessRunner
from rune.orchestrator.services import Services
from rune.orchestrator.spec import Template
from rune.orchestrator.watch import Watch
from rune.security import kinds as security_kinds
from rune.security import organizations
from rune.security.plane import Plane, Stores
from rune.server.grpc import GrpcDoor, GrpcOptions
from rune.server.http import HttpDoor, HttpOptions
from rune.server.metrics import Metrics
from rune.server.pages import Surroundings, app
from rune.server.rest import Rest

logger = logging.getLogger(__name__)

KINDS = (
    Namespace, Service, Instance, Template, DeletionOperation, Configmap, ConfigmapVersion, *rights.KINDS,
    *security_kinds.KINDS,
)  # fmt: skip
DRAIN = 10.0
"""Seconds that calls under way have to end when runed is told to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """What runed is started for."""

    dev: bool = False
    """A scratch server: it makes its own first token, and its workloads end with it."""
    ready_fd: int = -1
    """Where to say, in one line of JSON, that it is ready and where it listens; -1 says it to nobody."""


def main() -> None:
    """The command `runed`."""
    mode, rest = _mode(sys.argv[1:])
    flags = settings.parse(rest)
    try:
        chosen = settings.load(flags.values, os.environ, flags.file, is_root=os.geteuid() == 0)
    except InvalidArgument as error:
        for violation in error.details or (error,):
            print(f"runed: {violation}", file=sys.stderr)  # noqa: T201 - there is no log yet
        sys.exit(error.codes.exit)
    log_setup.configure(sys.stderr, level=chosen.server.log_level, format=chosen.server.log_format)
    try:
        uvloop.run(serve(chosen, mode))
    except RuneError as error:
        logger.critical("runed cannot run", extra={"reason": error.message})
        sys.exit(error.codes.exit)


async def serve(chosen: Settings, mode: Mode) -> None:
    """Run until SIGTERM or SIGINT. Raises RuneError when something that it needs is not to be had."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    clock = SystemClock()
    data = chosen.server.data_dir
    async with (
        SqliteStore(data / "state.db", KINDS, history=chosen.storage.history) as store,
        SqliteEvents(data / "events.db", _retention(chosen)) as events,
    ):
        await organizations.seed(store, clock)
        await roles.seed(store, clock)
        await namespaces.seed(store, clock=clock)
        runner = ProcessRunner(data / "process", now=clock.now)
        parts = assemble(Stores(store=store, events=events), runner, chosen, clock=clock)
        async with _running(runner, mode), asyncio.TaskGroup() as tasks:
            background = [tasks.create_task(work) for work in parts.work()]
            async with _open(parts, chosen, mode, stop=stop) as doors:
                gc.freeze()  # what is there by now stays: no collection has to look at it again
                await _announce(doors, parts, str(data), mode=mode)
                await stop.wait()
                logger.info("stopping")
                parts.security.release()
            for task in background:
                task.cancel()
            await parts.leave()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of a server that runs."""

    store: Store
    dispatcher: Dispatcher
    identity: Identity
    audit: Audit
    control: Control
    security: Plane
    prober: Prober
    metrics: Metrics
    rights: rights.Rights
    clock: Clock

    def work(self) -> Sequence[Coroutine[object, object, None]]:
        """What runs for as long as the server does."""
        tidying = upkeep.keep(self.store, self.identity, self.clock)
        emptying = NamespaceReconciler(self.store, KINDS, clock=self.clock).run()
        running = (self.identity.follow(), tidying, emptying, self.control.run(), self.prober.run())
        return (*running, *self.security.work())

    async def leave(self) -> None:
        """Write down what is only in memory; the last thing before the store closes."""
        await upkeep.tidy(self.store, self.identity, self.clock)
        await self.audit.flush()


def assemble(stores: Stores, runner: ProcessRunner, chosen: Settings, *, clock: Clock) -> Parts:
    """The handlers, the reconcilers and what stands along the road, over one store."""
    store = stores.store
    identity, audit, metrics = Identity(store, clock, keys=Keys(store, clock)), Audit(store, clock), Metrics()
    powers = rights.Rights(store, clock)
    guards = Guards(
        identity=identity,
        limits=Limits(clock, _quotas(chosen), own=partial(organizations.quota, store)),
        audit=audit,
        meter=metrics,
        clock=clock,
        allow_remote_admin=chosen.auth.allow_remote_admin,
    )
    dispatcher = Dispatcher(guards)
    runners = {runner.name: runner}
    dependents = Dependents()
    node = socket.gethostname()
    prober = Prober(Questioner(runners), clock=clock)
    machine = Machine(runners=runners, probes=prober, node=node)
    control = Control(store, dependents, machine, clock=clock)
    prober.on_change(control.look_at)
    admin.register(dispatcher, store=store, rights=powers, identity=identity)
    audit_handlers.register(dispatcher, audit=audit, clock=clock)
    permissions.register(dispatcher)
    security = Plane(stores, clock=clock, allow_private_webhooks=chosen.webhooks.allow_private)
    security.register(dispatcher)
    for handlers in (
        Namespaces(store, KINDS, clock=clock),
        Services(store, dependents, clock=clock),
        Deletions(store),
        Instances(store, clock=clock),
        Configmaps(store, clock=clock),
        Logs(store, runners, clock=clock),
        Exec(store, runners),
        Health(store, prober, Node(node, clock=clock), is_ready=lambda: True, clock=clock),
        Watch(store),
    ):
        handlers.register(dispatcher)
    metrics.gauge("reconcile_depth", "Keys that wait for a look.", lambda: control.depth)
    metrics.gauge("store_revision", "The newest revision of the log.", lambda: store.revision)
    return Parts(
        store=store, dispatcher=dispatcher, identity=identity, audit=audit, control=control,
        security=security, prober=prober, metrics=metrics, rights=powers, clock=clock,
    )  # fmt: skip


def _quotas(chosen: Settings) -> dict[str, Quota]:
    limits = chosen.limits
    per_minute = {
        "control": limits.calls_per_minute, "stream": limits.streams_per_minute, "sdk": limits.sdk_per_minute,
        "read": limits.reads_per_minute, "write": limits.writes_per_minute,
    }  # fmt: skip
    quotas = {rate: Quota(count=count) for rate, count in per_minute.items() if count}
    if limits.events_per_second:
        quotas["events"] = Quota(count=limits.events_per_second, seconds=1)
    return quotas


def _retention(chosen: Settings) -> Retention:
    return Retention(
        max_age=timedelta(days=chosen.events.retention_days), max_bytes=chosen.events.max_gib << 30
    )


@asynccontextmanager
async def _running(runner: ProcessRunner, mode: Mode) -> AsyncGenerator[None]:
    """The runner, from its start to letting go; a scratch server takes its workloads with it."""
    await runner.start()
    try:
        yield
    finally:
        if mode.dev:
            await runner.shutdown(grace=2.0)
        await runner.close()


@asynccontextmanager
async def _open(parts: Parts, chosen: Settings, mode: Mode, *, stop: asyncio.Event) -> AsyncGenerator[Doors]:
    """Both doors, until the block ends; then calls under way get their time."""
    at = chosen.server
    rest = Rest(parts.dispatcher, parts.clock)
    surroundings = Surroundings(
        trouble=lambda: "the server is stopping" if stop.is_set() else "", metrics=parts.metrics
    )
    http = HttpDoor(
        app(rest, surroundings), rest.streams, HttpOptions(host=at.http_addr.host, port=at.http_addr.port)
    )
    options = GrpcOptions(address=str(at.grpc_addr), reflection=mode.dev or at.reflection)
    grpc = GrpcDoor(parts.dispatcher, parts.clock, options)
    try:
        grpc_port, http_port = await grpc.open(), await http.open()
        yield Doors(
            grpc=str(at.grpc_addr._replace(port=grpc_port)), http=str(at.http_addr._replace(port=http_port))
        )
    finally:
        async with asyncio.TaskGroup() as closing:
            closing.create_task(grpc.close(DRAIN))
            closing.create_task(http.close(DRAIN))


@dataclass(frozen=True, slots=True)
class Doors:
    """Where the doors are, as `host:port`."""

    grpc: str
    http: str


async def _announce(doors: Doors, parts: Parts, data: str, *, mode: Mode) -> None:
    """Say that everything is up: in the log, and to whoever started us."""
    logger.info("ready", extra={"grpc": doors.grpc, "http": doors.http, "data_dir": data, "pid": os.getpid()})
    token = api_key = ""
    if mode.dev:
        with suppress(FailedPrecondition):  # the folder had a server before: its token is known to its owner
            _, token = await parts.rights.bootstrap()
        api_key = await parts.security.first_key()
    if mode.ready_fd >= 0:
        told = {
            "grpc": doors.grpc, "http": doors.http, "token": token, "api_key": api_key, "data_dir": data,
            "pid": os.getpid(),
        }  # fmt: skip
        with os.fdopen(mode.ready_fd, "w", encoding="utf-8") as ready:
            ready.write(json.dumps(told) + "\n")


def _mode(argv: Sequence[str]) -> tuple[Mode, list[str]]:
    """What this start is for, and the arguments that are settings."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--dev", action="store_true")
    parser.add_argument("--ready-fd", type=int, default=-1)
    known, rest = parser.parse_known_args(argv)
    return Mode(dev=known.dev, ready_fd=known.ready_fd), rest


if __name__ == "__main__":
    main()
