"""The pages on assistants and on the guard do what they say, command by command."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from docs.pages import block, commands
from rune.policy.document import parse
from rune.toolbox import hosts, wrap

GUARD = "how-to/guard-an-mcp-server.md"
ASSISTANT = "how-to/use-rune-from-an-assistant.md"
SERVERS = {"mcpServers": {"files": {"command": "npx", "args": ["-y", "files@1.2.3"]}}}


@pytest.mark.system
async def test_the_page_on_the_guard(tmp_path: Path) -> None:
    path = tmp_path / ".cursor" / "mcp.json"
    path.parent.mkdir()
    path.write_text(json.dumps(SERVERS), encoding="utf-8")
    for words in commands(GUARD):
        if words[0] == "rune":
            done = await asyncio.to_thread(run, words[1:], tmp_path)
            assert done.returncode == 0, (words, done.stderr)
    (entry,) = hosts.load(hosts.Place("Cursor", path)).entries
    assert wrap.is_wrapped(entry)
    assert run(["mcp", "unwrap"], tmp_path).returncode == 0
    assert json.loads(path.read_text(encoding="utf-8")) == SERVERS


def run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """A command of the CLI."""
    command = [sys.executable, "-m", "rune.cli.main", *words]
    environ = {"HOME": str(folder), "PATH": os.environ["PATH"]}
    return subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, timeout=30, check=False
    )


def test_the_policy_of_the_page_is_one() -> None:
    assert set(parse(block(GUARD, "yaml").encode()).mcp) == {"files", "mail"}


@pytest.mark.parametrize("place", hosts.places({"HOME": "/h"}, Path("/p"), platform="linux"))
def test_the_file_of_every_host_is_on_the_page(place: hosts.Place) -> None:
    text = (Path(__file__).parents[2] / "docs" / ASSISTANT).read_text(encoding="utf-8")
    assert place.host in text
    assert place.path.name in text or place.path == Path("/h/.claude.json")


def test_what_the_page_tells_hosts_is_read_as_a_server(tmp_path: Path) -> None:
    path = tmp_path / "mcp.json"
    path.write_text(block(ASSISTANT, "json"), encoding="utf-8")
    (entry,) = hosts.load(hosts.Place("Cursor", path)).entries
    assert entry.command == ["rune-mcp", "--read-only"]
    given = yaml.safe_load(block(GUARD, "json"))
    assert given["args"][-2] == "--upstream-url"
