"""The machine: what it has and uses, read from /proc at most once a second however often it is asked."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from rune.api.orchestrator.health import HealthCheckResult, HealthStatus, NodeResources
from rune.core.clock import Clock

FRESH: Final = 1.0
"""Seconds for which a reading is good."""
KIB: Final = 1024


Checks = Mapping[str, str]
"""By what can be asked of the machine, why it cannot be had; empty when it can."""


class Ticks(NamedTuple):
    """What the processors did since the machine started, in hundredths of a second."""

    busy: int
    all: int


class Node:
    """One machine, by its name. The use of processors is that between the last two readings."""

    def __init__(
        self, name: str, *, clock: Clock, proc: Path = Path("/proc"), checks: Callable[[], Checks] = dict
    ) -> None:
        self.name = name
        self._checks = checks
        self._clock = clock
        self._proc = proc
        self._at = float("-inf")
        self._ticks = Ticks(0, 0)
        self._seen = NodeResources()

    def resources(self) -> NodeResources:
        """What it has and uses; raises OSError where there is no /proc."""
        now = self._clock.monotonic()
        if now - self._at >= FRESH:
            self._seen = self._read()
            self._at = now
        return self._seen

    def checks(self) -> list[HealthCheckResult]:
        """What it can do, and what it cannot with the reason."""
        return [
            HealthCheckResult(
                status=HealthStatus.DEGRADED if why else HealthStatus.HEALTHY,
                message=f"{what}: {why or 'can be enforced'}",
                timestamp=self._clock.now(),
            )
            for what, why in self._checks().items()
        ]

    def _read(self) -> NodeResources:
        ticks = self._processors()
        spent = ticks.all - self._ticks.all
        used = 100.0 * (ticks.busy - self._ticks.busy) / spent if spent > 0 else 0.0
        self._ticks = ticks
        total, available = self._memory()
        return NodeResources(
            cpu_cores=float(os.cpu_count() or 1),
            cpu_used_percent=min(max(used, 0.0), 100.0),
            mem_total_bytes=total,
            mem_used_bytes=max(total - available, 0),
        )

    def _processors(self) -> Ticks:
        """From /proc/stat: user nice system idle iowait irq softirq steal; guests are part of user."""
        with (self._proc / "stat").open(encoding="ascii") as file:
            spent = [int(number) for number in file.readline().split()[1:9]]
        return Ticks(busy=sum(spent) - sum(spent[3:5]), all=sum(spent))

    def _memory(self) -> tuple[int, int]:
        """Bytes in all, and bytes that a new program could have."""
        found: dict[str, int] = {}
        with (self._proc / "meminfo").open(encoding="ascii") as file:
            for line in file:
                name, _, rest = line.partition(":")
                found[name] = int(rest.split()[0]) * KIB
                if name == "MemAvailable":
                    break
        return found["MemTotal"], found["MemAvailable"]
