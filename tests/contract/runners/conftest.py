"""The runners that the contract suite is run against."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from contract.runners.lab import FullRunner, Lab
from engines import Engine
from rune.core.clock import SystemClock
from rune.orchestrator.runners.docker.runner import DockerRunner
from rune.orchestrator.runners.fake import FakeRunner
from rune.orchestrator.runners.link import Options
from rune.orchestrator.runners.process import ProcessRunner

MACHINES = [
    "fake",
    pytest.param("process", marks=pytest.mark.system),
    pytest.param("process without cgroups", marks=pytest.mark.system),
    pytest.param("docker", marks=[pytest.mark.system, pytest.mark.requires("docker")]),
]


@pytest.fixture(scope="session", params=MACHINES)
def machine(request: pytest.FixtureRequest) -> tuple[str, str]:
    """What to run on, and where its engine is: that one lives as long as the session."""
    name = str(request.param)
    if name != "docker":
        return name, ""
    engine: Engine = request.getfixturevalue("docker_engine")
    return name, engine.url


@pytest.fixture
async def lab(machine: tuple[str, str], tmp_path: Path) -> AsyncGenerator[Lab]:
    """One runner, started; at the end everything it runs is ended."""
    name, url = machine
    runner = make(name, tmp_path, url)
    lab = Lab(runner)
    runner.on_change(lab.changes.append)
    await runner.start()
    yield lab
    if isinstance(runner, ProcessRunner):
        await runner.start()
        await runner.shutdown(grace=0)
    if isinstance(runner, DockerRunner):
        await runner.start()
        for seen in runner.all():
            await runner.remove(seen.instance)
        await runner.close()


def make(machine: str, folder: Path, url: str) -> FullRunner:
    """A runner of this kind, not started yet."""
    if machine == "docker":
        return DockerRunner(url, now=SystemClock().now, owner=folder.name[:40], files=folder / "mounts")
    if machine == "fake":
        return FakeRunner()
    options = Options(cgroups=machine == "process")
    return ProcessRunner(folder / "data", now=SystemClock().now, options=options)
