"""`rune run` around real programs of real frameworks, none of which knows of Rune; a process for each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from attacks import BLAND, HARMFUL, HARMLESS, KEY, LEAK, ORDER
from controlplane import Standin, control_plane
from models import Provider, Turn, provider
from promises import promise

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.system, pytest.mark.timeout(60), promise("shield.run")]
SONG = "la li lu"
STORIES: dict[str, tuple[Turn | str, ...]] = {
    "harmless": (HARMLESS, "all done"),
    "call": (HARMFUL, "then I will not"),
    "secret": (f"the key is {KEY}",),
    "stream": (LEAK,),
    "bare": (SONG,),
    "client": ("hello back",),
}
"""What the model says in each; the one with the order never gets to it."""


def guest(
    folder: Path, name: str, model: Provider, plane: Standin, *, python: str = sys.executable
) -> tuple[dict[str, Any], str]:
    """What became of each thing that the program tried, and what it wrote to stderr."""
    plain = {key: text for key, text in os.environ.items() if not key.startswith(("RUNE_", "OPENAI_"))}
    mine = {
        "RUNE_API_KEY": "k", "RUNE_ENDPOINT": plane.url, "RUNE_POLICY_SYNC_INTERVAL_SECONDS": "0",
        "MODEL_URL": model.url, "HOME": str(folder), "TMPDIR": str(folder), "ORDER": ORDER,
        "PYTHONPATH": str(ROOT / "src"),
    }  # fmt: skip
    command = [
        sys.executable, "-m", "rune.cli.main", "run", "--agent-id", "clerk", "--on-block", "tool_error",
        "--http-path", "/chat",        "--", python, str(ROOT / f"tests/guests/{name}_guest.py"),
    ]  # fmt: skip
    done = subprocess.run(command, env=plain | mine, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 0, done.stderr[-4_000:]
    return json.loads(done.stdout.strip().splitlines()[-1]), done.stderr


def counted(plane: Standin) -> Counter[tuple[str, str, bool]]:
    """How many events there are of each framework and kind, of blocks and of others."""
    assert {event["agent_id"] for event in plane.events} == {"clerk"}
    found: Counter[tuple[str, str, bool]] = Counter()
    for event in plane.events:
        scan: dict[str, Any] = event.get("scan_result") or {}
        found[event["framework"], event["event_type"], bool(scan.get("blocked"))] += 1
    return found


def agree(told: dict[str, Any]) -> None:
    """What holds for every framework."""
    assert told["harmless"] == "all done"
    assert told["ran"] == ["ls"]
    assert told["call"] == "then I will not"
    assert "BlockedError" in told["order"]["error"]
    assert "GitHub" in told["secret"]["why"]
    assert (told["bare"], told["client"]) == (SONG, "hello back")


FRAMEWORKS = {"langchain": "langchain", "agents": "openai-agents", "pydantic": "pydantic-ai"}


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_framework_is_guarded_unchanged_and_each_text_is_scanned_once(tmp_path: Path, name: str) -> None:
    stories = ("harmless", "call", "secret", "stream", "bare", "client")
    with provider() as model, control_plane() as plane:
        model.say(*(turn for story in stories for turn in STORIES[story]))
        told, errors = guest(tmp_path, name, model, plane)
        assert not model.turns
        asked = model.asked
    agree(told)
    sung, _, stopped = told["stream"].partition("|")
    assert sung
    assert BLAND.startswith(sung)
    assert "BlockedError" in stopped
    assert "blocked by Shield by rule 'shell-chain'" in str(asked[3])
    assert "NOT guarded" not in errors
    frame = FRAMEWORKS[name]
    assert counted(plane) == {
        (frame, "scan", False): 2 + 2 + 1 + 1 + 2,  # in and out of: harmless, call, secret, stream, bare
        (frame, "scan", True): 3,  # the order, the secret, the stream
        (frame, "tool_call", False): 1,
        (frame, "tool_call", True): 1,
        (frame, "tool_result", False): 1,
        ("openai", "scan", False): 2,
    } | ({("asgi", "scan", True): 1} if name == "pydantic" else {})
    assert told.get("posted", [403, 200]) == [403, 200]


@pytest.mark.requires("crewai")
def test_crews_are_guarded_unchanged_and_each_text_is_scanned_once(tmp_path: Path) -> None:
    stories = ("harmless", "call", "secret", "bare", "client")
    with provider() as model, control_plane() as plane:
        model.say(*(turn for story in stories for turn in STORIES[story]))
        told, errors = guest(tmp_path, "crewai", model, plane, python=str(ROOT / ".venv-crewai/bin/python"))
        assert not model.turns
        asked = model.asked
    agree(told)
    assert "blocked by Shield by rule 'shell-chain'" in str(asked[3])
    assert "NOT guarded" not in errors
    events = counted(plane)
    assert {key: count for key, count in events.items() if key[0] == "openai"} == {
        ("openai", "scan", False): 4,  # the crew that streams, which its client guards, and the client itself
    }
    assert events["crewai", "tool_call", False] == events["crewai", "tool_call", True] == 1
    assert events["crewai", "tool_result", False] == 1
    assert events["crewai", "scan", True] == 2
