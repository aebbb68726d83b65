"""A real `rune-mcp --upstream` between pipes, for tests that speak to it line by line."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

PATIENCE = 20.0
UPSTREAM = str(Path(__file__).with_name("mcp_upstream.py"))
Json = Any


class Guard:
    """A guard, and short words for what tests say to it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self._number = 0

    def write(self, line: bytes) -> None:
        """A line as it is."""
        assert self.process.stdin
        self.process.stdin.write(line + b"\n")

    def begin(self, method: str, params: Json) -> int:
        """A request whose answer is not waited for; its id."""
        self._number += 1
        message = {"jsonrpc": "2.0", "id": self._number, "method": method, "params": params}
        self.write(json.dumps(message).encode())
        return self._number

    async def read(self) -> Json:
        """The next message."""
        assert self.process.stdout
        return json.loads(await self.process.stdout.readline())

    async def ask(self, method: str, params: Json = None) -> Json:
        """The answer to a request."""
        number = self.begin(method, params or {})
        answer = await self.read()
        assert answer["id"] == number
        return answer

    async def call(self, tool: str, **arguments: Json) -> str:
        """The text of a tool's result."""
        answer = await self.ask("tools/call", {"name": tool, "arguments": arguments})
        return str(answer["result"]["content"][0]["text"])

    async def tools(self) -> list[str]:
        """The tools that are shown."""
        return [tool["name"] for tool in (await self.ask("tools/list"))["result"]["tools"]]

    async def end(self) -> tuple[int, str]:
        """Close its input; its exit code, and what it said on stderr."""
        _, said = await self.process.communicate(b"")
        return self.process.returncode or 0, said.decode()


@asynccontextmanager
async def guard(
    home: Path, *options: str, command: tuple[str, ...] = (), **environ: str
) -> AsyncGenerator[Guard]:
    """A guard before the server for tests."""
    pipe = asyncio.subprocess.PIPE
    upstream = command or (sys.executable, UPSTREAM)
    arguments = ["-m", "rune.mcp.main", "--server-name", "tested", *options, "--upstream", *upstream]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdin=pipe, stdout=pipe, stderr=pipe, limit=32 << 20,
        env={"HOME": str(home), "PATH": os.environ["PATH"], **environ},
    )  # fmt: skip
    try:
        async with asyncio.timeout(PATIENCE):
            yield Guard(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
