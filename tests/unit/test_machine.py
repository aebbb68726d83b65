"""A test that needs a tool is skipped with the remedy, never silently, and never for a misspelt name."""

from __future__ import annotations

import pytest

import machine


def test_what_is_there_is_not_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(machine.TOOLS, "python", machine.Tool(machine.runs("python3", "--version"), ""))
    assert machine.missing("python") is None


def test_what_is_not_there_is_told_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        machine.TOOLS, "quux", machine.Tool(machine.runs("quux", "info"), "apt-get install quux")
    )
    assert machine.missing("quux") == "needs quux (apt-get install quux)"


def test_a_program_that_is_installed_and_broken_is_missing() -> None:
    assert not machine.runs("false")()


def test_an_unknown_tool_is_a_mistake_not_a_skip() -> None:
    with pytest.raises(LookupError, match="no tool named 'dokcer'"):
        machine.missing("dokcer")
