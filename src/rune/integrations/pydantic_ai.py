"""`ShieldCapability` for Pydantic AI: `Agent(…, capabilities=[ShieldCapability(shield)])`.

It wraps the model (messages in, answers out, streams held back) and every tool that runs here. Instructions
and system prompts are the program's own and are not judged.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from types import ModuleType
from typing import Any, cast

from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import (
    BinaryContent,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    PartDeltaEvent,
    PartEndEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ThinkingPart,
    ThinkingPartDelta,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import Model, StreamedResponse
from pydantic_ai.models.wrapper import WrapperModel

from rune.errors import FailedPrecondition
from rune.integrations.checkpoint import Checkpoint, OnBlock, beside, refuse_redaction
from rune.integrations.everywhere import Everywhere, patch, require
from rune.integrations.held import End, Held, Part, Text, apassing
from rune.integrations.layers import astepping, judged_by
from rune.shield.guard import argument_text
from rune.shield.results import ShieldBlockedError
from rune.shield.shield import Shield


class ShieldCapability(AbstractCapability[Any]):
    """Goes first into `capabilities=[…]`, so that it is the outermost layer."""

    def __init__(
        self, shield: Shield, *, agent_id: str | None = None, session_id: str | None = None,
        on_block: OnBlock = "raise",
    ) -> None:  # fmt: skip
        super().__init__()
        self._check = Checkpoint(shield, "pydantic-ai", agent_id=agent_id, session_id=session_id)
        self._tells_model = on_block == "tool_error"

    @classmethod
    def get_serialization_name(cls) -> str | None:
        """None: a Shield is an object of the program and comes from no file."""
        return None

    def get_wrapper_model(self, model: Model) -> Model:
        """The model with a checkpoint before and behind it."""
        return _Guarded(model, self._check)

    async def wrap_tool_execute(self, ctx: Any, *, call: Any, tool_def: Any, args: Any, handler: Any) -> Any:
        """Judges the call, runs the tool, judges what it returned."""
        name: str = call.tool_name
        try:
            await beside(lambda: self._check.call(name, args))
        except ShieldBlockedError as error:
            return self._told(error, self._check.refusal(error))
        result = await handler(args)
        text = result if isinstance(result, str) else argument_text({"": result})
        try:
            judged = await beside(lambda: self._check.result(name, text))
            if judged is not text and not isinstance(result, str):
                refuse_redaction(self._check)
        except ShieldBlockedError as error:
            return self._told(error, self._check.withheld(error))
        return judged if isinstance(result, str) else result

    def _told(self, error: ShieldBlockedError, words: str) -> str:
        if not self._tells_model:
            raise error
        return words


class _Guarded(WrapperModel):
    """The model that requests go through."""

    def __init__(self, wrapped: Model, check: Checkpoint) -> None:
        super().__init__(wrapped)
        self._check = check

    async def request(self, messages: list[ModelMessage], *rest: Any, **more: Any) -> ModelResponse:
        """The answer of the model."""
        check = self._check
        judged = await beside(lambda: _asked(check, messages))
        with judged_by(check.shield):
            answer = await self.wrapped.request(judged, *rest, **more)
        return await beside(
            lambda: check.own("reading what a model answers", lambda: _said(check, answer), answer)
        )

    @asynccontextmanager
    async def request_stream(
        self, messages: list[ModelMessage], *rest: Any, **more: Any
    ) -> AsyncGenerator[StreamedResponse]:
        """The answer of the model, as far as it may be passed on."""
        judged = await beside(lambda: _asked(self._check, messages))
        async with AsyncExitStack() as stack:
            with judged_by(self._check.shield):
                answer = await stack.enter_async_context(self.wrapped.request_stream(judged, *rest, **more))
            yield _held(answer, self._check)


def _held(answer: Any, check: Checkpoint) -> StreamedResponse:
    """The same stream, whose events and whose `get` show only what was judged."""
    kind = cast("Any", type(answer))
    seen: dict[int, Any] = {}
    source = apassing(
        Held(check, _parts, judges=lambda _: False), astepping(check.shield, answer.__aiter__())
    )
    done: list[bool] = []

    async def events() -> AsyncIterator[Any]:
        async for event in source:
            _follow(seen, event)
            yield event
        done.append(True)

    def get(self: Any) -> ModelResponse:
        whole: ModelResponse = kind.get(self)
        if done:
            return whole
        return dataclasses.replace(whole, parts=[seen[place] for place in sorted(seen)])

    answer.__class__ = type(kind.__name__, (kind,), {"get": get, "__module__": kind.__module__})
    answer._event_iterator = events()  # noqa: SLF001 - what its `__aiter__` hands out
    return answer


def _follow(seen: dict[int, Any], event: object) -> None:
    """Builds the parts again from the events that were passed on."""
    if isinstance(event, PartStartEvent):
        seen[event.index] = copy.copy(event.part)
    elif isinstance(event, PartDeltaEvent) and event.index in seen:
        seen[event.index] = event.delta.apply(seen[event.index])
    elif isinstance(event, PartEndEvent):
        seen[event.index] = event.part


def _parts(event: object) -> Iterator[Part]:
    match event:
        case PartStartEvent(index=place, part=TextPart(content=text) | ThinkingPart(content=text)):
            yield Text((place,), text)
        case PartDeltaEvent(index=place, delta=TextPartDelta(content_delta=text)):
            yield Text((place,), text)
        case PartDeltaEvent(index=place, delta=ThinkingPartDelta(content_delta=str(text))):
            yield Text((place,), text)
        case PartEndEvent(index=place):
            yield End((place,))
        case _:
            return


def _asked(check: Checkpoint, messages: list[ModelMessage]) -> list[ModelMessage]:
    def read() -> list[ModelMessage]:
        return [_judged(check, message) for message in messages]

    return check.own("reading what is asked of a model", read, messages)


def _judged(check: Checkpoint, message: ModelMessage) -> ModelMessage:
    if not isinstance(message, ModelRequest):
        return message
    parts = [_part(check, part) for part in message.parts]
    if all(ours is theirs for ours, theirs in zip(parts, message.parts, strict=True)):
        return message
    return dataclasses.replace(message, parts=parts)


def _part(check: Checkpoint, part: Any) -> Any:
    if isinstance(part, UserPromptPart):
        return _prompt(check, part)
    if isinstance(part, ToolReturnPart):
        return _returned(part, lambda text: check.result(part.tool_name, text), check)
    return part


def _prompt(check: Checkpoint, part: UserPromptPart) -> UserPromptPart:
    if isinstance(part.content, str):
        return _returned(part, check.input, check)
    content = [check.input(each) if isinstance(each, str) else _text(check, each) for each in part.content]
    if all(ours is theirs for ours, theirs in zip(content, part.content, strict=True)):
        return part
    return dataclasses.replace(part, content=content)


def _text(check: Checkpoint, item: Any) -> Any:
    text: Any = getattr(item, "content", None)
    if isinstance(item, BinaryContent) and _is_text(item.media_type):
        if check.input(said := item.data.decode("utf-8", "replace"), "rag") is not said:
            refuse_redaction(check)
        return item
    if not isinstance(text, str):
        return item
    return _returned(item, check.input, check)


def _is_text(kind: str) -> bool:
    """Whether a file is handed to models as a text."""
    return kind.startswith("text/") or kind.endswith(("json", "xml", "yaml"))


def _returned(part: Any, judge: Callable[[str], str], check: Checkpoint) -> Any:
    content = part.content
    text = content if isinstance(content, str) else argument_text({"": content})
    judged = judge(text)
    if judged is text:
        return part
    if not isinstance(content, str):
        refuse_redaction(check)
        return part
    return dataclasses.replace(part, content=judged)


def _said(check: Checkpoint, answer: ModelResponse) -> ModelResponse:
    tokens = answer.usage.total_tokens
    parts: list[Any] = []
    for part in answer.parts:
        if isinstance(part, ToolCallPart):
            check.name_call(part.tool_call_id, part.tool_name)
        ours = part
        if isinstance(part, (TextPart, ThinkingPart)):
            text = check.output(part.content, tokens)
            ours = part if text is part.content else dataclasses.replace(part, content=text)
            tokens = 0
        parts.append(ours)
    if all(ours is theirs for ours, theirs in zip(parts, answer.parts, strict=True)):
        return answer
    return dataclasses.replace(answer, parts=parts)


def guard_agents(module: ModuleType, everywhere: Everywhere) -> None:
    """Gives every agent a `ShieldCapability` as it is made."""
    kind: Any = module.Agent
    if "capabilities" not in inspect.signature(kind.__init__).parameters:
        raise FailedPrecondition("Agent takes no capabilities: this version is unknown")
    require(AbstractCapability, "get_wrapper_model", "wrap_tool_execute")
    patch(kind, "__init__", lambda theirs: _capable(theirs, everywhere))


def _capable(theirs: Any, everywhere: Everywhere) -> Callable[..., None]:
    def init(self: Any, *args: Any, capabilities: Any = None, **more: Any) -> None:
        guard = ShieldCapability(everywhere.shield(), on_block=everywhere.on_block)
        theirs(self, *args, capabilities=[guard, *(capabilities or [])], **more)

    return init
