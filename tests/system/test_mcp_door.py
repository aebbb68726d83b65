"""MCP on the REST port of a real runed: both dresses of the protocol, and whose session it is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from mcp import Client as Assistant
from mcp import types
from mcp.client.streamable_http import streamable_http_client

from promises import promise
from runed import Runed
from surface.mcp.assistant import answer, names, refusal

pytestmark = [pytest.mark.system, pytest.mark.timeout(90)]
PATIENCE = 30.0
JSON = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}
SPEC = {"name": "api", "scale": 1, "process": {"command": "sleep", "args": ["60"]}}


@asynccontextmanager
async def server(folder: Path) -> AsyncGenerator[Runed]:
    """A scratch runed."""
    made = Runed(folder / "data")
    await made.start("--dev")
    try:
        yield made
    finally:
        assert await made.end() == 0


@asynccontextmanager
async def assistant(
    here: Runed, mode: Any = "legacy", *, query: str = "", **headers: str
) -> AsyncGenerator[Assistant]:
    """The official client, over Streamable HTTP."""
    given = headers or {"authorization": f"Bearer {here.token}"}
    async with httpx2.AsyncClient(headers={k.replace("_", "-"): v for k, v in given.items()}) as http:
        transport = streamable_http_client(f"http://{here.http}/mcp{query}", http_client=http)
        async with Assistant(transport, mode=mode, read_timeout_seconds=PATIENCE) as made:
            yield made


async def post(here: Runed, message: Any, **headers: str) -> httpx.Response:
    """One request by hand."""
    async with httpx.AsyncClient() as http:
        given = {**JSON, **{name.replace("_", "-"): text for name, text in headers.items()}}
        return await http.post(f"http://{here.http}/mcp", json=message, headers=given)


def request(method: str, params: Any) -> Any:
    """A request of the protocol."""
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


@promise("mcp.http")
@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_an_assistant_works_over_http_in_both_dresses(tmp_path: Path, mode: Any) -> None:
    async with server(tmp_path) as here, assistant(here, mode) as ai:
        assert {"create_service", "list_alerts", "whoami"} <= names(await ai.list_tools()) | {"whoami"}
        answer(await ai.call_tool("create_service", {"service": SPEC}))
        got = answer(await ai.call_tool("get_service", {"name": "api"}))["service"]
        assert got["process"]["command"] == "sleep"
        read = await ai.read_resource("rune://alerts/open")
        (content,) = read.contents
        assert isinstance(content, types.TextResourceContents)
        assert json.loads(content.text)["alerts"] == []
        assert {each.name for each in (await ai.list_prompts()).prompts} == {
            "explain_service", "triage_alerts", "write_policy"
        }  # fmt: skip
        answer(await ai.call_tool("delete_service", {"name": "api"}))


async def test_a_key_of_the_security_plane_is_a_credential_too(tmp_path: Path) -> None:
    async with server(tmp_path) as here, assistant(here, x_rune_key=here.api_key) as ai:
        seen = names(await ai.list_tools())
        assert "list_alerts" in seen
        assert "create_service" not in seen
        assert not seen & {"subscribe", "list_services"}
        listed = await ai.call_tool("list_alerts", {})
        assert (listed.is_error, listed.structured_content) == (False, {"alerts": []})


async def test_the_address_says_what_is_offered(tmp_path: Path) -> None:
    async with server(tmp_path) as here:
        async with assistant(here, query="?read-only=true&toolsets=security") as ai:
            listed = (await ai.list_tools()).tools
            assert all(tool.annotations and tool.annotations.read_only_hint for tool in listed)
            assert "list_services" not in {tool.name for tool in listed}
            told = refusal(await ai.call_tool("delete_policy", {"policy_id": "x"}))
            assert "--read-only" in told["message"]
        async with httpx.AsyncClient(headers={"authorization": f"Bearer {here.token}"}) as http:
            wrong = await http.post(f"http://{here.http}/mcp?toolset=security", json={}, headers=JSON)
        assert wrong.status_code == 400
        assert "toolset" in wrong.text


@promise("mcp.sessions")
async def test_a_session_answers_nobody_but_the_one_who_opened_it(tmp_path: Path) -> None:
    async with server(tmp_path) as here:
        mine = {"authorization": f"Bearer {here.token}"}
        opened = await post(here, request("initialize", HELLO), **mine)
        assert opened.status_code == 200
        session = opened.headers["mcp-session-id"]
        tools = request("tools/list", {})
        assert (await post(here, tools, **mine, mcp_session_id=session)).status_code == 200
        assert (await post(here, tools, mcp_session_id=session)).status_code == 401
        assert (
            await post(here, tools, authorization="Bearer rune_x.y", mcp_session_id=session)
        ).status_code == 401
        other = await post(here, tools, x_rune_key=here.api_key, mcp_session_id=session)
        assert (other.status_code, "Session not found" in other.text) == (404, True)


@promise("mcp.origins")
async def test_pages_of_another_origin_get_nothing(tmp_path: Path) -> None:
    async with server(tmp_path) as here:
        mine = {"authorization": f"Bearer {here.token}"}
        hello = request("initialize", HELLO)
        assert (await post(here, hello, **mine, origin="https://evil.example")).status_code == 403
        assert (await post(here, hello, **mine, host="evil.example")).status_code == 403
        assert (await post(here, hello, **mine, origin=f"http://{here.http}")).status_code == 200
        assert (await post(here, hello)).status_code == 401


@promise("mcp.subscriptions")
@pytest.mark.filterwarnings("ignore:resources/:mcp.MCPDeprecationWarning")  # the older way is what is tested
async def test_changes_of_a_list_are_told_to_who_subscribed(tmp_path: Path) -> None:
    told: asyncio.Queue[str] = asyncio.Queue()

    async def heard(message: Any) -> None:
        if isinstance(message, types.ResourceUpdatedNotification):
            told.put_nowait(str(message.params.uri))

    uri = "rune://namespaces/default/services"
    async with server(tmp_path) as here:
        headers = {"authorization": f"Bearer {here.token}"}
        async with httpx2.AsyncClient(headers=headers, timeout=PATIENCE) as http:
            transport = streamable_http_client(f"http://{here.http}/mcp", http_client=http)
            async with Assistant(
                transport, mode="legacy", read_timeout_seconds=PATIENCE, message_handler=heard
            ) as ai:
                await ai.subscribe_resource(uri)  # pyright: ignore[reportDeprecated] - it is what is tested
                answer(await ai.call_tool("create_service", {"service": SPEC}))
                async with asyncio.timeout(PATIENCE):
                    assert await told.get() == uri
                await ai.unsubscribe_resource(uri)  # pyright: ignore[reportDeprecated] - as above
                answer(await ai.call_tool("delete_service", {"name": "api"}))


async def test_a_listening_request_of_the_newer_protocol_hears_of_changes(tmp_path: Path) -> None:
    uri = "rune://namespaces/default/services"
    async with server(tmp_path) as here, assistant(here, "auto") as ai:
        async with ai.listen(resource_subscriptions=[uri]) as heard:
            answer(await ai.call_tool("create_service", {"service": SPEC}))
            async with asyncio.timeout(PATIENCE):
                event = await anext(aiter(heard))
        assert str(getattr(event, "uri", "")) == uri
        answer(await ai.call_tool("delete_service", {"name": "api"}))
