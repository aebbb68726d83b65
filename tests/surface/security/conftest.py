"""A plane of agent security for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from secured import Secured, secured


@pytest.fixture
async def plane() -> AsyncIterator[Secured]:
    """Without limits, so that a test may ask as often as it likes."""
    async with secured() as made:
        yield made
