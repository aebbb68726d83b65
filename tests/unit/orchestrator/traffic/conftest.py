"""The street that tests of doors walk along."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from unit.orchestrator.traffic.street import Street, opened


@pytest.fixture
async def street() -> AsyncIterator[Street]:
    """A door that is open, and no copy yet."""
    async with opened() as made:
        yield made
