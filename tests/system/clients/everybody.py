"""Four clients that know nothing of each other: stubs of `api/rune.proto`, curl, `rune` and an MCP client."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Protocol, cast

import grpc.aio
from google.protobuf import json_format
from mcp import Client as Assistant
from mcp import types

from runed import Runed
from surface.mcp.assistant import command
from surface.protoc import Client as Stubs
from surface.protoc import message
from system.clients.kinds import Json, Kind

PATIENCE = 20.0
RUNE = (sys.executable, "-m", "rune.cli.main")


class Missing(Exception):
    """The server said that there is no such thing."""


def about(kind: Kind, item: Json) -> Json:
    """The example, where an item of a watch is about it; otherwise nothing."""
    found: Json = item.get(kind.noun) or {}
    return found if found.get("name") == kind.name else {}


class Somebody(Protocol):
    """One who can do the usual with every kind."""

    async def create(self, kind: Kind, resource: Json) -> None: ...
    async def get(self, kind: Kind) -> Json:
        """Raises Missing."""
        ...

    async def list(self, kind: Kind) -> Sequence[Json]: ...
    async def watch(self, kind: Kind) -> Json:
        """The first news of the example."""
        ...

    async def update(self, kind: Kind, resource: Json) -> None: ...
    async def delete(self, kind: Kind) -> None: ...


class ByStubs:
    """Knows `api/rune.proto` and nothing else."""

    def __init__(self, stubs: Stubs) -> None:
        self._stubs = stubs

    async def create(self, kind: Kind, resource: Json) -> None:
        await self._call(kind, f"Create{kind.word}", {kind.noun: resource})

    async def get(self, kind: Kind) -> Json:
        return (await self._call(kind, f"Get{kind.word}", {"name": kind.name}))[kind.noun]

    async def list(self, kind: Kind) -> Sequence[Json]:
        return (await self._call(kind, f"List{kind.plural.capitalize()}", {}))[kind.plural]

    async def watch(self, kind: Kind) -> Json:
        method = f"Watch{kind.plural.capitalize()}"
        call = self._stubs.method(kind.service, method)(
            message(f"{method}Request"), metadata=self._stubs.metadata, timeout=PATIENCE
        )
        async for item in call:
            found = about(kind, json_format.MessageToDict(item))
            if found:
                call.cancel()
                return found
        raise Missing(kind.name)

    async def update(self, kind: Kind, resource: Json) -> None:
        await self._call(kind, f"Update{kind.word}", {kind.noun: resource})

    async def delete(self, kind: Kind) -> None:
        await self._call(kind, f"Delete{kind.word}", {"name": kind.name})

    async def _call(self, kind: Kind, method: str, ask: Json) -> Json:
        request = json_format.ParseDict(ask, message(f"{method}Request"))
        try:
            answer = await self._stubs.call(kind.service, method, request)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                raise Missing(error.details()) from error
            raise
        return json_format.MessageToDict(answer)


class ByCurl:
    """Types addresses."""

    def __init__(self, server: Runed) -> None:
        self._base = f"http://{server.http}"
        self._header = f"Authorization: Bearer {server.token}"

    async def create(self, kind: Kind, resource: Json) -> None:
        await self._curl("-X", "POST", "--json", json.dumps(resource), kind.path)

    async def get(self, kind: Kind) -> Json:
        return (await self._curl(f"{kind.path}/{kind.name}"))[kind.noun]

    async def list(self, kind: Kind) -> Sequence[Json]:
        return (await self._curl(kind.path))[kind.plural]

    async def watch(self, kind: Kind) -> Json:
        process = await self._start("-N", f"{kind.path}?watch=true")
        assert process.stdout
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._first(kind, process.stdout)
        finally:
            process.kill()
            await process.communicate()

    async def _first(self, kind: Kind, lines: asyncio.StreamReader) -> Json:
        async for line in lines:
            data = line.removeprefix(b"data: ")
            found = about(kind, json.loads(data)) if data != line else {}
            if found:
                return found
        raise Missing(kind.name)

    async def update(self, kind: Kind, resource: Json) -> None:
        await self._curl("-X", "PUT", "--json", json.dumps(resource), f"{kind.path}/{kind.name}")

    async def delete(self, kind: Kind) -> None:
        await self._curl("-X", "DELETE", f"{kind.path}/{kind.name}")

    async def _curl(self, *words: str) -> Json:
        process = await self._start("-w", "\n%{http_code}", *words)
        out, _ = await process.communicate()
        body, _, status = out.decode().rpartition("\n")
        if status == "404":
            raise Missing(body)
        assert status in {"200", "201"}, (status, body)
        return json.loads(body)

    async def _start(self, *words: str) -> asyncio.subprocess.Process:
        *options, path = words
        return await asyncio.create_subprocess_exec(
            "curl", "-sS", "-H", self._header, *options, self._base + path,
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip


class ByCommand:
    """Writes files and types commands."""

    def __init__(self, server: Runed, home: Path) -> None:
        self._environ = {"RUNE_SERVER": server.grpc, "RUNE_TOKEN": server.token, "HOME": str(home)}
        self._file = home / "resource.yaml"

    async def create(self, kind: Kind, resource: Json) -> None:
        await self._cast(kind, resource)

    async def get(self, kind: Kind) -> Json:
        return json.loads(await self._rune("get", kind.noun, kind.name, "-o", "json"))

    async def list(self, kind: Kind) -> Sequence[Json]:
        return json.loads(await self._rune("get", kind.plural, "-o", "json"))

    async def watch(self, kind: Kind) -> Json:
        process = await self._start("get", kind.plural, "--watch", "-o", "json")
        assert process.stdout
        try:
            async with asyncio.timeout(PATIENCE):
                async for line in process.stdout:
                    item = json.loads(line)["object"]
                    if item["name"] == kind.name:
                        return item
        finally:
            process.kill()
            await process.communicate()
        raise Missing(kind.name)

    async def update(self, kind: Kind, resource: Json) -> None:
        await self._cast(kind, kind.changed(kind.example))

    async def delete(self, kind: Kind) -> None:
        await self._rune("delete", kind.noun, kind.name, "--yes", "--force")

    async def _cast(self, kind: Kind, resource: Json) -> None:
        self._file.write_text(kind.file(resource), encoding="utf-8")
        await self._rune("cast", str(self._file))

    async def _rune(self, *words: str) -> str:
        process = await self._start(*words)
        out, err = await process.communicate()
        if process.returncode == 4:
            raise Missing(err.decode())
        assert process.returncode == 0, (words, err.decode())
        return out.decode()

    async def _start(self, *words: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            *RUNE, *words, env=self._environ, stdout=pipe, stderr=pipe
        )


class ByAssistant:
    """Calls tools of a real `rune-mcp`."""

    def __init__(self, assistant: Assistant) -> None:
        self._assistant = assistant

    async def create(self, kind: Kind, resource: Json) -> None:
        await self._tool(f"create_{kind.noun}", {kind.noun: resource})

    async def get(self, kind: Kind) -> Json:
        return (await self._tool(f"get_{kind.noun}", {"name": kind.name}))[kind.noun]

    async def list(self, kind: Kind) -> Sequence[Json]:
        return (await self._tool(f"list_{kind.plural}", {}))[kind.plural]

    async def watch(self, kind: Kind) -> Json:
        answer = await self._tool(f"watch_{kind.plural}", {"maxSeconds": 1})
        for item in answer["items"]:
            found = about(kind, item)
            if found:
                return found
        raise Missing(kind.name)

    async def update(self, kind: Kind, resource: Json) -> None:
        await self._tool(f"update_{kind.noun}", {kind.noun: resource})

    async def delete(self, kind: Kind) -> None:
        await self._tool(f"delete_{kind.noun}", {"name": kind.name})

    async def _tool(self, name: str, arguments: Json) -> Json:
        result = await self._assistant.call_tool(name, arguments)
        told = cast("Json", result.structured_content)
        if not result.is_error:
            return told
        if told["error"]["code"] == "NOT_FOUND":
            raise Missing(told["error"]["message"])
        part = result.content[0]
        raise AssertionError(part.text if isinstance(part, types.TextContent) else part)


@asynccontextmanager
async def everybody(server: Runed, home: Path) -> AsyncGenerator[dict[str, Somebody]]:
    """The four, by name, in front of one server."""
    async with AsyncExitStack() as stack:
        port = int(server.grpc.rpartition(":")[2])
        stubs = await stack.enter_async_context(Stubs(port, server.token))
        started = command(home, RUNE_SERVER=server.grpc, RUNE_TOKEN=server.token)
        assistant = await stack.enter_async_context(Assistant(started))
        yield {
            "stubs": ByStubs(stubs),
            "curl": ByCurl(server),
            "rune": ByCommand(server, home),
            "assistant": ByAssistant(assistant),
        }
