"""Fixtures of all who test Shields; a fault of our own is raised, so that none hides behind the catch."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from controlplane import Standin, control_plane
from rune import Shield
from rune.shield.faults import OurFault


@pytest.fixture(autouse=True)
def faults_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OurFault, "RAISES", True)
    for name in [name for name in os.environ if name.startswith("RUNE_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def shield() -> Shield:
    """A Shield that works alone."""
    return Shield(events_enabled=False)


@pytest.fixture
def plane() -> Iterator[Standin]:
    """A control plane that accepts events and knows no policies."""
    with control_plane() as standin:
        yield standin
