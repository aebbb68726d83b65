"""Everything that the reference server offers, asked with the Python SDK, as plain data to compare."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from mcp import Client as Assistant
from mcp import types

Json = Any
PATIENCE = 30.0


class Person:
    """Who sits at the client: answers what a server asks back, and hears what it tells."""

    def __init__(self) -> None:
        self.asked: list[Json] = []
        self.progress: list[Json] = []
        self.told = asyncio.Event()

    async def sampling(self, context: Any, params: Any) -> types.CreateMessageResult:
        """The answer of a model."""
        del context
        self.asked.append(["sampling", params.messages[0].content.text])
        content = types.TextContent(type="text", text="a sampled answer")
        return types.CreateMessageResult(role="assistant", model="none", content=content)

    async def elicitation(self, context: Any, params: Any) -> types.ElicitResult:
        """The answer of a person."""
        del context
        self.asked.append(["elicitation", params.message])
        return types.ElicitResult(action="accept", content={"name": "Ann"})

    async def roots(self, context: Any) -> types.ListRootsResult:
        """The folders that are open."""
        del context
        self.asked.append(["roots"])
        return types.ListRootsResult(roots=[types.Root(uri="file:///srv/app", name="app")])  # pyright: ignore[reportArgumentType] - it is parsed

    async def moved(self, progress: float, total: float | None, message: str | None) -> None:
        """A call goes on."""
        self.progress.append([progress, total, message])
        self.told.set()


async def features(server: Any) -> dict[str, Json]:
    """What came back; two runs against one server give the same, whatever stands between."""
    person = Person()
    client = Assistant(
        server, mode="legacy", read_timeout_seconds=PATIENCE, sampling_callback=person.sampling,
        elicitation_callback=person.elicitation, list_roots_callback=person.roots,
    )  # fmt: skip
    async with client as ai:
        found: dict[str, Json] = {"tools": await ai.list_tools(), "prompts": await ai.list_prompts()}
        found["resources"] = await ai.list_resources()
        found["templates"] = await ai.list_resource_templates()
        found["instructions"] = ai.instructions
        found["read"] = await ai.read_resource(str(found["resources"].resources[0].uri))
        found["prompt"] = await ai.get_prompt("args-prompt", {"city": "Graz", "state": "Styria"})
        names = {tool.name for tool in found["tools"].tools}
        for name, given in CALLS.items():
            if name in names:
                found[name] = await ai.call_tool(name, given)
        found["long"] = await ai.call_tool(
            "trigger-long-running-operation", {"duration": 0.4, "steps": 4}, progress_callback=person.moved
        )
        await _cancelled(ai, person)
        found["after"] = await ai.call_tool("echo", {"message": "still there"})
    plain = {
        name: each.model_dump(mode="json") if hasattr(each, "model_dump") else each
        for name, each in found.items()
    }
    return {**plain, "asked": person.asked, "progress": person.progress[:3]}


CALLS: dict[str, Json] = {
    "echo": {"message": "héllo 🌍 \u0000\n"},
    "get-sum": {"a": 0.1, "b": 12345678901},
    "get-tiny-image": {},
    "get-structured-content": {"location": "Chicago"},
    "get-annotated-message": {"messageType": "success", "includeImage": True},
    "get-resource-links": {"count": 3},
    "trigger-sampling-request": {"prompt": "the weather in Graz"},
    "trigger-elicitation-request": {},
    "get-roots-list": {},
}
Moved = Callable[[float, float | None, str | None], Awaitable[None]]


async def _cancelled(ai: Assistant, person: Person) -> None:
    """A call that is given up while it runs."""
    person.told.clear()
    given = {"duration": 30, "steps": 300}
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
        call = tasks.create_task(
            ai.call_tool("trigger-long-running-operation", given, progress_callback=person.moved)
        )
        await person.told.wait()
        call.cancel()
