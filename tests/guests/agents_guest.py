"""An agent of the OpenAI Agents SDK that does not know of Rune."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI
from talk import aattempt, attempt, run, tell

set_tracing_disabled(disabled=True)
client = AsyncOpenAI(base_url=os.environ["MODEL_URL"] + "/v1", api_key="k")
agent: Any = Agent(
    name="clerk",
    model=OpenAIChatCompletionsModel(model="m", openai_client=client),
    tools=[function_tool(run)],
)


async def ask(text: str) -> str:
    result = await Runner.run(agent, text)
    assert result.last_agent is agent
    return result.final_output


async def stream(text: str) -> str:
    """As much of the answer as came."""
    seen: list[str] = []
    result: Any = Runner.run_streamed(agent, text)
    try:
        async for event in result.stream_events():
            if event.type == "raw_response_event":
                seen.append(getattr(event.data, "delta", None) or "")  # noqa: PERF401 - counts, whatever follows
    except Exception as error:  # noqa: BLE001 - as above
        seen.append(f"|{type(error).__name__}")
    return "".join(seen)


async def bare(text: str) -> str | None:
    made = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": text}])
    return made.choices[0].message.content


async def main() -> None:
    await aattempt("call", lambda: ask("please harm"))
    await aattempt("order", lambda: ask(os.environ["ORDER"]))
    await aattempt("secret", lambda: ask("tell"))
    await aattempt("stream", lambda: stream("sing"))
    await aattempt("bare", lambda: stream("a song"))
    await aattempt("client", lambda: bare("hello"))


attempt("harmless", lambda: Runner.run_sync(agent, "please list").final_output)
asyncio.run(main())
tell()
