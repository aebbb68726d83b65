"""Asks a server at a URL which tools it has, over Streamable HTTP, with its host's headers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, cast
from urllib.parse import urljoin, urlsplit

import httpx
import msgspec

from rune.errors import DeadlineExceeded, FailedPrecondition, RuneError, Unavailable
from rune.toolbox.hosts import parts_of
from rune.toolbox.remotes import NEAR
from rune.toolbox.visit import HELLO, MOST_PAGES, PATIENCE, listing

MOST_ANSWER: Final = 16 << 20
MOST_MOVES: Final = 3
SESSION: Final = "Mcp-Session-Id"
VERSION: Final = "MCP-Protocol-Version"
MOVED: Final = (307, 308)
"""Redirects that keep what was posted; others are answers that nobody wants."""


def listed(url: str, headers: Mapping[str, str], *, insecure: bool) -> tuple[list[Any], str]:
    """The tools, or why they are not known."""
    try:
        return asyncio.run(tools(url, headers, insecure=insecure)), ""
    except RuneError as error:
        return [], error.message


async def tools(url: str, headers: Mapping[str, str], *, insecure: bool = False) -> list[Any]:
    """The definitions of its tools.

    Raises FailedPrecondition for what is not safe to do, Unavailable or DeadlineExceeded.
    """
    _refuse_plain(url, insecure=insecure)
    try:
        async with asyncio.timeout(PATIENCE), httpx.AsyncClient(headers=dict(headers)) as http:
            talk = _Talk(http, url)
            try:
                return await talk.tools()
            finally:
                await talk.leave()
    except TimeoutError as error:
        raise DeadlineExceeded(f"it has not told its tools within {PATIENCE:.0f} seconds") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unavailable(f"it cannot be reached: {type(error).__name__}") from error
    except (ValueError, RecursionError) as error:
        raise Unavailable(f"it does not speak MCP: {type(error).__name__}") from error


def _refuse_plain(url: str, *, insecure: bool) -> None:
    parts = parts_of(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise FailedPrecondition("its URL is none of http:// or https://")
    if parts.scheme == "http" and parts.hostname not in NEAR and not insecure:
        raise FailedPrecondition(f"{parts.hostname} is asked in plain text: use https://, or --insecure")


class _Talk:
    """Questions and answers, one after the other."""

    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        self._http = http
        self._url = url
        self._number = 0
        self._said: dict[str, str] = {}
        """Headers that the server is told from its first answer on."""

    async def tools(self) -> list[Any]:
        """All pages of its list."""
        hello = await self._ask("initialize", HELLO)
        self._said[VERSION] = str(hello.get("protocolVersion") or HELLO["protocolVersion"])
        await self._post({"jsonrpc": "2.0", "method": "notifications/initialized"}, 0)
        found: list[Any] = []
        cursor: Any = None
        for _ in range(MOST_PAGES):
            answer = await self._ask("tools/list", {"cursor": cursor} if cursor else {})
            found += listing(answer)
            cursor = answer.get("nextCursor")
            if not cursor:
                break
        return found

    async def leave(self) -> None:
        """Ends the session, where there is one; a server may refuse that."""
        if SESSION in self._said:
            await self._http.delete(self._url, headers=self._said)

    async def _ask(self, method: str, params: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        self._number += 1
        question = {"jsonrpc": "2.0", "id": self._number, "method": method, "params": params}
        said = await self._post(question, self._number)
        if not isinstance(said.get("result"), dict):
            raise Unavailable(f"it refused {method}")
        return cast("dict[str, Any]", said["result"])

    async def _post(self, message: Any, number: int) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """The answer with this number; none for 0."""
        headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
        for _ in range(MOST_MOVES):
            async with self._http.stream(
                "POST", self._url, content=msgspec.json.encode(message), headers={**headers, **self._said}
            ) as answer:
                if answer.status_code in MOVED:
                    self._move(answer.headers.get("Location", ""))
                    continue
                if not answer.is_success:
                    raise Unavailable(f"it answers with {answer.status_code}")
                if session := answer.headers.get(SESSION):
                    self._said[SESSION] = session
                return await _answer(answer, number) if number else {}
        raise Unavailable(f"it redirects more than {MOST_MOVES} times")

    def _move(self, location: str) -> None:
        """The headers hold credentials: they go to no other place than they were given for."""
        there = urljoin(self._url, location)
        old, new = urlsplit(self._url), urlsplit(there)
        if (old.scheme, old.netloc) != (new.scheme, new.netloc):
            raise FailedPrecondition(f"it redirects to {new.hostname or 'nowhere'}, which is not followed")
        self._url = there


async def _answer(answer: httpx.Response, number: int) -> dict[str, Any]:
    if not answer.headers.get("Content-Type", "").startswith("text/event-stream"):
        return _message(b"".join([part async for part in _bounded(answer)]))
    rest = b""
    async for part in _bounded(answer):
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            said = _message(line.removeprefix(b"data:")) if line.startswith(b"data:") else {}
            if said.get("id") == number and "method" not in said:
                return said
    raise Unavailable("it ended its stream without an answer")


async def _bounded(answer: httpx.Response) -> AsyncIterator[bytes]:
    size = 0
    async for part in answer.aiter_bytes():
        size += len(part)
        if size > MOST_ANSWER:
            raise Unavailable(f"it answers with more than {MOST_ANSWER >> 20} MiB")
        yield part


def _message(text: bytes) -> dict[str, Any]:
    try:
        said = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return {}
    return cast("dict[str, Any]", said) if isinstance(said, dict) else {}
