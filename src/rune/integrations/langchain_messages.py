"""Messages of LangChain: what in them is judged, and how a text in them is replaced.

Needs `langchain-core` alone.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from langchain_core.messages import AIMessage, BaseMessage, FunctionMessage, SystemMessage, ToolMessage
from langchain_core.runnables.config import ensure_config

from rune.integrations.checkpoint import Checkpoint, refuse_redaction
from rune.integrations.clients import get, put, read_by_model, rows, texts_of

M = TypeVar("M", bound=BaseMessage)
_TEXTS = frozenset({"text", "input_text", "output_text", "refusal"})
_OWN = {"assistant", "ai", "model", "system", "developer"}
"""Roles of a `ChatMessage` that are not of users and tools."""


def thread() -> str:
    """The LangGraph thread that is running here, which is a session; nothing outside of a graph."""
    config: Any = ensure_config()
    return str(config.get("configurable", {}).get("thread_id") or "")


def texts(message: BaseMessage) -> Iterator[tuple[str, str]]:
    """What a message says and thinks, under a name for each kind."""
    content: Any = message.content
    for _, text in texts_of(content, (), _TEXTS):
        yield "text", text
    for block in rows(content):
        thought = get(block, "thinking") or get(block, "reasoning")
        if isinstance(thought, str):
            yield "thought", thought
    if isinstance(thought := message.additional_kwargs.get("reasoning_content"), str):
        yield "thought", thought


def judged(check: Checkpoint, message: M) -> M:
    """A message for the model; system messages are the program's own, and the model's were judged before."""
    for call in rows(get(message, "tool_calls")):
        check.name_call(call.get("id") or "", call["name"])
    if isinstance(message, (AIMessage, SystemMessage)) or get(message, "role") in _OWN:
        return message
    if isinstance(message, (ToolMessage, FunctionMessage)):
        tool = message.name or check.tool_of(get(message, "tool_call_id") or "")
        return rewritten(message, lambda text: check.result(tool, text))
    return rewritten(message, check.input)


def said(check: Checkpoint, message: M) -> M:
    """A message of the model, redacted if a policy says so."""
    if not isinstance(message, AIMessage):
        return message
    used = message.usage_metadata["total_tokens"] if message.usage_metadata else 0
    for kind, text in texts(message):
        if kind == "thought" and check.output(text) is not text:
            refuse_redaction(check)
    for call in rows(get(message, "tool_calls")):
        check.name_call(call.get("id") or "", call["name"])
    return rewritten(message, lambda text: check.output(text, used))


def rewritten(message: M, judge: Callable[[str], str]) -> M:
    """The message itself, or a copy in which texts were redacted."""
    content: Any = message.content
    changed: dict[str, Any] | None = None
    read = texts_of if isinstance(message, AIMessage) else read_by_model
    for path, text in read(content, ("content",), _TEXTS):
        judged = judge(text)
        if judged is not text:
            if changed is None:
                changed = {"content": copy.deepcopy(content)}
            put(changed, path, judged)
    return message if changed is None else message.model_copy(update=changed)
