"""Programs of others behind and before the guard: reference servers, the TypeScript SDK, the Inspector."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client as Assistant
from mcp import StdioServerParameters

from npm import installed, program
from promises import promise
from runed import runed
from system.mcp_features import features

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]
PATIENCE = 60.0
GUARD = [sys.executable, "-m", "rune.mcp.main", "--server-name"]
Json = Any


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages; the tests are skipped where they cannot be had."""
    own = tmp_path_factory.getbasetemp()
    return installed(own.parent if "PYTEST_XDIST_WORKER" in os.environ else own)


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
        found["asked"] = settled(found["asked"])
    assert len(direct["asked"]) >= 3
    assert {name for name in direct if direct[name] != guarded.get(name)} == set()


def settled(asked: list[Json]) -> list[Json]:
    """The server asks for roots by a clock of its own, once or twice and between other questions."""
    others = [question for question in asked if question[0] != "roots"]
    return [*others, ["roots"]] if len(others) < len(asked) else others


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
async def test_every_feature_passes_unchanged_for_the_python_sdk(node: Path, tmp_path: Path) -> None:
    server = ["node", program(node, "mcp-server-everything")]
    guarded = await features(started([*GUARD, "everything", "--upstream", *server], tmp_path))
    direct = await features(started(server, tmp_path))
    assert {kind for kind, *_ in direct["asked"]} == {"sampling", "elicitation", "roots"}
    for found in (direct, guarded):
        found["asked"] = settled(found["asked"])
    assert len(direct["progress"]) == 3
    assert {name for name in direct if direct[name] != guarded.get(name)} == set()


@promise("mcp.transparent")
async def test_every_feature_of_a_server_at_a_url_passes_unchanged(node: Path, tmp_path: Path) -> None:
    script = str(Path(__file__).with_name("mcp_features.mjs"))
    async with at_a_url(node, tmp_path) as url:
        guard = [*GUARD, "everything", "--upstream-url", url]
        told = await run(["node", script, *guard], tmp_path, NODE_HOME=str(node))
        direct = await run(["node", script, url], tmp_path, NODE_HOME=str(node))
        assert different(json.loads(direct), json.loads(told)) == set()
        python = await features(url), await features(started(guard, tmp_path))
        assert different(*python) == set()


def different(direct: Json, guarded: Json) -> set[str]:
    """The features that do not come to the same; how a cancelled call ends is said by the clients."""
    for found in (direct, guarded):
        found["asked"] = settled(found["asked"])
        found.pop("progress")  # over HTTP it may come after the result
        found["asked"].sort(key=str)  # and each question by a stream of its own
        assert len(found["asked"]) >= 3
    return {name for name in direct if direct[name] != guarded.get(name)}


@asynccontextmanager
async def at_a_url(node: Path, home: Path) -> AsyncGenerator[str]:
    """The reference server over Streamable HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [program(node, "mcp-server-everything"), "streamableHttp"]
    environ = {"HOME": str(home), "PATH": os.environ["PATH"], "PORT": str(port)}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec("node", *command, stderr=pipe, stdout=pipe, env=environ)
    try:
        assert process.stderr
        async with asyncio.timeout(PATIENCE):
            while b"listening" not in await process.stderr.readline():
                assert process.returncode is None
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.kill()
        await process.communicate()


def started(command: list[str], home: Path) -> StdioServerParameters:
    """How the Python SDK starts a server."""
    environ = {"HOME": str(home), "PATH": os.environ["PATH"]}
    return StdioServerParameters(command=command[0], args=command[1:], env=environ)


async def python(_node: Path, command: list[str], home: Path, calls: list[tuple[str, Json]]) -> Json:
    """What the official Python client gets of a server."""
    async with Assistant(started(command, home), mode="legacy", read_timeout_seconds=PATIENCE) as ai:
        tools = (await ai.list_tools()).model_dump(mode="json", by_alias=True)["tools"]
        answers = [
            (await ai.call_tool(name, given)).model_dump(mode="json", by_alias=True) for name, given in calls
        ]
        return {"tools": tools, "answers": answers}


async def typescript(node: Path, command: list[str], home: Path, calls: list[tuple[str, Json]]) -> Json:
    """What the official TypeScript client gets of a server."""
    script = str(Path(__file__).with_name("mcp_calls.mjs"))
    told = await run(["node", script, *command], home, NODE_HOME=str(node), CALLS=json.dumps(calls))
    return json.loads(told)


CLIENTS = pytest.mark.parametrize("client", [python, typescript])


@promise("mcp.transparent")
@CLIENTS
async def test_the_filesystem_server_answers_the_same_through_the_guard(
    node: Path, tmp_path: Path, client: Any
) -> None:
    folder = tmp_path / "files"
    calls: list[tuple[str, Json]] = [
        ("read_text_file", {"path": str(folder / "a.txt")}),
        ("write_file", {"path": str(folder / "b.txt"), "content": "three\n"}),
        ("list_directory", {"path": str(folder)}),
        ("edit_file", {"path": str(folder / "b.txt"), "edits": [{"oldText": "three", "newText": "four"}]}),
        ("read_text_file", {"path": "/somewhere/else.txt"}),
    ]
    found: list[Json] = []
    for guard in ([], [*GUARD, "files", "--upstream"]):
        folder.mkdir(exist_ok=True)
        (folder / "a.txt").write_text("one\ntwo\n", encoding="utf-8")
        server = ["node", program(node, "mcp-server-filesystem")]
        found.append(await client(node, [*guard, *server, str(folder)], tmp_path, calls))
        assert (folder / "b.txt").read_text(encoding="utf-8") == "four\n"
        shutil.rmtree(folder)
    assert len(found[0]["tools"]) >= 10
    assert found[0] == found[1]


@promise("mcp.transparent")
@CLIENTS
async def test_the_memory_server_answers_the_same_through_the_guard(
    node: Path, tmp_path: Path, client: Any
) -> None:
    calls: list[tuple[str, Json]] = [
        ("create_entities", {"entities": [{"name": "Ann", "entityType": "person", "observations": ["tea"]}]}),
        ("search_nodes", {"query": "tea"}),
        ("delete_entities", {"entityNames": ["Ann"]}),
        ("read_graph", {}),
    ]
    server = ["node", program(node, "mcp-server-memory")]
    direct = await client(node, server, tmp_path, calls)
    assert direct == await client(node, [*GUARD, "memory", "--upstream", *server], tmp_path, calls)


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
    async with runed(tmp_path / "data") as server:
        command = ["node", script, f"http://{server.http}/mcp"]
        found = json.loads(await run(command, tmp_path, NODE_HOME=str(node), RUNE_TOKEN=server.token))
    assert {"list_services", "list_alerts", "create_policy"} <= set(found["tools"])
    assert {"rune://alerts/open", "rune://namespaces"} <= set(found["resources"])
    assert found["prompts"] == ["explain_service", "triage_alerts", "write_policy"]
    assert (found["made"], found["read"]) == ("api", 1)
    assert found["updated"] == "rune://namespaces/default/services"


RUNE_MCP = [sys.executable, "-m", "rune.mcp.main"]
CREATE = ("create_service", {"service": {"name": "api", "scale": 0, "process": {"command": "sleep"}}})


@CLIENTS
async def test_both_sdks_work_with_runed_through_rune_mcp(node: Path, tmp_path: Path, client: Any) -> None:
    async with runed(tmp_path / "data") as server:
        script = environed(tmp_path, RUNE_MCP, RUNE_SERVER=server.grpc, RUNE_TOKEN=server.token)
        found = await client(node, [script], tmp_path, [CREATE, ("list_services", {}), ("get_service", {})])
    assert {"list_services", "list_alerts", "create_policy"} <= {tool["name"] for tool in found["tools"]}
    made, listed, refused = found["answers"]
    assert (made.get("isError") or False, refused["isError"]) == (False, True)
    assert [each["name"] for each in listed["structuredContent"]["services"]] == ["api"]


async def test_the_inspector_works_with_runed_in_both_dresses(node: Path, tmp_path: Path) -> None:
    async with runed(tmp_path / "data") as server:
        config = tmp_path / "mcp.json"
        environ = {"RUNE_SERVER": server.grpc, "RUNE_TOKEN": server.token}
        entry = {"command": RUNE_MCP[0], "args": RUNE_MCP[1:], "env": environ}
        config.write_text(json.dumps({"mcpServers": {"rune": entry}}), encoding="utf-8")
        inspector = [program(node, "mcp-inspector"), "--cli"]
        http = [f"http://{server.http}/mcp", "--transport", "http", "--header"]
        http.append(f"Authorization: Bearer {server.token}")
        ways = (["--config", str(config), "--server", "rune"], http)
        for method in ("tools/list", "resources/list", "prompts/list"):
            told = [await run([*inspector, *way, "--method", method], tmp_path) for way in ways]
            assert json.loads(told[0]) == json.loads(told[1])
            assert "alerts" in told[0]


def environed(folder: Path, command: list[str], **environ: str) -> str:
    """A command with its environment as one program."""
    path = folder / "program"
    given = " ".join(f"{name}='{value}'" for name, value in environ.items())
    path.write_text(f"#!/bin/sh\n{given} exec {' '.join(command)}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)
