"""Autoscaling: looks at what the copies of services have to do, and writes down how many there should be.

It looks at how things are, never at what happened, so a missed round harms nobody. It stands back while a
rollout, a scaling by steps, a quarantine or a hand is at work, and says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NoReturn, Protocol

import msgspec

from rune.api.orchestrator.autoscale import Autoscale, Autoscaling
from rune.api.orchestrator.instances import DesiredState, Instance
from rune.api.orchestrator.scaling import ScalingState
from rune.api.orchestrator.services import Service
from rune.api.resource import Key
from rune.core.clock import Clock
from rune.core.crud import put
from rune.core.store.base import Put, Store, Write
from rune.errors import Conflict, NotFound, RuneError
from rune.orchestrator import autoscale
from rune.orchestrator.autoscale import Seen
from rune.orchestrator.copies import copies_of
from rune.orchestrator.plan import generation, template_generation
from rune.orchestrator.respec import respecified
from rune.orchestrator.runners.base import HasUsage, Usage

logger = logging.getLogger(__name__)

PERIOD: Final = 5.0
"""Seconds between two looks: CPU is the average over them."""
WITHIN: Final = 5.0
"""Seconds that one measurement may take."""
OPERATION: Final = "autoscale.service"
NOTEWORTHY: Final = 0.1
"""The part of the target by which an observation must differ from the last one to be written down anew."""


class Connected(Protocol):
    """Knows the connections of instances."""

    def load(self, instance: str) -> tuple[int, int]:
        """How many it has, and how many it has had."""
        ...


@dataclass(slots=True)
class Memory:
    """What is remembered of one service between two looks."""

    since: float
    """When it was first looked at."""
    wanted: deque[tuple[float, int]] = field(default_factory=deque[tuple[float, int]])
    """When, and how many copies would have been enough, for as long as a cooldown."""

    def lasting(self, now: float, cooldown: float, wanted: int) -> int | None:
        """The most that was wanted within the cooldown; None before a whole one was seen."""
        self.wanted.append((now, wanted))
        while self.wanted[0][0] < now - cooldown:
            self.wanted.popleft()
        return max(count for _, count in self.wanted) if now - self.since >= cooldown else None


class Autoscaler:
    """Scales the services that ask for it. Without traffic, only CPU is measured."""

    def __init__(
        self,
        store: Store,
        measures: Mapping[str, HasUsage],
        *,
        clock: Clock,
        traffic: Connected | None = None,
    ) -> None:
        self._store, self._measures, self._traffic, self._clock = store, measures, traffic, clock
        self._memory: dict[Key, Memory] = {}
        self._cpu: dict[str, tuple[int, Usage]] = {}
        self._passed: dict[str, tuple[float, int]] = {}

    async def run(self) -> NoReturn:
        """Look at everything again and again, until cancelled."""
        while True:
            await asyncio.sleep(PERIOD)
            await self.look()

    async def look(self) -> None:
        """One round over all services."""
        asking = [item for item in self._store.list(Service) if autoscale.wish(item)]
        for service in asking:
            try:
                await self._settle(service)
            except (Conflict, NotFound):
                continue  # it is being changed: the next round sees what became of it
            except RuneError as error:
                logger.warning("autoscale failed", extra={"key": str(service.key), "reason": str(error)})
        self._forget({item.key for item in asking})

    async def _settle(self, service: Service) -> None:
        asked = autoscale.wish(service)
        copies = [
            item
            for item in copies_of(self._store, service.namespace, service.name)
            if item.service_id in ("", service.id) and item.desired is not DesiredState.DELETED
        ]
        if asked is None:
            return
        seen = await self._seen(service, asked, copies)
        held = self._hindrance(service, copies)
        if held or not seen.measured:
            self._memory.pop(service.key, None)
            reason, message = held or ("Unmeasured", "no copy could be measured yet")
            await self._note(service, asked, seen, reason=reason, message=message)
            return
        await self._decide(service, asked, seen)

    def _hindrance(self, service: Service, copies: Sequence[Instance]) -> tuple[str, str] | None:
        """Why nothing is changed now, whatever is measured."""
        known, steps = service.autoscaling or Autoscaling(), service.scaling
        if service.scale == 0:
            return (
                "Resting",
                known.message or "it is scaled to 0: nothing is started until it is scaled by hand",
            )
        if known.held_until and known.held_until > self._clock.now():
            return "ByHand", known.message
        if service.deletion_id or (service.guard and service.guard.quarantined):
            return "Waiting", "it is being deleted, or in quarantine"
        if steps and steps.state is ScalingState.IN_PROGRESS:
            return "Waiting", "a scaling by steps is under way"
        if any(generation(item) != template_generation(service) for item in copies):
            return "Waiting", "a rollout is under way"
        return None

    async def _decide(self, service: Service, asked: Autoscale, seen: Seen) -> None:
        now = self._clock.monotonic()
        memory = self._memory.setdefault(service.key, Memory(since=now))
        wanted = autoscale.enough(asked, service.scale, seen)
        lasting = memory.lasting(now, asked.cooldown, wanted)
        reason, goal = "Steady", wanted
        if wanted < service.scale:
            goal = service.scale if lasting is None else min(lasting, service.scale)
            reason = "CoolingDown" if goal == service.scale and goal > asked.min else "Steady"
        scale = autoscale.stepped(asked, service.scale, autoscale.bounded(asked, goal))
        if wanted > asked.max:
            reason = "AtMax"
        message = _told(asked, seen, wanted)
        if scale == service.scale:
            await self._note(service, asked, seen, reason=reason, message=message)
            return
        word = "ScaledUp" if scale > service.scale else "ScaledDown"
        message = f"{message}; scaled from {service.scale} to {scale}"
        told = Autoscaling(reason=word, message=message, observed=seen.average, scaled_at=self._clock.now())
        spec = msgspec.structs.replace(service, scale=scale)
        writes = respecified(self._store, service, spec, now=self._clock.now())
        await self._store.commit(*(_telling(write, told) for write in writes), operation=OPERATION)
        logger.info("autoscaled", extra={"key": str(service.key), "scale": scale, "reason": message})

    async def _note(
        self, service: Service, asked: Autoscale, seen: Seen, *, reason: str, message: str
    ) -> None:
        """Write down how it is, where that tells anything new."""
        known = service.autoscaling or Autoscaling()
        differs = abs(known.observed - seen.average) > NOTEWORTHY * asked.target
        if reason == known.reason and not differs:
            return
        if reason != "ByHand":
            known = msgspec.structs.replace(known, held_until=None)
        told = msgspec.structs.replace(known, reason=reason, message=message, observed=seen.average)
        await self._store.commit(put(service, autoscaling=told), operation=OPERATION)

    # What is measured.

    async def _seen(self, service: Service, asked: Autoscale, copies: Sequence[Instance]) -> Seen:
        running = [item for item in copies if item.pid or item.ready]
        if autoscale.metric(asked) == autoscale.CPU:
            whole = 0.01 * autoscale.capacity(service)
            loads = [
                None if load is None else load / whole for load in [await self._cores(i) for i in running]
            ]
        else:
            loads = [self._connections(item.id, autoscale.metric(asked)) for item in running]
        known = [load for load in loads if load is not None]
        return Seen(total=sum(known), measured=len(known), copies=len(copies))

    async def _cores(self, instance: Instance) -> float | None:
        """What it used since the last look; None at the first one."""
        runner = self._measures.get(instance.runner)
        if runner is None:
            return None
        try:
            async with asyncio.timeout(WITHIN):
                now = await runner.usage(instance.id)
        except (RuneError, TimeoutError):
            return None  # it has just ended, or its engine is away
        attempt, before = self._cpu.get(instance.id, (0, None))
        self._cpu[instance.id] = (instance.attempt, now)
        if before is None or attempt != instance.attempt or now.at <= before.at:
            return None
        return now.cpu_percent(before) / 100

    def _connections(self, instance: str, metric: str) -> float | None:
        if self._traffic is None:
            return None
        active, passed = self._traffic.load(instance)
        if metric == autoscale.CONNECTIONS:
            return active
        now = self._clock.monotonic()
        before = self._passed.get(instance)
        self._passed[instance] = (now, passed)
        if before is None or passed < before[1] or now <= before[0]:
            return None
        return (passed - before[1]) / (now - before[0])

    def _forget(self, asking: set[Key]) -> None:
        """What is gone, or asks no more, is remembered no more."""
        self._memory = {key: kept for key, kept in self._memory.items() if key in asking}
        there = {item.id for key in asking for item in copies_of(self._store, key.namespace, key.name)}
        self._cpu = {name: kept for name, kept in self._cpu.items() if name in there}
        self._passed = {name: kept for name, kept in self._passed.items() if name in there}


def _told(asked: Autoscale, seen: Seen, wanted: int) -> str:
    unit = autoscale.UNITS[autoscale.metric(asked)]
    return (
        f"{seen.average:.3g} {unit} a copy, {asked.target:g} are its target: {wanted} copies would be enough"
    )


def _telling(write: Write, told: Autoscaling) -> Write:
    if isinstance(write, Put) and isinstance(write.value, Service):
        return Put(msgspec.structs.replace(write.value, autoscaling=told))
    return write
