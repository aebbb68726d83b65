"""What the reconcilers of a node work with: its runners, and those who ask, feed and connect instances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from rune.api.orchestrator.health import HealthCheckResult
from rune.api.orchestrator.instances import Instance
from rune.orchestrator.introduction import NOBODY, Introduces
from rune.orchestrator.mounts import NOTHING, Supplies
from rune.orchestrator.runners.base import Runner
from rune.orchestrator.spec import Template
from rune.orchestrator.workloads import Lookup, anonymous


class Probes(Protocol):
    """Asks instances how they are, again and again."""

    def keep(self, instance: Instance, template: Template) -> None:
        """Ask this attempt of it from now on; nothing new when that is done already."""
        ...

    def drop(self, instance: str) -> None:
        """Ask it no more, and forget what it said."""
        ...

    def ready(self, instance: str) -> bool | None:
        """What the readiness probe says; None before its first word."""
        ...

    def sick(self, instance: str) -> str:
        """Why the liveness probe wants it replaced; empty when it does not."""
        ...

    def results(self, instance: str) -> list[HealthCheckResult]:
        """The last word of each probe."""
        ...


class Traffic(Protocol):
    """Sends instances their connections."""

    async def drain(self, instance: str, seconds: float) -> None:
        """Send it no new ones, and wait until it has none, for so many seconds at most."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What instances run on, and what they get there. Without traffic, nothing is drained."""

    runners: Mapping[str, Runner]
    probes: Probes
    node: str
    credentials: Lookup = anonymous
    """What registries want to see."""
    traffic: Traffic | None = None
    supplies: Supplies = NOTHING
    """What copies get of secrets and configmaps."""
    introduces: Introduces = NOBODY
    """Gives agents their keys."""
    surge: int = 0
    """Copies above their scales that all rollouts together may add; 0 leaves it to the size of the fleet."""
