"""An agent of Pydantic AI behind an application of FastAPI, neither of which knows of Rune."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient
from openai import AsyncOpenAI
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from talk import aattempt, attempt, run, tell

URL = os.environ["MODEL_URL"] + "/v1"


def build() -> Any:
    provider = OpenAIProvider(base_url=URL, api_key="k")
    return Agent(OpenAIChatModel("m", provider=provider), tools=[run])


async def ask(text: str) -> str:
    return (await build().run(text)).output


async def stream(text: str) -> str:
    """As much of the answer as came."""
    seen: list[str] = []
    try:
        async with build().run_stream(text) as answer:
            async for piece in answer.stream_text(delta=True, debounce_by=None):
                seen.append(piece)  # noqa: PERF401 - what came before an error counts
    except Exception as error:  # noqa: BLE001 - as above
        seen.append(f"|{type(error).__name__}")
    return "".join(seen)


async def bare(text: str) -> str | None:
    async with AsyncOpenAI(base_url=URL, api_key="k") as client:
        made = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": text}])
    return made.choices[0].message.content


async def main() -> None:
    await aattempt("call", lambda: ask("please harm"))
    await aattempt("order", lambda: ask(os.environ["ORDER"]))
    await aattempt("secret", lambda: ask("tell"))
    await aattempt("stream", lambda: stream("sing"))
    await aattempt("bare", lambda: stream("a song"))
    await aattempt("client", lambda: bare("hello"))


def post() -> list[int]:
    """What an application answers on a path that is judged, and on one that is not."""
    app = FastAPI()
    app.add_api_route("/chat", lambda: {"answer": "hello"}, methods=["POST"])
    app.add_api_route("/other", lambda: {"answer": "hello"}, methods=["POST"])
    client = TestClient(app)
    said = {"text": os.environ["ORDER"]}
    return [client.post(path, json=said).status_code for path in ("/chat", "/other")]


attempt("posted", post)
attempt("harmless", lambda: build().run_sync("please list").output)
asyncio.run(main())
tell()
