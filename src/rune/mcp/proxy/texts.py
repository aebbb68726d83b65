"""The texts in a message that can reach a model, wherever they stand; and the same message with others."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator
from contextlib import suppress

from rune.mcp.proxy.messages import Json, items, mapping, text
from rune.toolbox.definitions import is_plain_name

BINARY = frozenset({"data", "blob"})
MOST_BLOB = 4 << 20
"""Base64 characters that are looked into; a multiple of four."""


def texts(value: Json) -> list[str]:
    """Every text, each once and in order; of the names of fields those that are more than names."""
    return list(dict.fromkeys(_texts(value)))


def _texts(value: Json) -> Iterator[str]:
    """Without recursion: what a server sends may be nested as deep as it likes."""
    waiting: list[tuple[bool, Json]] = [(False, value)]
    while waiting:
        is_binary, part = waiting.pop()
        if isinstance(part, str):
            yield from _binary(part) if is_binary else (part,)
        elif isinstance(part, dict):
            fields = mapping(part)
            for name, inner in reversed(fields.items()):
                waiting.append((name in BINARY, inner))
                waiting += [] if is_plain_name(name) else [(False, name)]
        elif isinstance(part, list):
            waiting += ((is_binary, each) for each in reversed(items(part)))


def _binary(part: str) -> Iterator[str]:
    """What base64 holds, where that is a text: a client would show it so. What is no base64 is a text."""
    try:
        content = base64.b64decode(part[:MOST_BLOB], validate=True)
    except (binascii.Error, ValueError):
        yield part
        return
    with suppress(UnicodeDecodeError):
        yield content.decode()


def replaced(value: Json, change: Callable[[str], str]) -> Json:
    """The same with every text changed; names of fields and binary data stay."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [replaced(each, change) for each in items(value)]
    if not isinstance(value, dict):
        return value
    return {
        name: inner if name in BINARY else replaced(inner, change) for name, inner in mapping(value).items()
    }


def call_name(params: dict[str, Json]) -> str:
    """What a request is about: a tool, a prompt or an address."""
    return text(params.get("name")) or text(params.get("uri"))
