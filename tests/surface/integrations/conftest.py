"""Shields and a scripted provider."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from models import Provider, provider
from shields import faults_are_raised, plane, shield

__all__ = ["faults_are_raised", "model", "plane", "shield"]


@pytest.fixture
def model() -> Iterator[Provider]:
    """A provider without a script yet."""
    with provider() as made:
        yield made
