"""`shield_client(OpenAI())`: chat completions and responses, plain, streamed and async, under a Shield.

Judged are what users and tools say (not system and developer messages, which are the program's own), what
the model says, and every tool call before the program sees it. Not read: images, audio, files, and other
endpoints such as embeddings, assistants and realtime.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, cast

from openai import AsyncOpenAI, OpenAI

from rune.integrations.checkpoint import Checkpoint
from rune.integrations.clients import Asked, Said, Wire, fields_of, get, guarded, read_by_model, rows
from rune.integrations.held import CallPart, CallWhole, End, Part, Text, Whole
from rune.shield.shield import Shield

C = TypeVar("C", OpenAI, AsyncOpenAI)
_TEXTS = frozenset({"text", "input_text", "output_text", "refusal"})
_THEIRS = {"user", "tool", "function"}
_STORED = re.compile(r"/responses/[^/]+$")


def shield_client(
    client: C, *, shield: Shield, agent_id: str | None = None, session_id: str | None = None
) -> C:
    """A client under the Shield; the given one stays as it is. Both share connections: close only one."""
    check = Checkpoint(shield, "openai", agent_id=agent_id, session_id=session_id)
    return guarded(client, check, _wire)


def _wire(method: str, url: str) -> Wire | None:
    path = url.partition("?")[0].rstrip("/")
    if method == "post" and path.endswith("/chat/completions"):
        return CHAT
    if (method == "post" and path.endswith("/responses")) or (method == "get" and _STORED.search(path)):
        return RESPONSES
    return None


def _chat_asked(body: Mapping[str, Any]) -> Iterable[Asked]:
    for place, message in enumerate(rows(body.get("messages"))):
        if (role := get(message, "role")) not in _THEIRS:
            continue
        call_id = None if role == "user" else str(get(message, "tool_call_id") or get(message, "name") or "")
        for path, text in read_by_model(get(message, "content"), ("messages", place, "content"), _TEXTS):
            yield Asked(path, text, call_id=call_id)


def _chat_named(body: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for message in rows(body.get("messages")):
        if get(message, "role") == "function":
            yield str(get(message, "name")), str(get(message, "name"))
        for call in rows(get(message, "tool_calls")):
            called = get(call, "function") or get(call, "custom")
            yield str(get(call, "id") or ""), str(get(called, "name") or "")


def _chat_answered(answer: Any) -> Iterable[Said | CallWhole]:
    for place, choice in enumerate(rows(get(answer, "choices"))):
        message = get(choice, "message")
        for name in ("reasoning_content", "refusal", "content"):
            if isinstance(text := get(message, name), str):
                yield Said(("choices", place, "message", name), text)
        for number, call in enumerate(rows(get(message, "tool_calls"))):
            yield _chat_call((place, number), call)
        if called := get(message, "function_call"):
            yield CallWhole((place, None), str(get(called, "name")), get(called, "arguments"))


def _chat_call(channel: tuple[object, ...], call: object) -> CallWhole:
    called = get(call, "function") or get(call, "custom")
    arguments = get(called, "arguments")
    arguments = get(called, "input") if arguments is None else arguments
    return CallWhole(channel, str(get(called, "name") or ""), arguments, str(get(call, "id") or ""))


def _chat_streamed(chunk: Any) -> Iterable[Part]:
    for choice in rows(get(chunk, "choices")):
        place, delta = get(choice, "index"), get(choice, "delta")
        for name in ("reasoning_content", "refusal", "content"):
            if isinstance(text := get(delta, name), str) and text:
                yield Text((place, name), text)
        calls = [*rows(get(delta, "tool_calls"))]
        if called := get(delta, "function_call"):
            calls.append({"function": called})
        for call in calls:
            called = get(call, "function") or get(call, "custom")
            arguments = get(called, "arguments") or get(called, "input") or ""
            channel = (place, "call", get(call, "index"))
            yield CallPart(channel, get(called, "name") or "", arguments, get(call, "id") or "")
        if get(choice, "finish_reason"):
            yield End((place,))


def _tokens(answer: Any) -> int:
    total = get(get(answer, "usage"), "total_tokens")
    return total if isinstance(total, int) else 0


CHAT = Wire(_chat_asked, _chat_named, _chat_answered, _tokens, _chat_streamed)


def asked(body: Mapping[str, Any]) -> Iterable[Asked]:
    """What users and tools say in the body of a request for a response."""
    if isinstance(items := body.get("input"), str):
        yield Asked(("input",), items)
    for place, item in enumerate(rows(items)):
        kind = str(get(item, "type") or "message")
        if kind.endswith("_output"):
            call_id = str(get(item, "call_id") or get(item, "id") or "")
            for path, text in read_by_model(get(item, "output"), ("input", place, "output"), _TEXTS):
                yield Asked(path, text, call_id=call_id)
        elif kind == "message" and get(item, "role") == "user":
            for path, text in read_by_model(get(item, "content"), ("input", place, "content"), _TEXTS):
                yield Asked(path, text)
    variables = get(body.get("prompt"), "variables")
    if isinstance(variables, Mapping):
        for path, text in fields_of(cast("Mapping[str, object]", variables), ("prompt", "variables")):
            yield Asked(path, text)


def named(body: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """The calls that such a body tells of."""
    for item in rows(body.get("input")):
        if get(item, "call_id") and get(item, "name"):
            yield str(get(item, "call_id")), str(get(item, "name"))


def answered(answer: Any) -> Iterable[Said | CallWhole]:
    """What a response says and calls."""
    for place, item in enumerate(rows(get(answer, "output"))):
        yield from _texts(item, place, "summary")
        yield from _texts(item, place, "content")
        yield from _call(item, place)


def _texts(item: object, place: int, field: str) -> Iterable[Said]:
    for number, part in enumerate(rows(get(item, field))):
        for name in ("text", "refusal"):
            if isinstance(text := get(part, name), str):
                yield Said(("output", place, field, number, name), text)


def _call(item: object, place: object) -> Iterable[CallWhole]:
    """A call of a tool that the program runs; what runs at the provider was run already."""
    kind = get(item, "type")
    channel = ("call", place)
    if kind in {"function_call", "custom_tool_call"}:
        arguments = get(item, "arguments") if kind == "function_call" else get(item, "input")
        yield CallWhole(channel, str(get(item, "name")), arguments, str(get(item, "call_id") or ""))
    elif kind in {"computer_call", "local_shell_call", "shell_call", "apply_patch_call"}:
        action = get(item, "action") or get(item, "operation") or get(item, "actions")
        yield CallWhole(channel, str(kind).removesuffix("_call"), action, str(get(item, "call_id") or ""))


def streamed(event: Any) -> Iterable[Part]:
    """What an event of a streamed response tells."""
    kind = str(get(event, "type"))
    place = get(
        event, "output_index"
    )  # ids are not always told apart: other providers' models have one for all
    if kind in _TEXT_DELTAS:
        number = get(event, "content_index") or get(event, "summary_index") or 0
        yield Text(("text", place, _TEXT_DELTAS[kind], number), get(event, "delta") or "")
    elif kind in _CALL_DELTAS:
        yield CallPart(("call", place), arguments=get(event, "delta") or "")
    elif kind == "response.output_item.added":
        for call in _call(get(event, "item"), place):
            yield CallPart(call.channel, call.name, call_id=call.call_id)
    elif kind == "response.output_item.done":
        yield from _wholes({"output": [get(event, "item")]}, place)
    elif kind in _LAST:
        yield from _wholes(get(event, "response"))
    elif kind.endswith(".done"):
        yield End(("text",))


def _wholes(answer: object, at: object = None) -> Iterable[Part]:
    """What an event repeats as a whole, mostly after it was judged in pieces."""
    yield End(("text",))
    for said in answered(answer):
        if isinstance(said, Said):
            yield Whole(said.text)
        else:
            yield said if at is None else said._replace(channel=("call", at))


_TEXT_DELTAS = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "refusal",
    "response.reasoning_text.delta": "reasoning",
    "response.reasoning_summary_text.delta": "summary",
}
_CALL_DELTAS = {"response.function_call_arguments.delta", "response.custom_tool_call_input.delta"}
_LAST = {"response.completed", "response.incomplete", "response.failed"}

RESPONSES = Wire(asked, named, answered, _tokens, streamed)
