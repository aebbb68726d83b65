"""What an instance uses, told when somebody looks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from rune.api.orchestrator.instances import Instance, InstanceUsage
from rune.errors import Unavailable
from rune.orchestrator.runners.base import Observed, State, Usage
from rune.orchestrator.usages import Usages

BEGUN = datetime(2026, 1, 1, tzinfo=UTC)
COPY = Instance(id="a", runner="docker", pid=7, attempt=1)


class Meter:
    """A runner that measures; each measurement is ten seconds after the last."""

    def __init__(self, *cpu_seconds: float) -> None:
        self.samples = [
            Usage(
                instance="a", at=BEGUN + timedelta(seconds=10 * n), cpu_seconds=used, memory=5, memory_limit=9
            )
            for n, used in enumerate(cpu_seconds, start=1)
        ]

    async def usage(self, instance: str) -> Usage:
        if not self.samples:
            raise Unavailable("away")
        return self.samples.pop(0)

    def observe(self, instance: str) -> Observed:
        return Observed(instance=instance, state=State.RUNNING, started_at=BEGUN)


async def test_cpu_is_counted_since_the_start_and_then_since_the_last_look() -> None:
    usages = Usages({"docker": Meter(1.0, 6.0)})
    first, second = [(await usages.shown(COPY)).usage for _ in range(2)]
    assert first == InstanceUsage(cpu_percent=10.0, mem_used_bytes=5, mem_limit_bytes=9)
    assert second
    assert second.cpu_percent == 50.0


async def test_cpu_is_counted_anew_after_a_restart() -> None:
    usages = Usages({"docker": Meter(8.0, 1.0)})
    await usages.shown(COPY)
    again = Instance(id="a", runner="docker", pid=8, attempt=2)
    shown = (await usages.shown(again)).usage
    assert shown
    assert shown.cpu_percent == 5.0


@pytest.mark.parametrize(
    "instance",
    [COPY, Instance(id="a", runner="docker"), Instance(id="a", runner="process", pid=7)],
    ids=["the engine is away", "it does not run", "nobody measures there"],
)
async def test_an_instance_is_shown_without_usage_where_nobody_can_tell(instance: Instance) -> None:
    assert await Usages({"docker": Meter()}).shown(instance) is instance
