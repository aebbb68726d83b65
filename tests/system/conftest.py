"""A Docker runner for the tests that want one, and an Engine for those that lose it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator

import pytest

from containers import clear, make
from engines import Engine, begin
from rune.orchestrator.runners.docker.runner import DockerRunner


@pytest.fixture
async def runner(docker_engine: Engine) -> AsyncGenerator[DockerRunner]:
    """A runner, started; at the end nothing of it is left on the Engine."""
    runner = make(docker_engine)
    await runner.start()
    yield runner
    await clear(runner)
    assert docker_engine.docker("ps", "-aq", "--filter", "label=rune.owner=test") == ""
    assert docker_engine.docker("network", "ls", "-q", "--filter", "label=rune.owner=test") == ""


@pytest.fixture
def own_engine(docker_engine: Engine) -> Generator[Engine]:
    """An Engine that a test may lose."""
    engine = begin()
    yield engine
    engine.end()
