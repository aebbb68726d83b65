"""The runner that the tests of this folder use."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from rune.orchestrator.runners.process import ProcessRunner
from system.process_runner.lab import machine


@pytest.fixture
async def runner(tmp_path: Path) -> AsyncGenerator[ProcessRunner]:
    async with machine(tmp_path / "data") as runner:
        yield runner
