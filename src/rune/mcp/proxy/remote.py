"""A server behind the proxy that is reached over Streamable HTTP; the SDK's transport does the talking."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
import httpx2
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.inbound import (
    MCP_METHOD_HEADER,
    MCP_NAME_HEADER,
    MCP_PROTOCOL_VERSION_HEADER,
    NAME_BEARING_METHODS,
    encode_header_value,
    mcp_param_headers,
    x_mcp_header_map,
)
from mcp.shared.message import ClientMessageMetadata, SessionMessage
from mcp.types import jsonrpc

from rune.errors import InvalidArgument, ResourceExhausted, Violation
from rune.mcp.proxy import messages
from rune.mcp.proxy.messages import Json, Malformed, items, mapping, text
from rune.mcp.proxy.reach import Reach
from rune.toolbox.remotes import HEADERS, headers

MOST_TOOLS = 5_000
PATIENCE: Final = httpx2.Timeout(30.0, read=300.0)
"""A server may hold a stream open for long; the SDK's own figures."""


class RemoteLane:
    """The server's side. Each message that goes up is one request of its own."""

    def __init__(self, incoming: Any, outgoing: Any, *, most: int) -> None:  # noqa: ANN401 - the SDK's streams have no public types
        self._incoming, self._outgoing, self._most = incoming, outgoing, most
        self._version = ""
        self._parameters: dict[str, Any] = {}

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for item in self._incoming:
            if isinstance(item, Exception):
                continue  # a line that is no message; the transport has answered who waited for it
            line: bytes = item.message.model_dump_json(by_alias=True, exclude_unset=True).encode()
            if len(line) > self._most:
                raise ResourceExhausted(
                    f"a message from the server is larger than {self._most >> 20} MiB (--max-message-mib)"
                )
            self._learn(line)
            yield line

    async def send(self, line: bytes) -> None:
        """Raises BrokenPipeError when the transport has ended, and Malformed for what it cannot carry."""
        batch = _each(messages.whole(line))
        for message, parsed in [(each, _parsed(each)) for each in batch]:
            told = ClientMessageMetadata(headers=self._headers(mapping(message)))
            try:
                await self._outgoing.send(SessionMessage(parsed, metadata=told))
            except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
                raise BrokenPipeError("the transport has ended") from error

    async def end(self) -> None:
        await self._outgoing.aclose()

    def _headers(self, message: dict[str, Json]) -> dict[str, str] | None:
        """What the protocol wants said in headers as well: the version, and of newer ones the method and
        name.
        """
        params = mapping(message.get("params"))
        version = text(mapping(params.get("_meta")).get(messages.VERSION))
        if not version:
            return {MCP_PROTOCOL_VERSION_HEADER: self._version} if self._version else None
        method = text(message.get("method"))
        headers = {MCP_PROTOCOL_VERSION_HEADER: version, MCP_METHOD_HEADER: method}
        name = text(params.get(NAME_BEARING_METHODS.get(method, "")))
        if name:
            headers[MCP_NAME_HEADER] = encode_header_value(name)
        if method == "tools/call" and name in self._parameters:
            headers |= mcp_param_headers(self._parameters[name], mapping(params.get("arguments")))
        return headers

    def _learn(self, line: bytes) -> None:
        """From what the server answers: the version of a handshake, and arguments that go into headers."""
        if b'"protocolVersion"' not in line and b'"inputSchema"' not in line:
            return
        result = mapping(mapping(messages.decode(line)).get("result"))
        self._version = text(result.get("protocolVersion")) or self._version
        for tool in items(result.get("tools"))[:MOST_TOOLS]:
            found = x_mcp_header_map(mapping(tool).get("inputSchema"))
            if found:
                self._parameters[text(mapping(tool).get("name"))] = found


class Remote:
    """A server that nobody here started: it is left, not ended."""

    def __init__(self, lane: RemoteLane) -> None:
        self.lane = lane

    async def wait(self) -> int:
        """Its transport ended, and that is no failure of ours."""
        return 0

    async def stop(self) -> None:
        """Say that nothing more comes."""
        await self.lane.end()

    def signal(self, number: int) -> None:
        """There is nobody to pass it on to."""


@asynccontextmanager
async def connected(url: str, environ: Mapping[str, str], *, most: int) -> AsyncGenerator[Remote]:
    """The server at the URL; raises InvalidArgument for one that is no URL. It is reached with the first
    message.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidArgument.of([Violation("--upstream-url", f"{url!r} is no http or https address")])
    reach = Reach(httpx2.AsyncHTTPTransport(), most=most)
    async with (
        httpx2.AsyncClient(
            headers=headers(environ.get(HEADERS, "")), timeout=PATIENCE, transport=reach
        ) as client,
        streamable_http_client(url, http_client=client, max_sse_event_size=most) as (incoming, outgoing),
    ):
        yield Remote(RemoteLane(incoming, outgoing, most=most))


def _parsed(message: Json) -> jsonrpc.JSONRPCMessage:
    try:
        parsed = jsonrpc.jsonrpc_message_adapter.validate_python(message, by_name=False)
    except ValueError as error:
        raise Malformed("it is no JSON-RPC 2.0") from error
    if "id" in message and isinstance(parsed, jsonrpc.JSONRPCNotification):
        raise Malformed("its id is neither a whole number nor a text")
    return parsed


def _each(message: Json) -> list[Json]:
    return items(message) if isinstance(message, list) else [message]
