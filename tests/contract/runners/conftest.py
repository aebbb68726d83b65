"""The runners that the contract suite is run against."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contract.runners.lab import Lab
from rune.orchestrator.runners.fake import FakeRunner


@pytest.fixture(params=["fake"])
async def lab(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Lab]:
    """One runner, started; at the end everything it runs is ended."""
    lab = Lab(FakeRunner())
    lab.runner.on_change(lab.changes.append)
    await lab.runner.start()
    yield lab
    await lab.runner.close()
