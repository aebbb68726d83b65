"""`shield_client(Anthropic())`: messages, plain, streamed and async, under a Shield.

Judged are what users and tools say and the documents they hand in (not the system prompt, which is the
program's own), what the model says and thinks, and every tool call before the program sees it. Not read:
images, files that are only referred to, and batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, cast

from anthropic import Anthropic, AsyncAnthropic

from rune.integrations.checkpoint import Checkpoint
from rune.integrations.clients import Asked, Said, Wire, fields_of, get, guarded, rows, texts_of
from rune.integrations.held import CallPart, CallWhole, End, Part, Text
from rune.shield.shield import Shield

C = TypeVar("C", Anthropic, AsyncAnthropic)
_TEXTS = frozenset({"text"})
Path = tuple[str | int, ...]


def shield_client(
    client: C, *, shield: Shield, agent_id: str | None = None, session_id: str | None = None
) -> C:
    """A client under the Shield; the given one stays as it is. Both share connections: close only one."""
    check = Checkpoint(shield, "anthropic", agent_id=agent_id, session_id=session_id)
    return guarded(client, check, _wire)


def _wire(method: str, url: str) -> Wire | None:
    path = url.partition("?")[0].rstrip("/")
    return MESSAGES if method == "post" and path.endswith("/messages") else None


def _asked(body: Mapping[str, Any]) -> Iterable[Asked]:
    for place, message in enumerate(rows(body.get("messages"))):
        if get(message, "role") != "user":
            continue
        path: Path = ("messages", place, "content")
        for at, text in texts_of(get(message, "content"), path, _TEXTS):
            yield Asked(at, text)
        for number, block in enumerate(rows(get(message, "content"))):
            yield from _block(block, (*path, number))


def _block(block: object, path: Path) -> Iterable[Asked]:
    """The texts inside a block that is more than a text."""
    match get(block, "type"):
        case "tool_result":
            call_id = str(get(block, "tool_use_id") or "")
            for at, text in texts_of(get(block, "content"), (*path, "content"), _TEXTS):
                yield Asked(at, text, call_id=call_id)
            for number, inner in enumerate(rows(get(block, "content"))):
                for asked in _block(inner, (*path, "content", number)):
                    yield asked._replace(call_id=call_id)
        case "text" | "image" | "tool_use" | "thinking":
            return
        case _ if isinstance(block, Mapping):
            # Documents and search results, with their titles and contexts, and what is not known yet.
            for at, text in fields_of(cast("Mapping[str, object]", block), path):
                yield Asked(at, text, "rag")
        case _:
            return


def _named(body: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for message in rows(body.get("messages")):
        for block in rows(get(message, "content")):
            if get(block, "type") == "tool_use":
                yield str(get(block, "id")), str(get(block, "name"))


def _answered(answer: Any) -> Iterable[Said | CallWhole]:
    for place, block in enumerate(rows(get(answer, "content"))):
        for name in ("text", "thinking"):
            if isinstance(text := get(block, name), str):
                yield Said(("content", place, name), text)
        if get(block, "type") == "tool_use":
            yield CallWhole((place,), str(get(block, "name")), get(block, "input"), str(get(block, "id")))


def _tokens(answer: Any) -> int:
    usage = get(answer, "usage")
    return int(get(usage, "input_tokens") or 0) + int(get(usage, "output_tokens") or 0)


def _streamed(event: Any) -> Iterable[Part]:
    place = get(event, "index")
    match get(event, "type"):
        case "content_block_start":
            block = get(event, "content_block")
            if get(block, "type") == "tool_use":
                yield CallPart((place,), str(get(block, "name")), call_id=str(get(block, "id")))
            elif isinstance(text := get(block, "text") or get(block, "thinking"), str):
                yield Text((place,), text)
        case "content_block_delta":
            yield from _delta(place, get(event, "delta"))
        case "content_block_stop":
            yield End((place,))
        case "message_stop":
            yield End()
        case _:
            return


def _delta(place: object, delta: object) -> Iterable[Part]:
    match get(delta, "type"):
        case "text_delta":
            yield Text((place,), str(get(delta, "text")))
        case "thinking_delta":
            yield Text((place,), str(get(delta, "thinking")))
        case "input_json_delta":
            yield CallPart((place,), arguments=str(get(delta, "partial_json")))
        case _:
            return


MESSAGES = Wire(_asked, _named, _answered, _tokens, _streamed)
