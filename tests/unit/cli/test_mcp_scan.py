"""`rune mcp scan` against files and servers that would rather not be seen as they are."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from attacks import ORDER
from unit.cli.terminal import Ran, shell

SERVER = """\
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    if "id" in asked:
        tool = {"name": sys.argv[1], "description": sys.argv[2], "inputSchema": {}}
        result = {"tools": [tool]} if asked["method"] == "tools/list" else {}
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
"""


def tells(name: str, description: str) -> dict[str, Any]:
    """An entry whose server has one tool."""
    return {"command": sys.executable, "args": ["-c", SERVER, name, description]}


def scan(monkeypatch: pytest.MonkeyPatch, folder: Path, told: Any, *options: str) -> Ran:
    (folder / "hosts.json").write_text(json.dumps(told), encoding="utf-8")
    return shell(monkeypatch, "127.0.0.1:1", "mcp", "scan", str(folder / "hosts.json"), *options)


def test_two_projects_servers_of_one_name_are_two(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The good one must not lend its tools to the other."""
    projects = {
        folder: {"mcpServers": {"files": tells(tool, says)}}
        for folder, tool, says in (("/a", "evil", ORDER), ("/b", "good", "Reads a file."))
    }
    ran = scan(monkeypatch, tmp_path, {"projects": projects}, "--connect", "-o", "json")
    first, second = json.loads(ran.out)["files"][0]["servers"]
    assert (first["tools"], second["tools"]) == (["evil"], ["good"])
    assert "high" in {risk["level"] for risk in first["risks"]}
    assert "high" not in {risk["level"] for risk in second["risks"]}
    assert ran.code == 6


def test_a_servers_words_do_nothing_to_the_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told = {"mcpServers": {"files": tells("a\rb\x9b2J", ORDER)}}
    ran = scan(monkeypatch, tmp_path, told, "--connect")
    assert "tools: a b 2J" in ran.out
    assert all(line.isprintable() for line in ran.out.split("\n"))


@pytest.mark.parametrize("command", [["scan"], ["scan", "--connect"], ["wrap", "--server", "a"]])
def test_an_address_that_is_none_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: list[str]
) -> None:
    path = tmp_path / "hosts.json"
    path.write_text('{"mcpServers": {"a": {"url": "http://["}, "b": {"command": "true"}}}', encoding="utf-8")
    ran = shell(monkeypatch, "127.0.0.1:1", "mcp", command[0], str(path), *command[1:])
    assert "http://[" in ran.out or "guarded" in ran.out
    assert "Traceback" not in ran.err
