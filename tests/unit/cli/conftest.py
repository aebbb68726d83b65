"""`rune` against a small orchestrator behind a real port."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from unit.cli.terminal import Ran, shell
from unit.client.served import Served

Rune = Callable[..., Ran]


@pytest.fixture
def rune(monkeypatch: pytest.MonkeyPatch, served: Served) -> Rune:
    """Runs a command against the server."""

    def run(*args: str, **env: str) -> Ran:
        return shell(monkeypatch, served.address, *args, env=env)

    return run
