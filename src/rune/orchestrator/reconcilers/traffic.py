"""Traffic: every service is reached at its address and where it is exposed, and only its ready copies are."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from rune.api.orchestrator.instances import DesiredState, Instance
from rune.api.orchestrator.services import ExposureStatus, Service
from rune.api.orchestrator.specs import IngressCertStatus, ServicePort
from rune.api.resource import Key
from rune.core.clock import Clock
from rune.core.crud import put
from rune.core.reconcile import Worker, follow
from rune.core.store.base import Mutation, Store
from rune.errors import Conflict, FailedPrecondition
from rune.orchestrator.copies import copies_of
from rune.orchestrator.traffic import exposure, listening
from rune.orchestrator.traffic.certificates import Plain, Presents
from rune.orchestrator.traffic.exposure import LOOPBACK, Place
from rune.orchestrator.traffic.listening import Listener
from rune.orchestrator.traffic.pool import Endpoint
from rune.orchestrator.traffic.switchboard import Switchboard, Wanted
from rune.orchestrator.uses import SECRET, Use, presented

OPERATION: Final = "reconcile.traffic"
FIRST_LOOK, LONGEST_LOOK = 0.05, 10.0
"""Seconds between two looks at a copy that does not listen yet: a quarter of its age, within these."""
RETRY: Final = 2.0
"""Seconds until a place that could not be had is tried again."""
UNGUARDED: Final = (
    "copies listen on every address at this port, so allow_cidrs cannot hold:"
    " choose another host_port, or let them listen on their HOST"
)
UNENCRYPTED: Final = (
    "copies listen on every address at this port, so nothing is encrypted there:"
    " choose another host_port, or let them listen on their HOST"
)
HELD: Final = 5.0
"""Seconds that a door stays open without a ready copy where it could be in the way of a new one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What is known of one service at one moment."""

    service: Service
    copies: Sequence[Instance]
    """Those that are ready."""
    seen: Collection[Listener]
    """Who listens on the machine."""

    @property
    def tcp(self) -> list[ServicePort]:
        """The ports that connections can go to."""
        return [port for port in self.service.ports if port.protocol in ("", "tcp")]

    @property
    def mode(self) -> str:
        """How connections are spread."""
        return self.service.discovery.mode if self.service.discovery else ""

    def endpoints(self, port: ServicePort) -> list[Endpoint]:
        """Where the copies listen for a port of the service."""
        return [Endpoint(copy.id, copy.ip or LOOPBACK, target_of(port)) for copy in self.copies]

    def shares_ports(self) -> bool | None:
        """Whether the copies take their ports on every address; None while that cannot be told."""
        if self.service.runtime != "process":
            return False
        settled = bool(self.copies)
        for port in self.service.ports:
            protocol, target = port.protocol or "tcp", target_of(port)
            alone = all(Listener(protocol, copy.ip, target) in self.seen for copy in self.copies)
            if not alone and Listener(protocol, None, target) in self.seen:
                return True
            settled = settled and alone
        return False if settled else None


class TrafficReconciler:
    """Keeps the switchboard as the services and their ready copies want it."""

    def __init__(
        self, store: Store, switchboard: Switchboard, *, clock: Clock, presents: Presents | None = None
    ) -> None:
        self._store = store
        self._switchboard = switchboard
        self._presents = presents or Plain()
        self._clock = clock
        self._worker = Worker(self.reconcile, clock=clock)
        self._empty_since: dict[Key, float] = {}
        self._opened = asyncio.Event()

    async def opened(self) -> None:
        """Until every door that was wanted at the start was tried."""
        await self._opened.wait()

    async def run(self) -> None:
        """Follow the log until cancelled."""
        await self._switchboard.run(self._run())

    async def _run(self) -> NoReturn:
        async with asyncio.TaskGroup() as tasks:
            for service in self._store.list(Service):
                await self.reconcile(service.key)
            self._opened.set()
            tasks.create_task(self._worker.run())
            await follow(self._store, self._worker, Service, route=self._route)

    def _route(self, mutation: Mutation) -> None:
        kind, namespace, _ = mutation.key
        if kind == Service.KIND:
            self._worker.look(mutation.key)
        elif kind == Instance.KIND:
            instance = mutation.after or mutation.before
            if isinstance(instance, Instance):
                self._worker.look(Key(Service.KIND, namespace, instance.service_name))
        elif kind == SECRET:
            for service in self._store.list(Service, namespace):
                if Use(*mutation.key) in set(presented(service)):
                    self._worker.look(service.key)

    async def reconcile(self, key: Key) -> float | None:
        """Fill the pools, then open and close doors; says when to look again at what is not settled."""
        service = self._store.find(Service, key.namespace, key.name)
        if service is None or not service.ports:
            self._switchboard.forget((key.namespace, key.name))
            self._empty_since.pop(key, None)
            return None
        seen = await self._heard(service)
        service = self._store.find(Service, key.namespace, key.name)
        if service is None:
            return 0.0
        view = View(service=service, copies=self._ready(service), seen=seen)
        shut = self._connect(view)
        try:
            await self._note(view, shut)
        except Conflict:
            return 0.0
        return self._again(view, shut)

    async def _heard(self, service: Service) -> frozenset[Listener]:
        """Who listens on the machine, where that matters: for processes, which share its ports."""
        if service.runtime != "process" or not self._ready(service):
            return frozenset()
        return await listening.listeners()

    def _ready(self, service: Service) -> list[Instance]:
        copies = copies_of(self._store, service.namespace, service.name)
        return [copy for copy in copies if copy.ready and copy.desired is DesiredState.RUNNING]

    def _connect(self, view: View) -> dict[Place, str]:
        """Make the switchboard agree; returns why some doors are not open."""
        service = view.service
        ref = (service.namespace, service.name)
        self._switchboard.welcome(copy.id for copy in view.copies)
        by_turns = view.mode == exposure.ROUND
        self._switchboard.fill(ref, {port.port: view.endpoints(port) for port in view.tcp}, by_turns=by_turns)
        doors, shut = [*self._own_doors(view)], dict[Place, str]()
        try:
            doors += self._exposed_door(view)
        except FailedPrecondition as error:  # without its certificate the door stays shut
            place = exposure.place_of(service)
            shut = {place: error.message} if place else {}
        return {**self._switchboard.open(ref, doors), **shut}

    def _own_doors(self, view: View) -> Iterator[Wanted]:
        if view.mode == exposure.NONE or not view.service.address:
            return
        for port in view.tcp:
            place = Place(view.service.address, port.port)
            if self._is_free(view, port, place):
                yield Wanted(place=place, port=port.port)

    def _exposed_door(self, view: View) -> Iterator[Wanted]:
        expose, place = view.service.expose, exposure.place_of(view.service)
        port = expose and exposure.port_of(view.service, expose)
        if expose and place and port and self._is_free(view, port, place):
            shown = self._presents.of(view.service)
            allowed, tls = exposure.networks(expose), shown.context if shown else None
            yield Wanted(place=place, port=port.port, allowed=allowed, tls=tls)

    def _is_free(self, view: View, port: ServicePort, place: Place) -> bool:
        """Listening there takes the port from no copy that wants it on every address.

        Such a copy answers at that place by itself. One that does not listen yet is waited for.
        """
        service, target = view.service, target_of(port)
        if service.runtime != "process" or target != place.port:
            return True
        key = service.key
        if view.copies:
            self._empty_since.pop(key, None)
            return any(Listener("tcp", copy.ip, target) in view.seen for copy in view.copies)
        since = self._empty_since.setdefault(key, self._clock.monotonic())
        is_open = self._switchboard.has((service.namespace, service.name), place)
        return is_open and self._clock.monotonic() - since < HELD

    async def _note(self, view: View, shut: Mapping[Place, str]) -> None:
        service = view.service
        place = exposure.place_of(service)
        status = self._exposed(view, place, shut) if place else None
        shares = view.shares_ports()
        shares = service.shares_ports if shares is None else shares
        shown = self._certificate(service, status)
        if (status, shares, shown) != (service.exposure, service.shares_ports, service.ingress_cert):
            write = put(service, exposure=status, shares_ports=shares, ingress_cert=shown)
            await self._store.commit(write, operation=OPERATION)

    def _certificate(self, service: Service, status: ExposureStatus | None) -> IngressCertStatus | None:
        """What its open door shows."""
        shown = self._presents.of(service) if status and status.is_open else None
        return shown.status(status.address, now=self._clock.now()) if shown and status else None

    def _exposed(self, view: View, place: Place, shut: Mapping[Place, str]) -> ExposureStatus:
        """How it is with the place that is asked for."""
        service, address = view.service, str(place)
        if place in shut:
            return ExposureStatus(address=address, message=shut[place])
        if self._switchboard.has((service.namespace, service.name), place):
            return ExposureStatus(address=address, is_open=True)
        if Listener("tcp", None, place.port) not in view.seen:
            return ExposureStatus(address=address, message="no copy listens yet")
        if service.expose and service.expose.tls:
            return ExposureStatus(address=address, message=UNENCRYPTED)
        if service.expose and service.expose.allow_cidrs:
            return ExposureStatus(address=address, message=UNGUARDED)
        return ExposureStatus(address=address, is_open=True, message="a copy answers there by itself")

    def _again(self, view: View, shut: Mapping[Place, str]) -> float | None:
        """In how many seconds what is not settled is looked at again."""
        if shut:
            return RETRY
        if not view.copies:
            return self._left(view.service.key)
        return self._age(view.copies) if view.shares_ports() is None else None

    def _left(self, key: Key) -> float | None:
        """Seconds until a door without ready copies gives way."""
        since = self._empty_since.get(key)
        left = HELD if since is None else since + HELD - self._clock.monotonic()
        return left if since is not None and left > 0 else None

    def _age(self, copies: Sequence[Instance]) -> float:
        """In how many seconds a copy that does not listen yet is worth another look."""
        ages = [(self._clock.now() - copy.updated_at).total_seconds() for copy in copies if copy.updated_at]
        return min(max(min(ages, default=0.0) / 4, FIRST_LOOK), LONGEST_LOOK)


def target_of(port: ServicePort) -> int:
    """Where the copies listen."""
    return port.target_port or port.port
