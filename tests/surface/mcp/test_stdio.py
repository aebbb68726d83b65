"""A real `rune-mcp`, as a host starts it, against an orchestrator behind a real gRPC port."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client as Assistant

from promises import promise
from rune.client.contexts import Context, Contexts, save
from surface.mcp.assistant import SERVED, answer, command, door, names, orchestrator, refusal

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(60),
    promise("mcp.tools"),
]  # the SDK alone takes seconds to import

PATIENCE = 30.0
SPEC = {"name": "api", "scale": 1, "process": {"command": "sleep"}}


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_an_assistant_works_through_a_real_process(tmp_path: Path, mode: Any) -> None:
    async with orchestrator() as here, door(here) as address:
        started = command(tmp_path, RUNE_SERVER=address, RUNE_TOKEN="root")
        async with Assistant(started, mode=mode, read_timeout_seconds=PATIENCE) as ai:
            assert names(await ai.list_tools()) == SERVED & here.dispatcher.handled
            answer(await ai.call_tool("create_namespace", {"namespace": {"name": "prod"}}))
            answer(await ai.call_tool("create_service", {"service": {**SPEC, "namespace": "prod"}}))
            got = answer(await ai.call_tool("get_service", {"name": "api", "namespace": "prod"}))["service"]
            listed = answer(await ai.call_tool("list_services", {"namespace": "prod"}))
            assert [each["name"] for each in listed["services"]] == ["api"]
            changed = {**got, "revision": "0", "labels": {"tier": "front"}}
            updated = answer(await ai.call_tool("update_service", {"service": changed}))
            assert updated["service"]["labels"] == {"tier": "front"}
            answer(await ai.call_tool("delete_service", {"name": "api", "namespace": "prod"}))
            told = refusal(await ai.call_tool("get_service", {"name": "api", "namespace": "prod"}))
            assert told["code"] == "NOT_FOUND"
            assert not (await ai.call_tool("delete_namespace", {"name": "prod"})).is_error


async def test_a_process_offers_what_its_options_and_its_credential_allow(tmp_path: Path) -> None:
    config = tmp_path / ".rune" / "config.yaml"
    config.parent.mkdir()
    async with orchestrator() as here, door(here) as address:
        config.write_text(f"contexts: {{lab: {{server: '{address}', token: reader}}}}", encoding="utf-8")
        started = command(tmp_path, "--context", "lab", "--read-only", "--toolsets", "orchestrator")
        async with Assistant(started, read_timeout_seconds=PATIENCE) as ai:
            assert names(await ai.list_tools()) == {"get_service", "list_services"} | READ_BY_ALL


READ_BY_ALL = {"get_deletion_status", "list_deletion_operations", "list_revisions"}
"""They ask for the same permissions as reading services does."""


async def test_a_server_that_is_away_is_told_and_does_not_end_the_session(tmp_path: Path) -> None:
    started = command(tmp_path, RUNE_SERVER="127.0.0.1:1", RUNE_TOKEN="root")
    async with Assistant(started, mode="legacy", read_timeout_seconds=PATIENCE) as ai:
        for _ in range(2):
            told = refusal(await ai.call_tool("list_services", {}))
            assert told["code"] == "UNAVAILABLE"
            assert "127.0.0.1:1" in told["message"]


@asynccontextmanager
async def process(home: Path, *options: str) -> AsyncGenerator[asyncio.subprocess.Process]:
    """A `rune-mcp` whose pipes are ours."""
    pipe = asyncio.subprocess.PIPE
    made = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "rune.mcp.main", *options),
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
    )
    try:
        async with asyncio.timeout(PATIENCE):
            yield made
    finally:
        if made.returncode is None:
            made.kill()
        await made.wait()


GARBAGE = (
    b"\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"\xff\xfe\x00\x80\n",
    b"[]\n",
    b"null\n",
    b'{"jsonrpc":"2.0"}\n',
    b'{"jsonrpc":"2.0","id":[],"method":7}\n',
    b'{"jsonrpc":"2.0","id":1,"result":{}}\n',
    b"{" * 5000 + b"\n",
    b'"' + b"x" * 200_000 + b'"\n',
)


async def test_a_session_survives_garbage_and_ends_with_its_input(tmp_path: Path) -> None:
    async with process(tmp_path) as server:
        assert server.stdin
        assert server.stdout
        server.stdin.writelines(GARBAGE)
        hello = {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        }
        asked = {"jsonrpc": "2.0", "id": 77, "method": "initialize", "params": hello}
        server.stdin.write(json.dumps(asked).encode() + b"\n")
        told = [json.loads(await server.stdout.readline())]
        while told[-1].get("id") != 77:
            told.append(json.loads(await server.stdout.readline()))
        assert told[-1]["result"]["serverInfo"]["name"] == "rune"
        server.stdin.close()
        assert await server.wait() == 0


async def test_half_a_line_and_then_the_end_ends_the_session(tmp_path: Path) -> None:
    async with process(tmp_path) as server:
        out, _ = await server.communicate(b'{"jsonrpc":"2.0","id":1,"met')
        assert server.returncode == 0
        assert b"Traceback" not in out


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--toolsets", "admn"], 6, b"--toolsets: 'admn' is not one of orchestrator, admin, security"),
        (["--context", "nowhere"], 4, b"there is no context 'nowhere'"),
        (["--context", "away"], 5, b"the token would travel to prod.internal unencrypted"),
    ],
    ids=["toolset", "context", "plain text"],
)
async def test_what_is_wrong_with_the_start_is_said_in_one_line(
    tmp_path: Path, options: list[str], code: int, said: bytes
) -> None:
    away = Context(server="prod.internal:7863", token="t-1")
    save(str(tmp_path / ".rune/config.yaml"), Contexts(by_name={"away": away}))
    async with process(tmp_path, *options) as server:
        out, err = await server.communicate()
        assert server.returncode == code
        assert out == b""
        assert said in err
        assert err.count(b"\n") == 1
