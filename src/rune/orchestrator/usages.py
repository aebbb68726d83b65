"""What instances use, asked of their runners when somebody wants to see it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Final, Protocol

import msgspec

from rune.api.orchestrator.instances import Instance, InstanceUsage
from rune.errors import RuneError
from rune.orchestrator.runners.base import HasUsage, Observed, Usage

WITHIN: Final = 2.0
"""Seconds: an instance is shown without its usage rather than late."""
MOST_KEPT: Final = 4096
"""Instances whose last measurement is kept."""


class Measures(HasUsage, Protocol):
    """A runner that can tell what its instances use, and since when."""

    def observe(self, instance: str) -> Observed:
        """What is known now."""
        ...


class Usages:
    """Measures, and keeps the last measurement of each instance to tell a rate from the next."""

    def __init__(self, runners: Mapping[str, Measures]) -> None:
        self._runners = runners
        self._last: dict[str, tuple[int, Usage]] = {}

    async def shown(self, instance: Instance) -> Instance:
        """The instance with what it uses; without where it does not run or nobody can tell.

        CPU is that since it was last asked for, the first time since its start.
        """
        runner = self._runners.get(instance.runner)
        if runner is None or not instance.pid:
            return instance
        try:
            async with asyncio.timeout(WITHIN):
                now = await runner.usage(instance.id)
        except (RuneError, TimeoutError):
            return instance  # it has just ended, or its engine is away: its status says so
        begun = runner.observe(instance.id).started_at or now.at
        return msgspec.structs.replace(instance, usage=self._usage(instance, now, begun))

    def _usage(self, instance: Instance, now: Usage, begun: datetime) -> InstanceUsage:
        attempt, before = self._last.pop(instance.id, (0, None))
        if len(self._last) >= MOST_KEPT:
            self._last.clear()
        self._last[instance.id] = (instance.attempt, now)
        if before is None or attempt != instance.attempt:
            before = msgspec.structs.replace(now, at=begun, cpu_seconds=0.0)
        return InstanceUsage(
            cpu_percent=now.cpu_percent(before),
            mem_used_bytes=now.memory,
            mem_limit_bytes=now.memory_limit,
        )
