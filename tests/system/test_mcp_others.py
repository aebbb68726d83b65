"""Programs of others behind and before the guard: reference servers, the TypeScript SDK, the Inspector."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import Client as Assistant
from mcp import StdioServerParameters

from npm import installed, program
from promises import promise
from runed import Runed

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]
PATIENCE = 60.0
GUARD = [sys.executable, "-m", "rune.mcp.main", "--server-name"]
Json = Any


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages; the tests are skipped where they cannot be had."""
    return installed(tmp_path_factory.mktemp("npm"))


async def run(command: list[str], home: Path, **environ: str) -> str:
    """What a program prints."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, stdout=pipe, stderr=pipe, env={"HOME": str(home), "PATH": os.environ["PATH"], **environ}
    )
    async with asyncio.timeout(PATIENCE):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()[-2000:]
    return out.decode()


@promise("mcp.transparent")
async def test_every_feature_passes_unchanged_for_the_typescript_sdk(node: Path, tmp_path: Path) -> None:
    script = str(Path(__file__).with_name("mcp_features.mjs"))
    server = ["node", program(node, "mcp-server-everything")]
    ways = (server, [*GUARD, "everything", "--upstream", *server])
    direct, guarded = [
        json.loads(await run(["node", script, *way], tmp_path, NODE_HOME=str(node))) for way in ways
    ]
    for found in (direct, guarded):
        # The SDK drops progress that comes in the same piece as the result.
        assert found.pop("progress")[:3] == [{"progress": step, "total": 4} for step in (1, 2, 3)]
    assert len(direct["asked"]) >= 3
    assert {name for name in direct if direct[name] != guarded.get(name)} == set()


async def session(command: list[str], home: Path, calls: list[tuple[str, Json]]) -> list[Json]:
    """What the official Python client gets of a server."""
    started = StdioServerParameters(
        command=command[0], args=command[1:], env={"HOME": str(home), "PATH": os.environ["PATH"]}
    )
    async with Assistant(started, mode="legacy", read_timeout_seconds=PATIENCE) as ai:
        found: list[Json] = [(await ai.list_tools()).model_dump(mode="json")]
        for name, arguments in calls:
            found.append((await ai.call_tool(name, arguments)).model_dump(mode="json"))
        return found


@promise("mcp.transparent")
async def test_the_filesystem_server_answers_the_same_through_the_guard(node: Path, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "a.txt").write_text("one\ntwo\n", encoding="utf-8")
    server = ["node", program(node, "mcp-server-filesystem"), str(folder)]
    calls: list[tuple[str, Json]] = [
        ("read_text_file", {"path": str(folder / "a.txt")}),
        ("write_file", {"path": str(folder / "b.txt"), "content": "three\n"}),
        ("list_directory", {"path": str(folder)}),
        ("edit_file", {"path": str(folder / "b.txt"), "edits": [{"oldText": "three", "newText": "four"}]}),
        ("read_text_file", {"path": "/somewhere/else.txt"}),
    ]
    direct = await session(server, tmp_path, calls)
    guarded = await session([*GUARD, "files", "--upstream", *server], tmp_path, calls)
    assert direct == guarded
    assert (folder / "b.txt").read_text(encoding="utf-8") == "four\n"


@promise("mcp.transparent")
async def test_the_memory_server_answers_the_same_through_the_guard(node: Path, tmp_path: Path) -> None:
    server = ["node", program(node, "mcp-server-memory")]
    calls: list[tuple[str, Json]] = [
        ("create_entities", {"entities": [{"name": "Ann", "entityType": "person", "observations": ["tea"]}]}),
        ("search_nodes", {"query": "tea"}),
        ("delete_entities", {"entityNames": ["Ann"]}),
        ("read_graph", {}),
    ]
    direct = await session(server, tmp_path, calls)
    guarded = await session([*GUARD, "memory", "--upstream", *server], tmp_path, calls)
    assert direct == guarded


async def test_the_inspector_lists_the_tools_of_a_guarded_server(node: Path, tmp_path: Path) -> None:
    inspector = [program(node, "mcp-inspector"), "--cli"]
    server = ["node", program(node, "mcp-server-everything")]
    told = [
        json.loads(await run([*inspector, *way, "--method", "tools/list"], tmp_path))
        for way in (server, [guard_file(tmp_path, server)])
    ]
    assert told[0] == told[1]


def guard_file(folder: Path, server: list[str]) -> str:
    """The guard as one program: the Inspector takes our options for its own."""
    path = folder / "guarded"
    words = " ".join(f"'{word}'" for word in [*GUARD, "everything", "--upstream", *server])
    path.write_text(f"#!/bin/sh\nexec {words}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


async def test_the_typescript_sdk_works_with_runed_over_http(node: Path, tmp_path: Path) -> None:
    script = str(Path(__file__).with_name("mcp_http.mjs"))
    server = Runed(tmp_path / "data")
    await server.start("--dev")
    try:
        command = ["node", script, f"http://{server.http}/mcp"]
        found = json.loads(await run(command, tmp_path, NODE_HOME=str(node), RUNE_TOKEN=server.token))
    finally:
        await server.end()
    assert {"list_services", "list_alerts", "create_policy"} <= set(found["tools"])
    assert {"rune://alerts/open", "rune://namespaces"} <= set(found["resources"])
    assert found["prompts"] == ["explain_service", "triage_alerts", "write_policy"]
    assert (found["made"], found["read"]) == ("api", 1)
    assert found["updated"] == "rune://namespaces/default/services"
