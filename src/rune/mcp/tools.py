"""What a row of the table looks like to an assistant, and how a call of it is carried out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from mcp import types

from rune.api import Effect, Operation, wirejson
from rune.api.fields import Message
from rune.api.schemas import Json
from rune.api.shape import fields
from rune.api.validate import build
from rune.client.client import Client
from rune.mcp import answers, schemas, streams
from rune.mcp.streams import Bounds

CALL_SECONDS = 55.0
"""How long a call may take: assistants give up after a minute."""
_BOUNDS = {name: field for field in fields(Bounds) for name in (field.wire, field.json)}


@cache
def tool(operation: Operation[Any, Any]) -> types.Tool:
    """The tool of an operation."""
    return types.Tool(
        name=operation.name,
        title=operation.name.replace("_", " ").capitalize(),
        description=_description(operation),
        input_schema=schemas.request_schema(operation.request, *_extra(operation)),
        output_schema=_output(operation),
        annotations=_annotations(operation.effect),
    )


def _extra(operation: Operation[Any, Any]) -> tuple[type[Message], ...]:
    return (Bounds,) if operation.streams else ()


def _output(operation: Operation[Any, Any]) -> Json:
    if operation.streams:
        return streams.schema(operation.response)
    return schemas.message_schema(operation.response)


def _description(operation: Operation[Any, Any]) -> str:
    parts = [operation.summary, schemas.about(operation.request)]
    if operation.streams:
        parts.append("Reads until the end, or until maxItems or maxSeconds are reached.")
    return " ".join(filter(None, parts))


def _annotations(effect: Effect) -> types.ToolAnnotations:
    return types.ToolAnnotations(
        read_only_hint=effect is Effect.READ,
        destructive_hint=effect is Effect.DESTROY,
        idempotent_hint=effect in (Effect.READ, Effect.SETTLE),
        open_world_hint=False,
    )


async def call(
    client: Client, operation: Operation[Any, Any], arguments: Mapping[str, Any]
) -> types.CallToolResult:
    """Do it; raises RuneError for whatever went wrong, arguments included."""
    if not operation.streams:
        request = message(operation.request, arguments)
        answer = await client.call(operation, request, timeout=CALL_SECONDS)
        return answers.done(operation, wirejson.to_plain(answer), answers.brief(answer))
    bounds = message(Bounds, {name: value for name, value in arguments.items() if name in _BOUNDS})
    rest = {name: value for name, value in arguments.items() if name not in _BOUNDS}
    plain = await streams.read(client, operation, message(operation.request, rest), bounds=bounds)
    return answers.done(operation, plain, plain)


def message(model: type[Message], arguments: Mapping[str, Any]) -> Any:  # noqa: ANN401 - an instance of the model
    """The message that the arguments describe, in either spelling; raises InvalidArgument."""
    return build(model, wirejson.from_plain(model, arguments))
