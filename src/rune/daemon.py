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
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import uvloop

from rune.api import Rate
from rune.core import logs as log_setup
from rune.core import rights, roles, settings, upkeep
from rune.core.apikeys import Keys
from rune.core.audit import Audit, Retention
from rune.core.auth import Identity
from rune.core.authority import AUTHORITY, Authority, Pass
from rune.core.chain import Signer
from rune.core.clock import Clock, SystemClock
from rune.core.dispatch import Dispatcher, Guards
from rune.core.events.base import EventStore
from rune.core.events.base import Retention as EventRetention
from rune.core.events.sqlite import SqliteEvents
from rune.core.federation import Federation
from rune.core.limits import Limits, OpenStreams, Quota
from rune.core.logins import Ground as LoginGround
from rune.core.logins import Logins
from rune.core.notices import notices
from rune.core.passwords import Hashes
from rune.core.reload import Reload
from rune.core.runefile import Settings
from rune.core.sessions import Terms
from rune.core.store.base import Store
from rune.core.store.sqlite import SqliteStore
from rune.core.vault import Vault
from rune.core.vitals import Vitals
from rune.errors import FailedPrecondition, InvalidArgument, RuneError
from rune.mcp import door as mcp
from rune.orchestrator import admin, namespaces, permissions, sealing
from rune.orchestrator import audit as audit_handlers
from rune.orchestrator import plane as orchestrator_plane
from rune.orchestrator import sessions as session_handlers
from rune.orchestrator.backup import Backup
from rune.orchestrator.introduction import Door, Endpoint, Listening, endpoint_of
from rune.orchestrator.plane import Ground
from rune.orchestrator.plane import Plane as OrchestratorPlane
from rune.orchestrator.runners.files import place
from rune.orchestrator.runners.fleet import Fleet
from rune.orchestrator.runners.isolation.orders import Rules
from rune.orchestrator.runners.link import Options
from rune.orchestrator.runners.process import ProcessRunner
from rune.security import kinds as security_kinds
from rune.security import organizations
from rune.security import plane as security_plane
from rune.security.plane import Plane as SecurityPlane
from rune.security.plane import Stores
from rune.server.callers import names_loopback
from rune.server.grpc import GrpcDoor, GrpcOptions
from rune.server.http import HttpDoor, HttpOptions
from rune.server.metrics import Metrics
from rune.server.origins import Origins
from rune.server.pages import Front, Surroundings, app, without_dashboard
from rune.server.rest import Rest
from rune.server.tls import Certificates, TlsFiles
from rune.version import __version__

logger = logging.getLogger(__name__)

KINDS = (*orchestrator_plane.KINDS, *security_kinds.KINDS, *rights.KINDS)
SEALED = (*sealing.SEALED, *security_kinds.SEALED)
BROWSING = {Rate.READ: 12_000, Rate.WRITE: 600}
"""Calls a minute that all browsers of an organization may make, beside the quotas of programs."""
SWITCH = 0.0005
"""Seconds after which a busy thread lets another one on: those that write need the interpreter often, for
little, and everybody whose batch they write waits for them."""
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
        again = partial(settings.load, flags.values, os.environ, flags.file, is_root=os.geteuid() == 0)
        uvloop.run(serve(chosen, mode, again))
    except RuneError as error:
        logger.critical("runed cannot run", extra={"reason": error.message})
        sys.exit(error.codes.exit)


async def serve(chosen: Settings, mode: Mode, again: Callable[[], Settings]) -> None:
    """Run until SIGTERM or SIGINT; SIGHUP reads `again` what can be.

    Raises RuneError when something that it needs is not to be had.
    """
    stop, reload, clock, loop = asyncio.Event(), Reload(), SystemClock(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    reload.add("log level", lambda: log_setup.set_level(again().server.log_level))
    certificates = _certificates(chosen, clock, reload)
    loop.add_signal_handler(signal.SIGHUP, reload.run)
    data = chosen.server.data_dir
    async with (
        SqliteStore(data / "state.db", KINDS, history=chosen.storage.history) as store,
        SqliteEvents(data / "events.db", _event_retention(chosen)) as events,
    ):
        for seed in (roles.seed, organizations.seed):
            await seed(store, clock)
        await namespaces.seed(store, clock=clock)
        fleet = _fleet(chosen, clock)
        sealed = await sealing.unlock(store, chosen, os.environ, sealed=SEALED, clock=clock)
        ground = _ground(store, chosen, fleet=fleet, sealed=sealed)
        parts = assemble(ground, events, chosen, vault=sealed.vault, clock=clock)
        fleet.on_turn(parts.orchestrator.look_at_runner)
        reload.add("registries", lambda: sealed.registries.configure(again().registries))
        Backup(store, data).register(parts.dispatcher)
        await parts.audit.begin()
        async with fleet.running(is_scratch=mode.dev), asyncio.TaskGroup() as tasks:
            background = [tasks.create_task(work) for work in parts.work()]
            background += [tasks.create_task(certificates.watch())] if certificates else []
            await parts.orchestrator.opened()
            async with _open(parts, chosen, mode, stop=stop, certificates=certificates) as doors:
                _settle_in()
                await _announce(doors, parts, str(data), mode=mode)
                await stop.wait()
                logger.info("stopping")
                parts.security.release()
            for task in background:
                task.cancel()
            await parts.leave()


def _settle_in() -> None:
    """Tell the interpreter what it now is: a server with many short-lived objects and threads that write."""
    gc.set_threshold(20_000, 20, 20)  # a batch of events alone makes a thousand objects
    gc.freeze()  # what is there by now stays: no collection has to look at it again
    sys.setswitchinterval(SWITCH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of a server that runs."""

    store: Store
    dispatcher: Dispatcher
    identity: Identity
    audit: Audit
    orchestrator: OrchestratorPlane
    security: SecurityPlane
    metrics: Metrics
    vitals: Vitals
    rights: rights.Rights
    mcp: mcp.McpDoor
    clock: Clock
    door: Door
    """Where agents on this machine are told to come in."""

    def work(self) -> Sequence[Coroutine[object, object, None]]:
        """What runs for as long as the server does."""
        tidying = upkeep.keep(self.store, self.identity, self.clock)
        own = (self.vitals.run(), self.audit.keep(), self.identity.follow(), self.mcp.run(), tidying)
        return (*own, *self.orchestrator.work(), *self.security.work())

    async def leave(self) -> None:
        """Write down what is only in memory; the last thing before the store closes."""
        await upkeep.tidy(self.store, self.identity, self.clock)
        await self.audit.flush()
        await self.audit.sealed()


def assemble(ground: Ground, events: EventStore, chosen: Settings, *, vault: Vault, clock: Clock) -> Parts:
    """What stands along the road, and the two planes at its end, over one store."""
    store = ground.store
    identity = Identity(store, clock, keys=Keys(store, clock), terms=_terms(chosen))
    audit, metrics, vitals, powers = (
        _audit(store, chosen, clock),
        Metrics(),
        Vitals(store),
        rights.Rights(store, clock),
    )
    guards = Guards(
        identity=identity,
        limits=Limits(clock, _quotas(chosen), own=partial(organizations.quota, store)),
        audit=audit,
        meter=metrics,
        clock=clock,
        allow_remote_admin=chosen.auth.allow_remote_admin,
        open_streams=OpenStreams(chosen.limits.open_streams),
        is_organization=partial(organizations.exists, store),
    )
    dispatcher = Dispatcher(guards)
    admin.register(dispatcher, store=store, rights=powers, identity=identity)
    logins, oidc = _logins(identity, powers, chosen, store=store, clock=clock), chosen.auth.oidc
    federation = Federation(oidc, logins, powers, clock=clock) if oidc.issuer else None
    session_handlers.register(dispatcher, logins=logins, federation=federation)
    audit_handlers.register(dispatcher, audit=audit, clock=clock)
    permissions.register(dispatcher)
    door = Door()
    ground = replace(ground, door=door)
    orchestrator = OrchestratorPlane(ground, clock=clock, is_ready=lambda: not vitals.trouble)
    private = chosen.webhooks.allow_private
    stores = Stores(store=store, events=events, vault=vault, notes=audit)
    security = SecurityPlane(stores, clock=clock, allow_private_webhooks=private)
    for plane in (orchestrator, security):
        plane.register(dispatcher)
    orchestrator.measure(metrics)
    return Parts(
        store=store, dispatcher=dispatcher, identity=identity, audit=audit, orchestrator=orchestrator,
        security=security, metrics=metrics, vitals=vitals, rights=powers, clock=clock, door=door,
        mcp=mcp.McpDoor(dispatcher, identity, clock, version=__version__),
    )  # fmt: skip


def _logins(
    identity: Identity, powers: rights.Rights, chosen: Settings, *, store: Store, clock: Clock
) -> Logins:
    """How people get in."""
    return Logins(
        LoginGround(
            store=store, clock=clock, identity=identity, rights=powers, hashes=Hashes(), terms=_terms(chosen)
        )
    )


def _terms(chosen: Settings) -> Terms:
    """How long sessions last."""
    auth = chosen.auth
    return Terms(
        access=auth.session_access_ttl, idle=auth.session_refresh_ttl, grace=auth.session_grace_window
    )


def _fleet(chosen: Settings, clock: Clock) -> Fleet:
    """The runners; mounted files rest in memory where that can be."""
    data = chosen.server.data_dir
    files = place(data, is_root=os.geteuid() == 0)
    options = Options(files=files)
    process = ProcessRunner(data / "process", now=clock.now, options=options, rules=_rules(chosen))
    return Fleet(chosen.runner, process, data, clock=clock, files=files)


def _ground(store: Store, chosen: Settings, *, fleet: Fleet, sealed: sealing.Sealing) -> Ground:
    """What the orchestrator stands on."""
    return Ground(
        store=store,
        kinds=KINDS,
        runners=fleet.runners,
        measures=fleet.measures,
        processes=fleet.processes,
        sealed=sealed,
        node=socket.gethostname(),
        surge=chosen.rollouts.max_surge,
    )


def _audit(store: Store, chosen: Settings, clock: Clock) -> Audit:
    """The audit log with its own key and what it may keep."""
    kept = chosen.audit
    return Audit(
        store,
        clock,
        signer=Signer.at(chosen.server.data_dir / "audit.key"),
        retention=Retention(age=timedelta(days=kept.max_age_days), size=kept.max_size_mib << 20),
    )


def _certificates(chosen: Settings, clock: Clock, reload: Reload) -> Certificates | None:
    """What the doors show, where TLS is on."""
    tls = chosen.auth.tls
    if not tls.enabled:
        return None
    authority = Path(tls.client_ca_file) if tls.client_ca_file else None
    certificates = Certificates(
        TlsFiles(
            certificate=Path(tls.cert_file),
            key=Path(tls.key_file),
            client_authority=authority,
            pass_authority=_passes(chosen, clock).path(AUTHORITY) if authority else None,
        ),
        clock,
    )
    reload.add("certificates", certificates.reload)
    return certificates


def _passes(chosen: Settings, clock: Clock) -> Authority:
    """The authority of what agents show at a door that asks for certificates; made where there is none."""
    found = Authority(chosen.server.data_dir / "passes", clock.now())
    found.init("Rune passes of agents")
    return found


def _rules(chosen: Settings) -> Rules:
    """How processes are isolated; what is runed's own is no business of theirs."""
    hidden = (chosen.server.data_dir, settings.DEFAULT_FILE.parent)
    return Rules(mode=chosen.runner.process.isolation, hidden=hidden)


def _quotas(chosen: Settings) -> dict[str, Quota]:
    limits = chosen.limits
    per_minute = {
        "control": limits.calls_per_minute, "stream": limits.streams_per_minute, "sdk": limits.sdk_per_minute,
        "approval": limits.approvals_per_minute,
        "read": limits.reads_per_minute, "write": limits.writes_per_minute,
    }  # fmt: skip
    quotas = {rate: Quota(count=count) for rate, count in per_minute.items() if count}
    if limits.events_per_second:
        quotas["events"] = Quota(count=limits.events_per_second, seconds=1)
    return quotas


def _event_retention(chosen: Settings) -> EventRetention:
    kept = chosen.events
    return EventRetention(max_age=timedelta(days=kept.retention_days), max_bytes=kept.max_gib << 30)


@asynccontextmanager
async def _open(
    parts: Parts, chosen: Settings, mode: Mode, *, stop: asyncio.Event, certificates: Certificates | None
) -> AsyncGenerator[Doors]:
    """Both doors, until the block ends; then calls under way get their time."""
    at = chosen.server
    origins = Origins(at.http_addr.host, at.allowed_hosts)
    rest = Rest(parts.dispatcher, parts.clock, origins, shortcuts=security_plane.SHORTCUTS)
    surroundings = Surroundings(
        trouble=lambda: "the server is stopping" if stop.is_set() else parts.vitals.trouble,
        metrics=parts.metrics,
        doors={mcp.PATH: parts.mcp},
        front=_dashboard(parts, chosen, rest),
    )
    secured = certificates.for_http() if certificates else None
    http = HttpDoor(
        app(rest, surroundings),
        rest.streams,
        HttpOptions(host=at.http_addr.host, port=at.http_addr.port, tls=secured),
    )
    options = GrpcOptions(
        address=str(at.grpc_addr),
        credentials=certificates.for_grpc() if certificates else None,
        is_mutual=certificates is not None and certificates.is_mutual,
        reflection=mode.dev or at.reflection,
    )
    if certificates:
        certificates.measure(parts.metrics)
    elif not all(names_loopback(each.host) for each in (at.grpc_addr, at.http_addr)):
        logger.warning("tokens travel unencrypted to this server: set auth.tls (rune admin certs init)")
    grpc = GrpcDoor(parts.dispatcher, parts.clock, options)
    try:
        grpc_port, http_port = await grpc.open(), await http.open()
        parts.door.opens(_endpoint(chosen, http_port, certificates, clock=parts.clock))
        parts.vitals.on_change(lambda well: grpc.serving(ready=well))
        yield Doors(
            grpc=str(at.grpc_addr._replace(port=grpc_port)), http=str(at.http_addr._replace(port=http_port))
        )
    finally:
        async with asyncio.TaskGroup() as closing:
            closing.create_task(grpc.close(DRAIN))
            closing.create_task(http.close(DRAIN))


def _endpoint(chosen: Settings, port: int, certificates: Certificates | None, *, clock: Clock) -> Endpoint:
    """Where agents reach the HTTP door; the authority of `rune admin certs` lies beside its certificates."""

    def issue() -> Pass:
        return _passes(chosen, clock).pass_for("an agent of this server")

    listening = Listening(
        host=chosen.server.http_addr.host,
        port=port,
        names=certificates.names if certificates else None,
        issue=issue if certificates and certificates.is_mutual else None,
    )
    beside = Path(chosen.auth.tls.cert_file).absolute().parent / "ca.pem"
    found = str(beside) if certificates and beside.is_file() else ""
    return endpoint_of(listening, url=chosen.agents.endpoint, ca_file=chosen.agents.ca_file or found)


def _dashboard(parts: Parts, chosen: Settings, rest: Rest) -> Front:
    """The dashboard at `/`, or a page that says how to get it."""
    if not chosen.server.dashboard:
        return without_dashboard("it is switched off: set server.dashboard in the Runefile to true")
    try:
        from rune.dashboard.app import Dashboard  # noqa: PLC0415 - needs the extra of that name
    except ModuleNotFoundError as missing:
        if missing.name != "markupsafe":
            raise
        return without_dashboard("install it with: pip install 'runesec[dashboard]'")
    limits = Limits(parts.clock, {rate: Quota(count=count) for rate, count in BROWSING.items()})
    provider = chosen.auth.oidc.title if chosen.auth.oidc.issuer else ""
    changes = partial(notices, parts.store)
    return Dashboard.over(parts.dispatcher.limited(limits), changes, rest, provider=provider)


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
