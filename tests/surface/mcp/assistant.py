"""An assistant in front of a small orchestrator: in this process, or through a real `rune-mcp`."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

from mcp import Client as Assistant
from mcp import StdioServerParameters, types

from rune.api.orchestrator.configmaps import Configmap
from rune.api.orchestrator.deletions import DeletionOperation
from rune.api.orchestrator.instances import Instance
from rune.api.orchestrator.namespaces import Namespace
from rune.api.orchestrator.services import Service
from rune.client.client import Client
from rune.client.local import LocalTransport
from rune.core.access import Principal, rule
from rune.core.call import Caller
from rune.mcp.offers import POSSIBLE, Offer
from rune.mcp.server import build
from rune.orchestrator import permissions
from rune.orchestrator.namespaces import Namespaces
from rune.orchestrator.reconcilers.namespaces import NamespaceReconciler
from rune.orchestrator.spec import Template
from rune.server.grpc import GrpcDoor, GrpcOptions
from world import World, world

KINDS = (Service, Instance, Namespace, Template, DeletionOperation, Configmap)
READER = Principal(id="reader", name="reader", rules=(rule("services", ["get", "list"], "default"),))
SERVED = frozenset(row.name for row in POSSIBLE)
"""What may be a tool at all."""
Json = dict[str, Any]


@asynccontextmanager
async def orchestrator() -> AsyncGenerator[World]:
    """A world that also has namespaces, says what callers may do, and knows a reader of one namespace."""
    async with world() as made, asyncio.TaskGroup() as tasks:
        if "create_namespace" not in made.dispatcher.handled:
            Namespaces(made.store, KINDS, clock=made.clock).register(made.dispatcher)
        if "list_permissions" not in made.dispatcher.handled:
            permissions.register(made.dispatcher)
        made.identity.principals["reader"] = READER
        reconciler = NamespaceReconciler(made.store, KINDS, clock=made.clock)
        running = tasks.create_task(reconciler.run())
        try:
            yield made
        finally:
            running.cancel()


@asynccontextmanager
async def assistant(
    here: World, *, who: str = "root", offer: Offer | None = None
) -> AsyncGenerator[Assistant]:
    """An assistant whose server is in this process, in the newest dress of the protocol."""
    caller = Caller(edge="local", request_id="r-1", bearer=who, is_local=True)
    client = Client(LocalTransport(here.dispatcher, lambda: caller))
    async with client, Assistant(build(client, offer or Offer(), version="1.2.3")) as made:
        yield made


@asynccontextmanager
async def door(here: World) -> AsyncGenerator[str]:
    """The world behind a gRPC port; gives its address."""
    opened = GrpcDoor(here.dispatcher, here.clock, GrpcOptions(address="127.0.0.1:0"))
    port = await opened.open()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await opened.close(0)


def command(home: Path, *options: str, **environ: str) -> StdioServerParameters:
    """How a host starts `rune-mcp`, with a home folder of its own."""
    return StdioServerParameters(
        command=sys.executable,
        args=["-m", "rune.mcp.main", *options],
        env={"HOME": str(home), **environ},
        cwd=home,
    )


def names(listed: types.ListToolsResult) -> set[str]:
    """What the tools are called."""
    return {tool.name for tool in listed.tools}


def text(result: types.CallToolResult) -> str:
    """What a host without structured content shows the model."""
    (part,) = result.content
    assert isinstance(part, types.TextContent)
    return part.text


def answer(result: types.CallToolResult) -> Json:
    """The structured content of a call that went well; the text says the same in short."""
    assert not result.is_error, text(result)
    whole = cast("Json", result.structured_content)
    said = json.loads(text(result))
    assert said.keys() <= whole.keys()
    return whole


def refusal(result: types.CallToolResult) -> Json:
    """What a call that failed said of it."""
    assert result.is_error
    told: Json = cast("Json", result.structured_content)["error"]
    assert text(result).startswith(f"{told['code']}: {told['message']}")
    return told
