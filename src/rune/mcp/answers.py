"""What a tool answers: the whole as structured content, and a short text of the same for those who read."""

from __future__ import annotations

from typing import Any

import msgspec
from mcp import types

from rune.api import Effect, Operation, wirejson
from rune.api.fields import Message, WireEnum
from rune.api.schemas import Json
from rune.api.shape import Field, fields
from rune.errors import OutOfRange, ResourceExhausted, RuneError, Unauthenticated, Unavailable

MOST_BYTES = 256 << 10
"""An answer beyond it would drown whoever reads it."""
_REMEDIES: dict[type[RuneError], str] = {
    Unavailable: "Is runed running there? RUNE_SERVER or the current context of `rune config` says where.",
    Unauthenticated: "Set RUNE_TOKEN, or choose a context that has a token with `rune config use-context`.",
}


def done(operation: Operation[Any, Any], whole: Json, short: Json) -> types.CallToolResult:
    """The answer of an operation that went well."""
    if (size := len(msgspec.json.encode(whole))) > MOST_BYTES:
        return _too_much(operation, size)
    words = msgspec.json.encode(short).decode() if short else f"{operation.name}: done"
    return types.CallToolResult(content=[types.TextContent(text=words)], structured_content=whole)


def _too_much(operation: Operation[Any, Any], size: int) -> types.CallToolResult:
    happened = "" if operation.effect is Effect.READ else f"{operation.name} was done, but "
    return failed(
        ResourceExhausted(
            f"{happened}the answer has {size >> 10} KiB, and {MOST_BYTES >> 10} is the most that is shown: "
            "ask for less, with a selector, a namespace or paging.limit"
        )
    )


def failed(error: RuneError) -> types.CallToolResult:
    """The answer of an operation that failed, for a model that can then do better."""
    content = [types.TextContent(text=text(error))]
    return types.CallToolResult(
        content=[*content], structured_content={"error": failure(error)}, is_error=True
    )


def text(error: RuneError) -> str:
    """The failure in one line, with what to do about it where that is known."""
    remedy = next((words for kind, words in _REMEDIES.items() if isinstance(error, kind)), "")
    return f"{error.codes.name}: {error.message}" + (f". {remedy}" if remedy else "")


def failure(error: RuneError) -> Json:
    """What the caller may know of a failure."""
    told: Json = {
        "code": error.codes.name,
        "message": error.message,
        "violations": [{"field": one.field, "description": one.description} for one in error.details],
    }
    if isinstance(error, ResourceExhausted):
        told["retryAfterSeconds"] = error.retry_after
    if isinstance(error, OutOfRange):
        told["oldest"] = str(error.oldest)
    return told


def brief(message: Message) -> Json:
    """The message as JSON data without the fields that are zero."""
    return _brief(type(message), wirejson.to_plain(message))


def _brief(model: type[Message], plain: Json) -> Json:
    found: Json = {}
    for field in fields(model):
        value = plain.get(field.json)
        if field.required or not _is_zero(field, value):
            found[field.json] = _brief_value(field, value)
    return found


def _brief_value(field: Field, value: Any) -> Any:  # noqa: ANN401 - JSON
    if not field.is_message:
        return value
    if field.repeated:
        return [_brief(field.python, item) for item in value]
    if field.mapping:
        return {key: _brief(field.python, item) for key, item in value.items()}
    return _brief(field.python, value)


def _is_zero(field: Field, value: Any) -> bool:  # noqa: ANN401 - JSON
    """To leave it out says the same: of the fields of messages only, not of what lists and maps hold."""
    if field.default and not _is_unspecified(field.default):
        return False
    if field.default is None and not (field.is_message or field.is_time):
        return value is None
    if not value:
        return not (field.presence and value is not None)
    if field.type in ("int64", "uint64"):
        return value == "0"
    return _is_unspecified(value)


def _is_unspecified(value: object) -> bool:
    return isinstance(value, WireEnum) and value.endswith("_UNSPECIFIED")
