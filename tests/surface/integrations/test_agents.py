"""Agents of LangChain, the OpenAI Agents SDK and Pydantic AI under a Shield, against a scripted provider.

Each framework runs the same conversations; what differs is how it is driven.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import pytest
from agents import (
    Agent,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    RunConfig,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from langchain.agents import create_agent  # pyright: ignore[reportUnknownVariableType] - theirs
from langchain_core.documents import Document
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import StructuredTool
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI
from pydantic_ai import Agent as PydanticAgent
from pydantic_ai import BinaryContent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from attacks import BLAND, HARMFUL, HARMLESS, KEY, LEAK, ORDER, POISONED, Tool
from controlplane import Standin
from models import Provider, Turn
from promises import promise
from rune import Shield, ShieldBlockedError
from rune.integrations.checkpoint import OnBlock
from rune.integrations.langchain import ShieldCallbackHandler, ShieldMiddleware
from rune.integrations.openai_agents import shield_agent, shield_model
from rune.integrations.pydantic_ai import ShieldCapability

pytestmark = [pytest.mark.timeout(60), promise("shield.guards")]
set_tracing_disabled(disabled=True)


class Driver:
    """One framework's agent with the tool `run`."""

    def __init__(self, model: Provider, shield: Shield, on_block: OnBlock) -> None:
        self.tool = Tool()
        self.model = model
        self.build(shield, on_block)

    def build(self, shield: Shield, on_block: OnBlock) -> None:
        raise NotImplementedError

    async def ask(self, text: str) -> str:
        """What the agent says in the end."""
        raise NotImplementedError

    def stream(self, text: str) -> AsyncIterator[str]:
        """What the agent says, piece by piece."""
        raise NotImplementedError


class LangChain(Driver):
    """LangChain's agents."""

    def build(self, shield: Shield, on_block: OnBlock) -> None:
        chat: Any = ChatOpenAI(base_url=f"{self.model.url}/v1", api_key="k", model="m")  # pyright: ignore[reportArgumentType] - it takes a text
        tool: Any = StructuredTool.from_function(self.tool.run)
        middleware: Any = ShieldMiddleware(shield, agent_id="clerk", on_block=on_block)
        self.agent: Any = create_agent(chat, [tool], middleware=[middleware])

    async def ask(self, text: str) -> str:
        answer = await self.agent.ainvoke({"messages": [{"role": "user", "content": text}]})
        return answer["messages"][-1].content

    async def stream(self, text: str) -> AsyncIterator[str]:
        asked = {"messages": [{"role": "user", "content": text}]}
        async for message, _ in self.agent.astream(asked, stream_mode="messages"):
            yield message.content


class LangChainSync(LangChain):
    """The same, without a loop."""

    async def ask(self, text: str) -> str:
        asked = {"messages": [{"role": "user", "content": text}]}
        answer = await asyncio.to_thread(self.agent.invoke, asked)
        return answer["messages"][-1].content

    async def stream(self, text: str) -> AsyncIterator[str]:
        asked = {"messages": [{"role": "user", "content": text}]}
        for message, _ in self.agent.stream(asked, stream_mode="messages"):
            yield message.content


class Agents(Driver):
    """The OpenAI Agents SDK over chat completions."""

    kind: Any = OpenAIChatCompletionsModel

    def build(self, shield: Shield, on_block: OnBlock) -> None:
        client = AsyncOpenAI(base_url=f"{self.model.url}/v1", api_key="k")
        agent: Any = Agent(
            name="clerk",
            model=self.kind(model="m", openai_client=client),
            tools=[function_tool(self.tool.run)],
        )
        self.agent: Any = shield_agent(agent, shield=shield, on_block=on_block)

    async def ask(self, text: str) -> str:
        return (await Runner.run(self.agent, text)).final_output

    async def stream(self, text: str) -> AsyncIterator[str]:
        run: Any = Runner.run_streamed(self.agent, text)
        async for event in run.stream_events():
            if event.type == "raw_response_event":
                yield getattr(event.data, "delta", None) or ""


class AgentsResponses(Agents):
    """The same over responses."""

    kind = OpenAIResponsesModel


class PydanticAI(Driver):
    """Pydantic AI."""

    def build(self, shield: Shield, on_block: OnBlock) -> None:
        provider = OpenAIProvider(base_url=f"{self.model.url}/v1", api_key="k")
        self.agent: Any = PydanticAgent(
            OpenAIChatModel("m", provider=provider),
            tools=[self.tool.run],
            capabilities=[ShieldCapability(shield, agent_id="clerk", on_block=on_block)],
        )

    async def ask(self, text: str) -> str:
        return (await self.agent.run(text)).output

    async def stream(self, text: str) -> AsyncIterator[str]:
        async with self.agent.run_stream(text) as run:
            async for piece in run.stream_text(delta=True, debounce_by=None):
                yield piece


DRIVERS = (LangChain, LangChainSync, Agents, AgentsResponses, PydanticAI)
Make = Callable[[type[Driver], OnBlock], Driver]


@pytest.fixture
def make(model: Provider, shield: Shield) -> Make:
    return lambda kind, on_block: kind(model, shield, on_block)


@pytest.mark.parametrize("kind", DRIVERS)
async def test_a_harmless_conversation_goes_as_without_a_shield(
    make: Make, model: Provider, kind: type[Driver]
) -> None:
    driver = make(kind, "raise")
    model.say(HARMLESS, "all done")
    assert await driver.ask("please list") == "all done"
    assert driver.tool.ran == ["ls"]
    assert "done ls" in str(model.asked[-1])


@pytest.mark.parametrize("kind", DRIVERS)
async def test_an_order_in_the_input_never_reaches_the_model(
    make: Make, model: Provider, kind: type[Driver]
) -> None:
    driver = make(kind, "raise")
    with pytest.raises(ShieldBlockedError):
        await driver.ask(ORDER)
    assert not model.asked


@pytest.mark.parametrize("kind", DRIVERS)
async def test_a_secret_in_the_answer_is_stopped(make: Make, model: Provider, kind: type[Driver]) -> None:
    model.say(f"the key is {KEY}")
    with pytest.raises(ShieldBlockedError, match="GitHub"):
        await make(kind, "raise").ask("hi")


@promise("shield.tools")
@pytest.mark.parametrize("kind", DRIVERS)
async def test_a_harmful_call_is_not_made(make: Make, model: Provider, kind: type[Driver]) -> None:
    driver = make(kind, "raise")
    model.say(HARMFUL)
    with pytest.raises(ShieldBlockedError, match="shell separator"):
        await driver.ask("hi")
    assert not driver.tool.ran


@promise("shield.tools")
@pytest.mark.parametrize("kind", DRIVERS)
async def test_a_harmful_call_may_come_back_to_the_model_as_an_error(
    make: Make, model: Provider, kind: type[Driver]
) -> None:
    driver = make(kind, "tool_error")
    model.say(HARMFUL, "then I will not")
    assert await driver.ask("hi") == "then I will not"
    assert not driver.tool.ran
    assert "blocked by Shield by rule 'shell-chain'" in str(model.asked[-1])


@pytest.mark.parametrize("kind", DRIVERS)
async def test_what_a_tool_says_is_stopped_when_it_gives_orders(
    make: Make, model: Provider, kind: type[Driver]
) -> None:
    driver = make(kind, "raise")
    model.say(POISONED)
    with pytest.raises(ShieldBlockedError):
        await driver.ask("hi")
    assert len(model.asked) == 1


@pytest.mark.parametrize("kind", DRIVERS)
async def test_what_a_tool_says_may_be_withheld_from_the_model(
    make: Make, model: Provider, kind: type[Driver]
) -> None:
    driver = make(kind, "tool_error")
    model.say(POISONED, "nothing there")
    assert await driver.ask("hi") == "nothing there"
    assert ORDER not in str(model.asked[-1])
    assert "withheld by Shield" in str(model.asked[-1])


@promise("shield.stream")
@pytest.mark.parametrize("kind", DRIVERS)
async def test_no_letter_of_a_secret_slips_out_of_a_stream(
    make: Make, model: Provider, kind: type[Driver]
) -> None:
    model.say(LEAK)
    seen: list[str] = []
    with pytest.raises(ShieldBlockedError):
        async for piece in make(kind, "raise").stream("hi"):
            seen.append(piece)  # noqa: PERF401 - what came before the block counts
    assert seen
    assert BLAND.startswith("".join(seen))


@pytest.mark.parametrize("kind", DRIVERS)
async def test_a_clean_stream_arrives_whole(make: Make, model: Provider, kind: type[Driver]) -> None:
    model.say(BLAND)
    assert "".join([piece async for piece in make(kind, "raise").stream("hi")]) == BLAND


FRAMEWORKS: dict[type[Driver], str] = {
    LangChain: "langchain",
    Agents: "openai-agents",
    PydanticAI: "pydantic-ai",
}


@pytest.mark.parametrize("kind", FRAMEWORKS)
async def test_events_tell_framework_agent_and_session(
    plane: Standin, model: Provider, kind: type[Driver]
) -> None:
    with Shield(api_key="k", endpoint=plane.url) as shield:
        driver = kind(model, shield, "raise")
        model.say(HARMLESS, "all done")
        with shield.session(session_id="talk-7"):
            await driver.ask("please list")
        assert await shield.aflush(5)
    told = {(event["framework"], event["agent_id"], event["session_id"]) for event in plane.events}
    assert told == {(FRAMEWORKS[kind], "clerk", "talk-7")}
    assert sorted(event["event_type"] for event in plane.events) == [
        "scan", "scan", "tool_call", "tool_result"
    ]  # fmt: skip


REDACT = """
version: "1.0"
name: tidy
rules:
  - {name: no-mail, type: data_protection, patterns: [email], direction: input, action: redact}
"""


@pytest.mark.parametrize("kind", DRIVERS)
async def test_a_policy_may_redact_what_the_model_reads(
    model: Provider, tmp_path: Path, kind: type[Driver]
) -> None:
    (tmp_path / "p.yaml").write_text(REDACT, encoding="utf-8")
    driver = kind(model, Shield(events_enabled=False, local_policies_path=tmp_path), "raise")
    model.say("fine")
    assert await driver.ask("I am bob@example.com") == "fine"
    assert "bob@example.com" not in str(model.asked)
    assert "[EMAIL]" in str(model.asked)


# What only one of them has


async def test_a_text_file_for_a_pydantic_agent_is_judged(model: Provider, shield: Shield) -> None:
    file = BinaryContent(ORDER.encode(), media_type="text/markdown")
    driver = PydanticAI(model, shield, "raise")
    with pytest.raises(ShieldBlockedError):
        await driver.ask(cast("Any", ["read this", file]))
    assert not model.asked


async def test_a_langgraph_thread_is_a_session(plane: Standin, model: Provider) -> None:
    with Shield(api_key="k", endpoint=plane.url) as shield:
        driver = LangChain(model, shield, "raise")
        model.say("hello")
        config = {"configurable": {"thread_id": "thread-3"}}
        await driver.agent.ainvoke({"messages": [{"role": "user", "content": "hi"}]}, config)
        assert await shield.aflush(5)
    assert {event["session_id"] for event in plane.events} == {"thread-3"}


class Shelf(BaseRetriever):
    """Finds a poisoned page."""

    def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
        return [Document(page_content=f"{query}: {ORDER}")]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_callback_handler_stops_chains_tools_and_retrievers(model: Provider, shield: Shield) -> None:
    handler: Any = ShieldCallbackHandler(shield, agent_id="clerk")
    config: Any = {"callbacks": [handler]}
    chat: Any = ChatOpenAI(base_url=f"{model.url}/v1", api_key="k", model="m")  # pyright: ignore[reportArgumentType] - it takes a text
    chain: Any = ChatPromptTemplate.from_messages([("system", "be kind"), ("user", "{text}")]) | chat
    model.say("hello", KEY)
    assert chain.invoke({"text": "hi"}, config).content == "hello"
    with pytest.raises(ShieldBlockedError, match="GitHub"):
        chain.invoke({"text": "hi"}, config)
    with pytest.raises(ShieldBlockedError):
        chain.invoke({"text": ORDER}, config)
    tool = Tool()
    guarded: Any = StructuredTool.from_function(tool.run)
    assert guarded.invoke({"command": "ls"}, config) == "done ls"
    with pytest.raises(ShieldBlockedError):
        guarded.invoke(HARMFUL.calls[0][1], config)
    assert tool.ran == ["ls"]
    with pytest.raises(ShieldBlockedError):
        guarded.invoke({"command": "poison"}, config)
    with pytest.raises(ShieldBlockedError):
        Shelf().invoke("page", config)


async def test_agents_that_hand_over_to_each_other_are_all_guarded(model: Provider, shield: Shield) -> None:
    client = AsyncOpenAI(base_url=f"{model.url}/v1", api_key="k")
    chat: Any = OpenAIChatCompletionsModel(model="m", openai_client=client)
    tool = Tool()
    second: Any = Agent(name="second", model=chat, tools=[function_tool(tool.run)])
    first: Any = Agent(name="first", model=chat, handoffs=[second])
    second.handoffs = [first]
    ours = shield_agent(first, shield=shield)
    assert first.model is chat
    assert ours.handoffs[0].handoffs[0] is ours
    model.say(Turn("", (("transfer_to_second", {}),)), HARMFUL)
    with pytest.raises(ShieldBlockedError):
        await Runner.run(ours, "hi")
    assert not tool.ran
    assert len(model.asked) == 2


async def test_a_model_that_a_run_brings_along_can_be_guarded(model: Provider, shield: Shield) -> None:
    client = AsyncOpenAI(base_url=f"{model.url}/v1", api_key="k")
    chat = OpenAIChatCompletionsModel(model="m", openai_client=client)
    agent: Any = Agent(name="clerk")
    model.say(KEY)
    with pytest.raises(ShieldBlockedError):
        await Runner.run(agent, "hi", run_config=RunConfig(model=shield_model(chat, shield=shield)))


async def test_a_snapshot_of_a_pydantic_stream_shows_no_more_than_its_events(
    model: Provider, shield: Shield
) -> None:
    driver = PydanticAI(model, shield, "raise")
    model.say(LEAK)
    seen: list[str] = []
    with pytest.raises(ShieldBlockedError):
        async with driver.agent.run_stream("hi") as run:
            async for whole in run.stream_output(debounce_by=None):
                seen.append(whole)  # noqa: PERF401 - what came before the block counts
    assert seen
    assert all(BLAND.startswith(whole) for whole in seen)
