"""What the product decides, in pure functions: which copies of a service should there be, and how is it.

Two properties hold and are tested: the plan of a world that agrees is empty, and a plan that was
performed leaves a world that agrees, in a bounded number of rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from rune.api.orchestrator.guard import QuarantineMode
from rune.api.orchestrator.instances import DesiredState, Instance, InstanceStatus
from rune.api.orchestrator.scaling import ScalingState
from rune.api.orchestrator.services import Service

SURGE: Final = 1
"""How many copies above the scale a roll-out may add for a while."""
MIN_READY: Final = 5
"""Seconds that a copy without a readiness probe must have run to count: those that fail at their start
do so within the first few."""
RECREATE: Final = "recreate"


@dataclass(frozen=True, slots=True)
class Start:
    """Add a copy of the newest template."""


@dataclass(frozen=True, slots=True)
class Retire:
    """End a copy, then forget it."""

    instance: Instance


@dataclass(frozen=True, slots=True)
class Hold:
    """Keep a copy from running, at once, and leave what it wrote to be read."""

    instance: Instance


@dataclass(frozen=True, slots=True)
class CutOff:
    """Take the network from a copy that goes on."""

    instance: Instance


@dataclass(frozen=True, slots=True)
class Free:
    """Let a copy run again that was held, and have its network again."""

    instance: Instance


Action = Start | Retire | Hold | CutOff | Free


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """How a changed template reaches the copies."""

    surge: int = SURGE
    """Copies above the scale."""
    unavailable: int = 0
    """Copies that may be missing from the scale."""
    min_ready: int = 0
    """Seconds that a new copy must have been ready to count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """A service with its copies, at one moment."""

    service: Service
    copies: Sequence[Instance]
    now: datetime
    rollout: Rollout = Rollout()

    @property
    def wanted(self) -> int:
        """How many copies there should be now; fewer than the scale while a scaling goes by steps."""
        service = self.service
        if service.deletion_id:
            return 0
        scaling = service.scaling
        if scaling and scaling.state is ScalingState.IN_PROGRESS:
            return scaling.step_scale
        return service.scale

    @property
    def is_quarantined(self) -> bool:
        """Agent security wants its copies out of harm's way; a deletion goes before that."""
        service = self.service
        return bool(service.guard and service.guard.quarantined and not service.deletion_id)

    @property
    def staying(self) -> list[Instance]:
        """The copies that are not on their way out."""
        return [item for item in self.copies if item.desired is not DesiredState.DELETED]

    @property
    def fresh(self) -> list[Instance]:
        """Those of the newest template."""
        newest = template_generation(self.service)
        return [item for item in self.staying if generation(item) == newest]

    @property
    def stale(self) -> list[Instance]:
        """Those of older templates."""
        newest = template_generation(self.service)
        return [item for item in self.staying if generation(item) != newest]

    def is_available(self, item: Instance) -> bool:
        """It has been ready for long enough, or has done its work."""
        if item.status is InstanceStatus.EXITED:
            return True
        since = item.ready_since
        # One that became ready so far ahead of now did so before the clock was set back.
        return item.ready and (since is None or abs(self.now - since) >= self._min_ready)

    @property
    def available(self) -> list[Instance]:
        """The copies of the newest template that count."""
        return [item for item in self.fresh if self.is_available(item)]

    @property
    def is_complete(self) -> bool:
        """Every copy is of the newest template and available, and there are as many as wanted."""
        return len(self.staying) == self.wanted == len(self.available)

    def next_available(self) -> float | None:
        """In how many seconds the next copy that is ready begins to count."""
        times = [
            (item.ready_since + self._min_ready - self.now).total_seconds()
            for item in self.fresh
            if item.ready and item.ready_since and not self.is_available(item)
        ]
        return min(times, default=None)

    @property
    def _min_ready(self) -> timedelta:
        return timedelta(seconds=self.rollout.min_ready)


def rollout_of(service: Service, *, recreate: bool) -> Rollout:
    """What the service asks for; else one more at a time and none missing, unless ports forbid it."""
    strategy, wishes = service.update_strategy, service.rollout
    is_tight = _shares_ports(service)
    if recreate or (strategy and strategy.type == RECREATE):
        return Rollout(surge=0, unavailable=max(service.scale, 1), min_ready=_min_ready(service))
    surge = wishes.max_surge if wishes else None
    if surge is None:  # native processes share the host's ports: an old copy must leave before a new one
        surge = 0 if is_tight else SURGE
    unavailable = wishes.max_unavailable if wishes else None
    if unavailable is None:
        unavailable = 0 if surge else 1
    if strategy and strategy.min_serving:
        unavailable = min(unavailable, max(service.scale - strategy.min_serving, 0))
    if not surge and not unavailable:  # it could never go on
        surge, unavailable = (0, 1) if is_tight else (SURGE, 0)
    return Rollout(surge=surge, unavailable=unavailable, min_ready=_min_ready(service))


def _shares_ports(service: Service) -> bool:
    """Processes that do not keep to their own address, and containers that are published at one port."""
    return service.shares_ports or any(port.host_port for port in service.ports)


def _min_ready(service: Service) -> int:
    said = service.rollout.min_ready_seconds if service.rollout else None
    if said is not None:
        return said
    return 0 if service.health and service.health.readiness else MIN_READY


def plan(fleet: Fleet) -> list[Action]:
    """What must change so that as many copies of the newest template as wanted are all there is."""
    if fleet.is_quarantined:
        return _quarantined(fleet)
    actions = _rolled(fleet)
    retired = {action.instance.id for action in actions if isinstance(action, Retire)}
    kept = [item for item in fleet.staying if item.id not in retired]
    return [*actions, *(Free(item) for item in kept if item.held or item.cut_off)]


def _quarantined(fleet: Fleet) -> list[Action]:
    """Nothing starts and nothing is rolled out meanwhile: what runs is evidence."""
    agent = fleet.service.agent
    if agent and agent.quarantine_mode is QuarantineMode.ISOLATE:
        return [CutOff(item) for item in fleet.staying if not item.cut_off and not item.held]
    return [Hold(item) for item in fleet.staying if not item.held]


def _rolled(fleet: Fleet) -> list[Action]:
    wanted, rollout = fleet.wanted, fleet.rollout
    fresh, stale = fleet.fresh, fleet.stale
    actions: list[Action] = [Retire(item) for item in _least_useful(fresh)[: max(len(fresh) - wanted, 0)]]
    kept = len(fresh) - len(actions)
    going = len(fleet.copies) - len(fleet.staying)
    room = wanted + rollout.surge - kept - len(stale) - (going if not rollout.surge else 0)
    actions += [Start()] * max(0, min(wanted - kept, room))
    available = len(fleet.available) + sum(item.ready for item in stale)
    spare = available - max(wanted - rollout.unavailable, 0)
    for item in _least_useful(stale):
        if not item.ready:
            actions.append(Retire(item))
        elif spare > 0:
            actions.append(Retire(item))
            spare -= 1
    return actions


def generation(instance: Instance) -> int:
    """The template generation that a copy was made from."""
    return instance.metadata.generation if instance.metadata else 0


def template_generation(service: Service) -> int:
    """The newest template generation of a service."""
    return service.metadata.template_generation if service.metadata else 0


def _least_useful(instances: Sequence[Instance]) -> list[Instance]:
    """Those that are missed least first: failed, not ready, then the youngest."""
    return sorted(
        instances,
        key=lambda item: (
            item.status is not InstanceStatus.FAILED,
            item.ready,
            -(item.created_at.timestamp() if item.created_at else 0.0),
            item.id,
        ),
    )
