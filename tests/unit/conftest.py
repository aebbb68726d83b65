"""Fixtures that several packages share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from unit.client.served import Served, serving


@pytest.fixture
def served() -> Iterator[Served]:
    """A small orchestrator behind a real gRPC port."""
    with serving() as found:
        yield found
