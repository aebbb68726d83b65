"""Servers at URLs are asked for their tools, and nothing unsafe is done for it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from mcp.server import MCPServer

from rune.errors import FailedPrecondition, RuneError, Unavailable
from rune.toolbox import dial, visit

URL = "https://tools.example/mcp"
Answer = Callable[[httpx.Request], httpx.Response]
Serve = Callable[[Answer], list[httpx.Request]]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Has every client talk to this function; what it was asked."""
    real = httpx.AsyncClient

    def serve(answer: Answer) -> list[httpx.Request]:
        asked: list[httpx.Request] = []

        def handle(request: httpx.Request) -> httpx.Response:
            asked.append(request)
            return answer(request)

        def client(**more: Any) -> httpx.AsyncClient:
            return real(transport=httpx.MockTransport(handle), **more)

        monkeypatch.setattr(httpx, "AsyncClient", client)
        return asked

    return serve


def speaks(request: httpx.Request, *, stream: bool) -> httpx.Response:
    """A server with two pages of tools."""
    if request.method == "DELETE":
        return httpx.Response(405)
    asked: dict[str, Any] = json.loads(request.content)
    if "id" not in asked:
        return httpx.Response(202)
    page = {"tools": [{"name": "a"}], "nextCursor": "2"}
    if asked["params"].get("cursor"):
        page = {"tools": [{"name": "b"}]}
    result = {"protocolVersion": "2025-11-25"} if asked["method"] == "initialize" else page
    said = json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result})
    headers = {"Mcp-Session-Id": "s1"}
    if not stream:
        return httpx.Response(200, text=said, headers={**headers, "Content-Type": "application/json"})
    note = 'event: message\ndata: {"jsonrpc": "2.0", "method": "notifications/message", "params": {}}\n\n'
    text = f"{note}event: message\ndata: {said}\n\n"
    return httpx.Response(200, text=text, headers={**headers, "Content-Type": "text/event-stream"})


@pytest.mark.parametrize("stream", [False, True])
async def test_all_its_tools_are_told_and_the_session_is_ended(server: Serve, *, stream: bool) -> None:
    asked = server(lambda request: speaks(request, stream=stream))
    assert [tool["name"] for tool in await dial.tools(URL, {"Authorization": "Bearer t"})] == ["a", "b"]
    assert {each.headers["Authorization"] for each in asked} == {"Bearer t"}
    assert (asked[-1].method, asked[-1].headers["Mcp-Session-Id"]) == ("DELETE", "s1")


async def test_credentials_are_not_taken_to_another_host(server: Serve) -> None:
    asked = server(lambda _: httpx.Response(307, headers={"Location": "https://evil.example/mcp"}))
    with pytest.raises(FailedPrecondition, match=r"redirects to evil.example, which is not followed"):
        await dial.tools(URL, {"Authorization": "Bearer t"})
    assert len(asked) == 1


async def test_a_redirect_on_the_same_host_is_followed_a_few_times(server: Serve) -> None:
    def moved(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/mcp":
            return httpx.Response(308, headers={"Location": "/mcp/"})
        return speaks(request, stream=False)

    server(moved)
    assert len(await dial.tools(URL, {})) == 2
    asked = server(lambda _: httpx.Response(308, headers={"Location": "/mcp"}))
    with pytest.raises(Unavailable, match="more than 3 times"):
        await dial.tools(URL, {})
    assert len(asked) == 3


async def test_plain_text_goes_to_this_machine_alone_unless_it_is_wanted(server: Serve) -> None:
    asked = server(lambda request: speaks(request, stream=False))
    with pytest.raises(FailedPrecondition, match="--insecure"):
        await dial.tools("http://tools.example/mcp", {})
    assert not asked
    assert await dial.tools("http://127.0.0.1:1/mcp", {})
    assert await dial.tools("http://tools.example/mcp", {}, insecure=True)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (httpx.Response(401), "it answers with 401"),
        (httpx.Response(200, text="<html>"), "it refused initialize"),
        (httpx.Response(200, text="", headers={"Content-Type": "text/event-stream"}), "without an answer"),
        (httpx.Response(200, content=b"x" * ((16 << 20) + 1)), "more than 16 MiB"),
    ],
)
async def test_what_is_no_server_is_said(server: Serve, answer: httpx.Response, why: str) -> None:
    server(lambda _: answer)
    with pytest.raises(RuneError, match=why):
        await dial.tools(URL, {})


async def test_the_servers_of_the_official_sdk_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    made = MCPServer("toys")

    @made.tool()
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    assert callable(add)
    app = made.streamable_http_app()
    real = httpx.AsyncClient

    def client(**more: Any) -> httpx.AsyncClient:
        return real(transport=httpx.ASGITransport(app), **more)

    monkeypatch.setattr(httpx, "AsyncClient", client)
    async with app.router.lifespan_context(app):
        (tool,) = await dial.tools("http://127.0.0.1:8000/mcp", {})
    assert tool["name"] == "add"


def result(request: httpx.Request, **said: Any) -> httpx.Response:
    asked: dict[str, Any] = json.loads(request.content)
    told: dict[str, Any] = {"jsonrpc": "2.0", "id": asked.get("id"), "result": said}
    return httpx.Response(200, json=told)


NONSENSE: list[Answer] = [
    lambda request: result(request, tools=5),
    lambda request: result(request, tools=[], protocolVersion="\u2603"),
    lambda _: httpx.Response(200, content=b'{"x": "\xff"}'),
    lambda _: httpx.Response(200, content=b"[" * 100_000),
    lambda _: httpx.Response(307, headers={"Location": "http://["}),
    lambda _: httpx.Response(200, json={"id": 1, "result": {}}, headers=[(b"Mcp-Session-Id", b"\xe9")]),
]


@pytest.mark.parametrize("odd", NONSENSE)
def test_a_server_that_answers_nonsense_ends_no_scan(server: Serve, odd: Answer) -> None:
    """The findings about the other servers would be lost."""
    server(odd)
    tools, why = dial.listed(URL, {}, insecure=False)
    assert tools == []
    assert why


@pytest.mark.parametrize("line", ['{"jsonrpc":"2.0","id":%d,"result":{"tools":5}}', "[" * 100_000 + "%d"])
def test_a_command_that_answers_nonsense_ends_no_scan(line: str) -> None:
    program = f"import sys\nfor n, _ in enumerate(sys.stdin): print({line!r} % max(n, 1), flush=True)"
    tools, why = visit.listed([sys.executable, "-c", program], {})
    assert tools == []
    assert why
