"""An agent of LangChain, a graph of one's own, a bare model and a bare client: none knows of Rune."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from langchain.agents import create_agent  # pyright: ignore[reportUnknownVariableType] - theirs
from langchain_core.tools import StructuredTool
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from openai import OpenAI
from talk import aattempt, attempt, run, tell

URL = os.environ["MODEL_URL"] + "/v1"
chat: Any = ChatOpenAI(base_url=URL, api_key="k", model="m")  # pyright: ignore[reportArgumentType] - it takes a text
tool: Any = StructuredTool.from_function(run)
agent: Any = create_agent(chat, [tool])  # pyright: ignore[reportUnknownVariableType] - as above


def asked(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def graph() -> Any:
    """The loop that people write for themselves."""

    def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [chat.bind_tools([tool]).invoke(state["messages"])]}

    def after(state: Any) -> str:
        return "tools" if state["messages"][-1].tool_calls else END

    made: Any = StateGraph(MessagesState)
    made.add_node("model", ask)
    made.add_node("tools", ToolNode([tool]))
    made.add_edge(START, "model")
    made.add_conditional_edges("model", after)
    made.add_edge("tools", "model")
    return made.compile()


async def stream(text: str) -> str:
    """As much of the answer as came."""
    seen: list[str] = []
    try:
        async for message, _ in agent.astream(asked(text), stream_mode="messages"):
            seen.append(message.content)
    except Exception as error:  # noqa: BLE001 - what came before it counts
        seen.append(f"|{type(error).__name__}")
    return "".join(seen)


async def ask(text: str) -> str:
    return (await agent.ainvoke(asked(text)))["messages"][-1].content


def client(text: str) -> str | None:
    with OpenAI(base_url=URL, api_key="k") as bare:
        answer = bare.chat.completions.create(model="m", messages=[{"role": "user", "content": text}])
    return answer.choices[0].message.content


async def main() -> None:
    await aattempt("order", lambda: ask(os.environ["ORDER"]))
    await aattempt("secret", lambda: ask("tell"))
    await aattempt("stream", lambda: stream("sing"))


attempt("harmless", lambda: agent.invoke(asked("please list"))["messages"][-1].content)
attempt("call", lambda: graph().invoke(asked("please harm"))["messages"][-1].content)
asyncio.run(main())
attempt("bare", lambda: "".join(str(chunk.content) for chunk in chat.stream("a song")))
attempt("client", lambda: client("hello"))
tell()
