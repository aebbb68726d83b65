"""HTTP to a server behind the proxy, where every failure becomes the answer to one request.

The SDK's transport ends with the first connection that fails, and reads answers of any length.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress

import httpx2

from rune.mcp.proxy import messages

LOG_IN = (
    "the server wants a log-in (HTTP {status}): put a header into RUNE_UPSTREAM_HEADERS, or take the guard "
    "away with `rune mcp unwrap` where its host logs in"
)
WANTS_LOG_IN = (401, 403)
BAD_GATEWAY = 502
NOT_FOUND = 404
FAILURES = 400


class Reach(httpx2.AsyncBaseTransport):
    """Another transport, whose answers have at most so many bytes and whose failures are answers."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, *, most: int) -> None:
        self._inner, self._most = inner, most

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        request.headers["accept-encoding"] = "identity"
        try:
            response = await self._inner.handle_async_request(request)
        except httpx2.TransportError as error:
            return _instead(BAD_GATEWAY, f"the server cannot be reached: {error or type(error).__name__}")
        if says := _wrong(response):
            with suppress(httpx2.TransportError):
                await response.aclose()
            return _instead(max(response.status_code, FAILURES), says)
        if isinstance(response.stream, httpx2.AsyncByteStream) and not _is_events(response):
            response.stream = _Bounded(response.stream, self._most)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Bounded(httpx2.AsyncByteStream):
    """An answer's bytes; raises StreamError, which the SDK answers the request with."""

    def __init__(self, inner: httpx2.AsyncByteStream, most: int) -> None:
        self._inner, self._left = inner, most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._inner:
                self._left -= len(chunk)
                if self._left < 0:
                    raise httpx2.StreamError("the answer is too large (--max-message-mib)")
                yield chunk
        except httpx2.TransportError as error:
            raise httpx2.StreamError(f"the connection broke: {error or type(error).__name__}") from error

    async def aclose(self) -> None:
        await self._inner.aclose()


def _wrong(response: httpx2.Response) -> str:
    """Why the answer is of no use; empty for one that the SDK reads by itself."""
    status = response.status_code
    if status in WANTS_LOG_IN:
        return LOG_IN.format(status=status)
    if response.headers.get("content-encoding", "identity") != "identity":
        return "the server compresses its answer, which it was asked not to do"
    is_told = response.headers.get("content-type", "").startswith("application/json")
    if status < FAILURES or status == NOT_FOUND or is_told:
        return ""
    return f"the server answered HTTP {status}"


def _is_events(response: httpx2.Response) -> bool:
    """A stream, whose single events are bounded by the SDK."""
    return response.headers.get("content-type", "").startswith("text/event-stream")


def _instead(status: int, says: str) -> httpx2.Response:
    return httpx2.Response(status, json=messages.error(None, messages.GONE, says))
