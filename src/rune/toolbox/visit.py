"""Starts a server only to ask which tools it has, and ends it again."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

import msgspec

from rune.errors import DeadlineExceeded, RuneError, Unavailable
from rune.version import __version__

PATIENCE = 30.0
GRACE = 2.0
MOST_LINE = 16 << 20
MOST_PAGES = 50
OURS = frozenset(
    {
        "RUNE_API_KEY",
        "RUNE_API_KEY_FILE",
        "RUNE_L3_API_KEY",
        "RUNE_TOKEN",
        "RUNE_MASTER_KEY",
        "RUNE_UPSTREAM_HEADERS",
    }
)
"""Credentials of Rune's own, which are none of a server's business."""
HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "rune mcp scan", "version": __version__},
}


def its_own(environ: Mapping[str, str]) -> dict[str, str]:
    """What a server that is started here inherits."""
    return {name: value for name, value in environ.items() if name not in OURS}


async def tools(command: Sequence[str], environ: Mapping[str, str]) -> list[Any]:
    """The definitions of its tools; raises Unavailable or DeadlineExceeded. Its stderr is dropped."""
    pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=pipe,
            stdout=pipe,
            stderr=null,
            env=environ,
            limit=MOST_LINE,
            start_new_session=True,
        )
    except OSError as error:
        raise Unavailable(f"{command[0]!r} cannot be started: {error.strerror}") from error
    try:
        async with asyncio.timeout(PATIENCE):
            return await _Talk(process).tools()
    except TimeoutError as error:
        raise DeadlineExceeded(f"it has not told its tools within {PATIENCE:.0f} seconds") from error
    except (ConnectionError, ValueError, RecursionError) as error:
        raise Unavailable(f"it does not speak MCP: {error}") from error
    finally:
        await _end(process)


class _Talk:
    """Questions and answers, one after the other."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._number = 0

    async def tools(self) -> list[Any]:
        """All pages of its list."""
        await self._ask("initialize", HELLO)
        await self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        found: list[Any] = []
        cursor: Any = None
        for _ in range(MOST_PAGES):
            answer = await self._ask("tools/list", {"cursor": cursor} if cursor else {})
            found += listing(answer)
            cursor = answer.get("nextCursor")
            if not cursor:
                break
        return found

    async def _ask(self, method: str, params: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        self._number += 1
        await self._send({"jsonrpc": "2.0", "id": self._number, "method": method, "params": params})
        while True:
            said = await self._line()
            if said.get("id") != self._number or "method" in said:
                continue
            if "result" not in said:
                raise Unavailable(f"it refused {method}")
            return _mapping(said["result"])

    async def _send(self, message: Any) -> None:  # noqa: ANN401 - JSON
        if self._process.stdin is None:
            raise Unavailable("it has no input")
        self._process.stdin.write(msgspec.json.encode(message) + b"\n")
        await self._process.stdin.drain()

    async def _line(self) -> dict[str, Any]:
        if self._process.stdout is None:
            raise Unavailable("it has no output")
        line = await self._process.stdout.readline()
        if not line:
            code = await self._process.wait()
            raise Unavailable(f"it ended with exit code {code}")
        try:
            return _mapping(msgspec.json.decode(line))
        except msgspec.DecodeError:
            return {}


def listing(answer: Mapping[str, Any]) -> list[Any]:
    """The tools of an answer; raises ValueError where they are no list."""
    found: Any = answer.get("tools") or []
    if not isinstance(found, list):
        raise ValueError("its tools are no list")  # noqa: TRY004 - of what it says, not of ours
    return cast("list[Any]", found)


def _mapping(value: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    with suppress(TimeoutError):
        async with asyncio.timeout(GRACE):
            await process.wait()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def listed(command: Sequence[str], environ: Mapping[str, str]) -> tuple[list[Any], str]:
    """The tools, or why they are not known."""
    try:
        return asyncio.run(tools(command, environ)), ""
    except RuneError as error:
        return [], error.message
