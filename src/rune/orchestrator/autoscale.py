"""Autoscale: how many copies are enough for what there is to do, and what hands may do meanwhile. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import msgspec

from rune.api.orchestrator.autoscale import Autoscale, Autoscaling
from rune.api.orchestrator.services import Service
from rune.errors import InvalidArgument, Violation
from rune.orchestrator import quantities

CPU, CONNECTIONS, REQUESTS = "cpu", "connections", "requests"
TOLERANCE: Final = 0.1
"""So near to the target nothing is changed: a measurement is no more exact."""
LEAST_STEP: Final = 4
UNITS: Final = {CPU: "percent of CPU", CONNECTIONS: "open connections", REQUESTS: "new connections a second"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the copies had to do at one moment."""

    total: float
    """Of all that could be measured together, in the unit of the target."""
    measured: int
    """How many those are."""
    copies: int
    """How many there are."""

    @property
    def average(self) -> float:
        """What one of them had to do."""
        return self.total / self.measured if self.measured else 0.0


def wish(service: Service) -> Autoscale | None:
    """What the service asks for; None where nobody but hands changes its number of copies."""
    return service.autoscale if service.autoscale and service.autoscale.enabled else None


def metric(asked: Autoscale) -> str:
    """What is measured."""
    return asked.metric or CPU


def enough(asked: Autoscale, scale: int, seen: Seen) -> int:
    """How many copies would each have what the target says, whatever the bounds and steps.

    A copy that could not be measured may have just begun: it neither asks for others nor lets any end.
    """
    needed = seen.total / asked.target
    if scale and abs(needed / scale - 1) <= TOLERANCE:
        return scale
    wanted = math.ceil(needed - TOLERANCE * min(needed, 1.0))
    if wanted < scale and (seen.measured < seen.copies or seen.copies < scale):
        return scale
    return wanted


def bounded(asked: Autoscale, scale: int) -> int:
    """The nearest number of copies that the service allows."""
    return min(max(scale, asked.min), asked.max)


def stepped(asked: Autoscale, scale: int, wanted: int) -> int:
    """How far to go at once."""
    if wanted > scale:
        return min(wanted, scale + (asked.step or max(scale, LEAST_STEP)))
    return max(wanted, scale - asked.step) if asked.step else wanted


def begun(found: Service | None, spec: Service) -> Service:
    """The spec with the number of copies that autoscale leaves it: what was reached is kept over a cast."""
    asked = wish(spec)
    if asked is None:
        return spec
    if found is None or wish(found) is None:
        return msgspec.structs.replace(spec, scale=bounded(asked, spec.scale))
    scale = bounded(asked, found.scale) if found.scale else 0
    return msgspec.structs.replace(spec, scale=scale)


def by_hand(service: Service, scale: int, *, now: datetime) -> Autoscaling | None:
    """What is noted when somebody scales the service; raises InvalidArgument past the bounds.

    A hand goes before the controller for as long as a cooldown, and 0 copies until a hand scales again.
    """
    asked = wish(service)
    if asked is None:
        return service.autoscaling
    if scale and bounded(asked, scale) != scale:
        bounds = f"must be 0, or from {asked.min} to {asked.max} as the service's autoscale says"
        raise InvalidArgument.of([Violation("scale", f"{bounds}: change that, or its enabled to false")])
    known = service.autoscaling or Autoscaling()
    if not scale:
        rests = "scaled to 0 by hand: nothing is started until it is scaled by hand again"
        return msgspec.structs.replace(known, reason="Resting", message=rests, held_until=None)
    until = now + timedelta(seconds=asked.cooldown)
    held = f"scaled to {scale} by hand: autoscale goes on at {until:%H:%M:%S} UTC"
    return msgspec.structs.replace(known, reason="ByHand", message=held, held_until=until)


def capacity(spec: Service) -> float:
    """The cores that 100 percent of CPU stand for in one copy."""
    cpu = spec.resources.cpu if spec.resources else None
    said = (cpu.request or cpu.limit) if cpu else ""
    return quantities.cores(said) if said else 1.0


def violations(spec: Service) -> Iterator[Violation]:
    """What no autoscale could keep to."""
    asked = spec.autoscale
    if asked is None:
        return
    if asked.max < asked.min:
        yield Violation("autoscale.max", f"cannot be less than min, which is {asked.min}")
    if metric(asked) != CPU and not any(port.protocol in ("", "tcp") for port in spec.ports):
        yield Violation("autoscale.metric", f"{metric(asked)} are counted at tcp ports, and there is none")
