"""The pages on assistants and on the guard do what they say, command by command."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from mcp import Client as Assistant
from mcp import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from docs.pages import block, blocks, commands
from rune.policy.document import parse
from rune.toolbox import hosts, remotes, wrap
from runed import Runed, runed

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


@pytest.mark.system
async def test_an_assistant_that_is_set_up_as_the_page_says_sees_tools(tmp_path: Path) -> None:
    async with runed(tmp_path / "data") as server:
        for number, text in enumerate(blocks(ASSISTANT, "json")):
            path = tmp_path / f"{number}.json"
            path.write_text(filled(text, server), encoding="utf-8")
            (entry,) = hosts.load(hosts.Place("any", path)).entries
            async with AsyncExitStack() as stack:
                ai = await stack.enter_async_context(
                    Assistant(await reached(entry, stack, tmp_path), mode="legacy")
                )
                names = {tool.name for tool in (await ai.list_tools()).tools}
            assert {"list_services", "list_alerts"} <= names
            assert "create_service" not in names


def filled(text: str, server: Runed) -> str:
    """The page's configuration with what its reader puts in."""
    for said, meant in {
        "127.0.0.1:7863": server.grpc, "127.0.0.1:7861": server.http, "${input:rune-token}": server.token,
        "the token": server.token, '"rune-mcp"': json.dumps(str(Path(sys.executable).with_name("rune-mcp"))),
    }.items():  # fmt: skip
        text = text.replace(said, meant)
    return text


async def reached(entry: hosts.Entry, stack: AsyncExitStack, home: Path) -> Any:
    """What a host makes of an entry: a program to start, or a connection."""
    if entry.command:
        program, *arguments = entry.command
        return StdioServerParameters(command=program, args=arguments, env={"HOME": str(home), **entry.env})
    http = await stack.enter_async_context(httpx2.AsyncClient(headers=entry.headers))
    return streamable_http_client(entry.url, http_client=http)


def test_what_the_page_tells_hosts_of_a_url_is_a_command_of_the_guard() -> None:
    given = yaml.safe_load(block(GUARD, "json"))
    assert given["args"][-2] == "--upstream-url"
    assert remotes.headers(given["env"][remotes.HEADERS]) == {"Authorization": "Bearer …"}
