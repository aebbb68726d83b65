"""What a container uses, read from the Engine's counters."""

from __future__ import annotations

from datetime import datetime

import msgspec

from rune.orchestrator.runners.base import Usage

NANOSECONDS = 1e9

NO_LIMIT = 1 << 50
"""Past a petabyte it is the kernel's way to say that there is no limit."""


class _Cpu(msgspec.Struct, frozen=True):
    total_usage: int = 0


class _CpuStats(msgspec.Struct, frozen=True):
    cpu_usage: _Cpu = _Cpu()


class _MemoryStats(msgspec.Struct, frozen=True):
    usage: int = 0
    limit: int = 0
    stats: dict[str, int] = {}


class Stats(msgspec.Struct, frozen=True):
    """One sample of the Engine."""

    cpu_stats: _CpuStats = _CpuStats()
    memory_stats: _MemoryStats = _MemoryStats()

    def usage(self, instance: str, now: datetime) -> Usage:
        """In our words; what can be dropped from memory at once does not count."""
        memory = self.memory_stats  # cgroup v1 and v2 name what is cached differently
        cached = memory.stats.get("total_inactive_file", memory.stats.get("inactive_file", 0))
        return Usage(
            instance=instance,
            at=now,
            cpu_seconds=self.cpu_stats.cpu_usage.total_usage / NANOSECONDS,
            memory=max(memory.usage - cached, 0),
            memory_limit=memory.limit if memory.limit < NO_LIMIT else 0,
        )
