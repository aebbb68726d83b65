"""The runners of a server: which are on, whose containers are theirs, and an Engine that is away."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec
import pytest

from rune.core.clock import ManualClock
from rune.core.runefile import Docker, Process, Runner
from rune.errors import FailedPrecondition
from rune.orchestrator.runners.fleet import Fleet, owner_of
from rune.orchestrator.runners.process import ProcessRunner


def fleet(folder: Path, chosen: Runner) -> Fleet:
    clock = ManualClock()
    return Fleet(chosen, ProcessRunner(folder / "process", now=clock.now), folder, clock=clock)


def away(folder: Path, **fields: str) -> Runner:
    """Containers alone, on an Engine that is not there."""
    docker = msgspec.convert({"socket": str(folder / "none.sock"), **fields}, Docker)
    return Runner(docker=docker, process=Process(enabled=False))


@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        (Runner(), ["process", "docker"]),
        (Runner(docker=Docker(enabled="false")), ["process"]),
        (Runner(process=Process(enabled=False)), ["docker"]),
    ],
)
def test_the_runners_that_are_switched_on_are_there(tmp_path: Path, chosen: Runner, names: list[str]) -> None:
    assert list(fleet(tmp_path, chosen).runners) == names


def test_a_server_keeps_its_name_on_the_engine_and_no_two_have_the_same(tmp_path: Path) -> None:
    clock = ManualClock()
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    assert owner_of(one, clock) == owner_of(one, clock) != owner_of(other, clock)


@pytest.mark.parametrize("text", ["", "rune", "rune-1a2b3c4d,evil"])
def test_a_name_that_is_none_is_refused_rather_than_replaced(tmp_path: Path, text: str) -> None:
    (tmp_path / "docker-owner").write_text(text, encoding="utf-8")
    with pytest.raises(FailedPrecondition, match="docker-owner must hold"):
        owner_of(tmp_path, ManualClock())


@pytest.mark.parametrize(("enabled", "level"), [("auto", logging.INFO), ("true", logging.WARNING)])
async def test_an_engine_that_is_away_at_the_start_stops_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, enabled: str, level: int
) -> None:
    with caplog.at_level(logging.INFO):
        async with fleet(tmp_path, away(tmp_path, enabled=enabled)).running(is_scratch=True):
            pass
    told = [record for record in caplog.records if record.message == "docker engine out of reach"]
    assert [record.levelno for record in told] == [level]
