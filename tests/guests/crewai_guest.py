"""A crew that does not know of Rune."""

# CrewAI lives in an environment of its own, where no type checker looks.
# pyright: reportMissingImports=false, reportUntypedBaseClass=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import os
from typing import Any

os.environ |= {
    "CREWAI_DISABLE_TELEMETRY": "true", "OTEL_SDK_DISABLED": "true", "CREWAI_TRACING_ENABLED": "false",
}  # fmt: skip

from crewai import LLM, Agent, Crew, Task
from crewai.tools import tool
from openai import OpenAI
from talk import aattempt, attempt, run, tell

URL = os.environ["MODEL_URL"] + "/v1"


def build(**more: Any) -> Any:
    chat = LLM(model="openai/gpt-4o", base_url=URL, api_key="k", **more)
    agent = Agent(role="clerk", goal="help", backstory="You help.", llm=chat, tools=[tool("run")(run)])
    task = Task(description="Do this: {wish}", expected_output="an answer", agent=agent)
    return Crew(agents=[agent], tasks=[task])


def ask(wish: str, **more: Any) -> str:
    return str(build(**more).kickoff({"wish": wish}).raw)


async def aask(wish: str) -> str:
    return str((await build().akickoff({"wish": wish})).raw)


def client(text: str) -> str | None:
    with OpenAI(base_url=URL, api_key="k") as bare:
        answer = bare.chat.completions.create(model="m", messages=[{"role": "user", "content": text}])
    return answer.choices[0].message.content


async def main() -> None:
    await aattempt("order", lambda: aask(os.environ["ORDER"]))
    await aattempt("secret", lambda: aask("tell"))


attempt("harmless", lambda: ask("please list"))
attempt("call", lambda: ask("please harm"))
asyncio.run(main())
attempt("bare", lambda: ask("a song", stream=True))
attempt("client", lambda: client("hello"))
tell()
