"""Crews under a Shield, with the real CrewAI, which lives in an environment of its own."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from promises import promise

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.system, pytest.mark.requires("crewai"), pytest.mark.timeout(180)]


@promise("shield.tools")
async def test_crews_are_guarded(tmp_path: Path) -> None:
    # One process for all: CrewAI takes seconds to import.
    keep = {name: text for name, text in os.environ.items() if not name.startswith(("RUNE_", "OPENAI_"))}
    environ = {**keep, "PYTHONPATH": str(ROOT / "src"), "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = await asyncio.to_thread(
        subprocess.run,
        [str(ROOT / ".venv-crewai/bin/python"), str(ROOT / "tests/crews.py")],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    told: dict[str, dict[str, Any]] = json.loads(done.stdout.strip().splitlines()[-1])
    assert all(story["is_a_crew"] for story in told.values())
    for way in ("kickoff", "kickoff_for_each", "kickoff_async", "akickoff"):
        assert "GitHub" in told[f"secret by {way}"]["blocked"], way
    assert (told["harmless"]["said"], told["harmless"]["ran"]) == ("all done", ["ls"])
    assert told["order"]["blocked"]
    assert told["order"]["asked"] == 0
    assert told["call"]["blocked"]
    assert told["call"]["ran"] == told["call told"]["ran"] == []
    assert told["call told"]["said"] == "then I will not"
    assert "blocked by Shield" in told["call told"]["model_read"]
    assert told["result"]["blocked"]
    assert told["result told"]["said"] == "nothing there"
    assert "withheld by Shield" in told["result told"]["model_read"]
    assert "stream=True" in told["streaming"]["refused"]
