"""The runners that the contract suite is run against."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from contract.runners.lab import FullRunner, Lab
from rune.orchestrator.runners.fake import FakeRunner
from rune.orchestrator.runners.link import Options
from rune.orchestrator.runners.process import ProcessRunner

MACHINES = [
    "fake",
    pytest.param("process", marks=pytest.mark.system),
    pytest.param("process without cgroups", marks=pytest.mark.system),
]


@pytest.fixture(params=MACHINES)
async def lab(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Lab]:
    """One runner, started; at the end everything it runs is ended."""
    runner = make(str(request.param), tmp_path)
    lab = Lab(runner)
    runner.on_change(lab.changes.append)
    await runner.start()
    yield lab
    if isinstance(runner, ProcessRunner):
        await runner.start()
        await runner.shutdown(grace=0)


def make(machine: str, folder: Path) -> FullRunner:
    """A runner of this kind, not started yet."""
    if machine == "fake":
        return FakeRunner()
    options = Options(cgroups=machine == "process")
    return ProcessRunner(folder / "data", now=lambda: datetime.now(UTC), options=options)
