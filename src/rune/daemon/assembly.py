"""Assembly: what stands along the road, and the two planes at its end."""

from __future__ import annotations

import os
import socket
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING

from rune.core import rights, settings, upkeep
from rune.core.apikeys import Keys
from rune.core.audit import Audit, Retention
from rune.core.auth import Identity
from rune.core.chain import Signer
from rune.core.clock import Clock
from rune.core.dispatch import Dispatcher, Guards
from rune.core.events.base import EventStore
from rune.core.events.base import Retention as EventRetention
from rune.core.limits import Limits, OpenStreams, Quota
from rune.core.logins import Ground as LoginGround
from rune.core.logins import Logins
from rune.core.passwords import Hashes
from rune.core.runefile import Address, Oidc, Settings
from rune.core.sessions import Terms
from rune.core.store.base import Store
from rune.core.vault import Vault
from rune.core.vitals import Vitals
from rune.mcp import door as mcp
from rune.orchestrator import admin, permissions, sealing
from rune.orchestrator import audit as audit_handlers
from rune.orchestrator import plane as orchestrator_plane
from rune.orchestrator import sessions as session_handlers
from rune.orchestrator.introduction import Door
from rune.orchestrator.plane import Ground
from rune.orchestrator.plane import Plane as OrchestratorPlane
from rune.orchestrator.runners.files import place
from rune.orchestrator.runners.fleet import Fleet
from rune.orchestrator.runners.isolation.orders import Rules
from rune.orchestrator.runners.link import Options
from rune.orchestrator.runners.process import ProcessRunner
from rune.orchestrator.traffic.exposure import LOOPBACK, Place
from rune.security import kinds as security_kinds
from rune.security import organizations
from rune.security.plane import Plane as SecurityPlane
from rune.security.plane import Stores
from rune.server.metrics import Metrics
from rune.version import __version__

if TYPE_CHECKING:
    from rune.core.federation import Federation

KINDS = (*orchestrator_plane.KINDS, *security_kinds.KINDS, *rights.KINDS)
SEALED = (*sealing.SEALED, *security_kinds.SEALED)


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
    logins = _logins(identity, powers, chosen, store=store, clock=clock)
    federation = _federation(chosen.auth.oidc, logins, powers, clock=clock)
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


def _federation(chosen: Oidc, logins: Logins, powers: rights.Rights, *, clock: Clock) -> Federation | None:
    if not chosen.issuer:
        return None
    from rune.core.federation import Federation  # noqa: PLC0415 - brings an HTTP client and JWTs along

    return Federation(chosen, logins, powers, clock=clock)


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


def fleet_of(chosen: Settings, clock: Clock) -> Fleet:
    """The runners; mounted files rest in memory where that can be."""
    data = chosen.server.data_dir
    files = place(data, is_root=os.geteuid() == 0)
    options = Options(files=files)
    process = ProcessRunner(data / "process", now=clock.now, options=options, rules=_rules(chosen))
    return Fleet(chosen.runner, process, data, clock=clock, files=files)


def ground_of(store: Store, chosen: Settings, *, fleet: Fleet, sealed: sealing.Sealing) -> Ground:
    """What the orchestrator stands on."""
    return Ground(
        store=store,
        kinds=KINDS,
        runners=fleet.runners,
        measures=fleet.measures,
        processes=fleet.processes,
        sealed=sealed,
        own=[_place(at) for at in (chosen.server.grpc_addr, chosen.server.http_addr) if at.port],
        node=socket.gethostname(),
        surge=chosen.rollouts.max_surge,
    )


def _place(at: Address) -> Place:
    """Where that is; a name that may stand for anything is taken for every address."""
    with suppress(ValueError):
        return Place(str(ip_address(LOOPBACK if at.host == "localhost" else at.host)), at.port)
    return Place("0.0.0.0", at.port)  # noqa: S104 - nothing listens for it


def _audit(store: Store, chosen: Settings, clock: Clock) -> Audit:
    """The audit log with its own key and what it may keep."""
    kept = chosen.audit
    return Audit(
        store,
        clock,
        signer=Signer.at(chosen.server.data_dir / "audit.key"),
        retention=Retention(age=timedelta(days=kept.max_age_days), size=kept.max_size_mib << 20),
    )


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


def event_retention(chosen: Settings) -> EventRetention:
    """How long events are kept, and how many."""
    kept = chosen.events
    return EventRetention(max_age=timedelta(days=kept.retention_days), max_bytes=kept.max_gib << 30)
