"""Puts the orchestrator's plane together: its handlers, and what runs beside them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from rune.api.orchestrator.configmaps import Configmap
from rune.api.orchestrator.deletions import DeletionOperation
from rune.api.orchestrator.instances import Instance
from rune.api.orchestrator.namespaces import Namespace
from rune.api.orchestrator.services import Service
from rune.api.resource import Resource
from rune.core.clock import Clock
from rune.core.dispatch import Dispatcher
from rune.core.store.base import Store
from rune.orchestrator import sealing
from rune.orchestrator.admission import Admission, Admits
from rune.orchestrator.configmaps import Configmaps, ConfigmapVersion
from rune.orchestrator.control import Control
from rune.orchestrator.deletions import Deletions
from rune.orchestrator.dependents import Dependents
from rune.orchestrator.exec import Exec
from rune.orchestrator.health import Health
from rune.orchestrator.instances import Instances
from rune.orchestrator.introduction import NOBODY, Door, Introductions
from rune.orchestrator.logs import Logs
from rune.orchestrator.machine import Machine
from rune.orchestrator.mounts import NOTHING
from rune.orchestrator.namespaces import Namespaces
from rune.orchestrator.node import Checks, Node
from rune.orchestrator.portforward import PortForward
from rune.orchestrator.probes import Prober
from rune.orchestrator.questions import Questioner
from rune.orchestrator.reconcilers.autoscaling import Autoscaler
from rune.orchestrator.reconcilers.namespaces import NamespaceReconciler
from rune.orchestrator.reconcilers.traffic import TrafficReconciler
from rune.orchestrator.revisions import Revisions
from rune.orchestrator.runners.base import FullRunner
from rune.orchestrator.scalings import Scalings
from rune.orchestrator.services import Services
from rune.orchestrator.spec import Template
from rune.orchestrator.traffic import metering
from rune.orchestrator.traffic.certificates import Plain
from rune.orchestrator.traffic.exposure import Place
from rune.orchestrator.traffic.switchboard import Switchboard
from rune.orchestrator.usages import Measures, Usages
from rune.orchestrator.watch import Watch
from rune.orchestrator.workloads import anonymous

KINDS: Final[Sequence[type[Resource]]] = (
    Namespace,
    Service,
    Instance,
    Template,
    DeletionOperation,
    Configmap,
    ConfigmapVersion,
    *sealing.KINDS,
)
"""What the plane keeps in the store."""


class Isolating(Admits, Protocol):
    """A runner that knows what its machine can enforce."""

    def checks(self) -> Checks:
        """By what can be enforced, why it cannot be here; empty when it can."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What the plane stands on."""

    store: Store
    kinds: Sequence[type[Resource]] = KINDS
    """All that the store may hold in a namespace: it goes with the namespace."""
    runners: Mapping[str, FullRunner]
    measures: Mapping[str, Measures] = field(default_factory=dict[str, Measures])
    processes: Isolating | None = None
    """The runner that isolates processes, where there is one."""
    sealed: sealing.Sealing | None = None
    """Secrets and registries; a plane without them hands out none."""
    door: Door | None = None
    """Where agents reach this server; a plane without it runs none."""
    own: Sequence[Place] = ()
    """Where this server itself listens."""
    node: str = "here"
    surge: int = 0
    """Copies above their scales that all rollouts together may add; 0 leaves it to the size of the fleet."""


class Plane:
    """The orchestrator's plane of a server. `namespaces.seed` must have run."""

    def __init__(self, ground: Ground, *, clock: Clock, is_ready: Callable[[], bool]) -> None:
        store, runners, sealed = ground.store, ground.runners, ground.sealed
        self._store = store
        self._prober = Prober(Questioner(runners), clock=clock)
        self._switchboard = Switchboard(own=ground.own)
        self._traffic = TrafficReconciler(
            store, self._switchboard, clock=clock, presents=sealed.certificates if sealed else Plain()
        )
        self._emptying = NamespaceReconciler(store, ground.kinds, clock=clock)
        self._autoscaler = Autoscaler(store, ground.measures, clock=clock, traffic=self._switchboard)
        dependents = Dependents()
        machine = Machine(
            runners=runners,
            probes=self._prober,
            node=ground.node,
            traffic=self._switchboard,
            surge=ground.surge,
            credentials=sealed.registries.credentials if sealed else anonymous,
            supplies=sealed.mounts if sealed else NOTHING,
            introduces=Introductions(store, ground.door, clock=clock) if ground.door else NOBODY,
        )
        self._control = Control(store, dependents, machine, clock=clock)
        self._prober.on_change(self._control.look_at)
        admission = Admission(runners, processes=ground.processes)
        node = Node(ground.node, clock=clock, checks=ground.processes.checks if ground.processes else dict)
        self._parts = (
            Namespaces(store, ground.kinds, clock=clock),
            Services(store, dependents, clock=clock, admission=admission),
            Scalings(store, clock=clock),
            Revisions(store, clock=clock, admission=admission),
            Deletions(store, dependents, clock=clock),
            Instances(store, clock=clock, usages=Usages(ground.measures)),
            Configmaps(store, clock=clock),
            Logs(store, runners, clock=clock),
            Exec(store, runners),
            Health(store, self._prober, node, is_ready=is_ready, clock=clock),
            PortForward(store),
            Watch(store),
            *([sealed] if sealed else []),
        )

    def register(self, dispatcher: Dispatcher) -> None:
        """Make these the handlers of the plane's operations."""
        for part in self._parts:
            part.register(dispatcher)

    def measure(self, metrics: metering.Meters) -> None:
        """Show how much there is to do, and what goes over the doors of services."""
        metrics.gauge("reconcile_depth", "Keys that wait for a look.", lambda: self._control.depth)
        metrics.gauge("store_revision", "The newest revision of the log.", lambda: self._store.revision)
        metering.show(metrics, self._switchboard)

    def work(self) -> Sequence[Coroutine[object, object, None]]:
        """What runs for as long as the server does."""
        return (
            self._control.run(),
            self._prober.run(),
            self._traffic.run(),
            self._emptying.run(),
            self._autoscaler.run(),
        )

    def look_at_runner(self, name: str) -> None:
        """Its engine was lost, or is back."""
        self._control.look_at_runner(name)

    async def opened(self) -> None:
        """Returns when every door of a service that can be open is."""
        await self._traffic.opened()
