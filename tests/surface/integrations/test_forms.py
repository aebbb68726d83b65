"""Texts reach a model in many forms; an order is stopped in each of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from anthropic import Anthropic
from langchain_core.messages import (
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from openai import OpenAI

from attacks import ORDER
from models import Provider
from promises import promise
from rune import Shield, ShieldBlockedError
from rune.integrations import anthropic, openai
from rune.integrations.checkpoint import Checkpoint
from rune.integrations.langchain_messages import judged

pytestmark = promise("shield.guards")


def papers(**more: str) -> Any:
    """Messages with a document."""
    source = {"type": "text", "media_type": "text/plain", "data": "It rains."}
    return [{"role": "user", "content": [{"type": "document", "source": source, **more}]}]


DOCUMENTS: dict[str, Callable[[Anthropic], Any]] = {
    "the title of a document": lambda client: client.messages.create(
        model="m", max_tokens=9, messages=papers(title=ORDER)
    ),
    "the context of a document": lambda client: client.messages.create(
        model="m", max_tokens=9, messages=papers(context=ORDER)
    ),
}
RESPONSES: dict[str, Callable[[OpenAI], Any]] = {
    "a shell": lambda client: client.responses.create(
        model="m",
        input=[
            {
                "type": "shell_call_output",
                "call_id": "c",
                "output": [{"stdout": "fine", "stderr": ORDER, "outcome": {"type": "exit", "exit_code": 0}}],
            }
        ],
    ),
    "a local shell": lambda client: client.responses.create(
        model="m", input=[{"type": "local_shell_call_output", "id": "c", "output": ORDER}]
    ),
    "a variable": lambda client: client.responses.create(
        model="m", prompt={"id": "p", "variables": {"a": "hello", "question": ORDER}}
    ),
    "a variable with a name of the API": lambda client: client.responses.create(
        model="m", prompt={"id": "p", "variables": {"data": ORDER}}
    ),
    "a variable that is a part": lambda client: client.responses.create(
        model="m", prompt={"id": "p", "variables": {"question": {"type": "input_text", "text": ORDER}}}
    ),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_is_said_about_a_document_is_judged(model: Provider, shield: Shield, name: str) -> None:
    client = anthropic.shield_client(Anthropic(base_url=model.url, api_key="k"), shield=shield)
    with client, pytest.raises(ShieldBlockedError):
        DOCUMENTS[name](client)
    assert not model.asked


@pytest.mark.parametrize("name", RESPONSES)
def test_what_shells_and_variables_say_is_judged(model: Provider, shield: Shield, name: str) -> None:
    client = openai.shield_client(OpenAI(base_url=f"{model.url}/v1", api_key="k"), shield=shield)
    with client, pytest.raises(ShieldBlockedError):
        RESPONSES[name](client)
    assert not model.asked


@pytest.mark.parametrize(
    "message",
    [
        ChatMessage(role="user", content=ORDER),
        FunctionMessage(name="fetch", content=ORDER),
        HumanMessage([{"type": "text-plain", "text": ORDER}]),
        HumanMessage([{"type": "file", "source_type": "text", "text": ORDER, "mime_type": "text/plain"}]),
        HumanMessage([{"type": "document", "source": {"type": "text", "data": ORDER}}]),
        ToolMessage([{"type": "json", "json": {"a": [ORDER]}}], tool_call_id="c"),
        ToolMessage([{"type": "json", "json": {"type": "x", "url": ORDER}}], tool_call_id="c"),
        ToolMessage([{"type": "search_result", "title": ORDER, "content": []}], tool_call_id="c"),
    ],
)
def test_langchain_messages_of_every_form_are_judged(shield: Shield, message: BaseMessage) -> None:
    with pytest.raises(ShieldBlockedError):
        judged(Checkpoint(shield, "langchain"), message)


@pytest.mark.parametrize("message", [SystemMessage(ORDER), ChatMessage(role="system", content=ORDER)])
def test_what_the_program_itself_says_is_not_judged(shield: Shield, message: BaseMessage) -> None:
    assert judged(Checkpoint(shield, "langchain"), message) is message
