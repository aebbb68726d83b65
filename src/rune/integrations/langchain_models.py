"""Chat models of LangChain, inside and outside of agents. Needs `langchain-core` alone.

What they say in a stream is held back, see `held`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from types import ModuleType
from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from rune.integrations.checkpoint import Checkpoint, beside
from rune.integrations.clients import get, rows
from rune.integrations.everywhere import Everywhere, every_subclass, patch, require
from rune.integrations.held import CallPart, Held, Part, Text, apassing, passing
from rune.integrations.langchain_messages import judged, said, texts, thread
from rune.integrations.layers import astepping, is_judged_above, judged_by, stepping

Find = Callable[[], Checkpoint]
_EVENTS = ("_stream_chat_model_events", "_astream_chat_model_events")
"""Other ways to stream; without them the base class builds its events from `_stream`, where we are."""


def guard_models(module: ModuleType, everywhere: Everywhere) -> None:
    """Puts every class of chat models under the Shield, in place."""
    base: Any = module.BaseChatModel
    require(base, "_generate", "_agenerate", "_stream", "_astream")
    find = everywhere.check("langchain")
    every_subclass(base, lambda kind: _guard(kind, find))


def _guard(kind: Any, find: Find) -> None:
    for name, wrap in (
        ("_generate", _judged_answer),
        ("_agenerate", _judged_aanswer),
        ("_stream", _judged_stream),
        ("_astream", _judged_astream),
    ):
        patch(kind, name, lambda theirs, wrap=wrap: wrap(theirs, find))
    for name in _EVENTS:
        if name in vars(kind):
            setattr(kind, name, None)


def _judged_answer(theirs: Any, find: Find) -> Callable[..., Any]:
    def generate(self: Any, messages: Any, *rest: Any, **more: Any) -> Any:
        check = find().within(thread())
        if is_judged_above(check.shield):
            return theirs(self, messages, *rest, **more)
        messages = _asked(check, messages)
        with judged_by(check.shield):
            answer = theirs(self, messages, *rest, **more)
        return _answered(check, answer)

    return generate


def _judged_aanswer(theirs: Any, find: Find) -> Callable[..., Any]:
    async def agenerate(self: Any, messages: Any, *rest: Any, **more: Any) -> Any:
        check = find().within(thread())
        if is_judged_above(check.shield):
            return await theirs(self, messages, *rest, **more)
        given = await beside(lambda: _asked(check, messages))
        with judged_by(check.shield):
            answer = await theirs(self, given, *rest, **more)
        return await beside(lambda: _answered(check, answer))

    return agenerate


def _judged_stream(theirs: Any, find: Find) -> Callable[..., Any]:
    def stream(self: Any, messages: Any, *rest: Any, **more: Any) -> Any:
        check = find().within(thread())
        if is_judged_above(check.shield):
            yield from theirs(self, messages, *rest, **more)
        else:
            yield from _held_stream(theirs, check)(self, _asked(check, messages), *rest, **more)

    return stream


def _judged_astream(theirs: Any, find: Find) -> Callable[..., Any]:
    async def astream(self: Any, messages: Any, *rest: Any, **more: Any) -> Any:
        check = find().within(thread())
        if is_judged_above(check.shield):
            source = theirs(self, messages, *rest, **more)
        else:
            given = await beside(lambda: _asked(check, messages))
            source = _held_astream(theirs, check)(self, given, *rest, **more)
        async for chunk in source:
            yield chunk

    return astream


def _asked(check: Checkpoint, messages: list[BaseMessage]) -> list[BaseMessage]:
    def read() -> list[BaseMessage]:
        return [judged(check, message) for message in messages]

    return check.own("reading what is asked of a model", read, messages)


def _answered(check: Checkpoint, answer: ChatResult) -> ChatResult:
    def read() -> ChatResult:
        answers = [_generation(each, said(check, each.message)) for each in answer.generations]
        return answer.model_copy(update={"generations": answers})

    return check.own("reading what a model answers", read, answer)


def _generation(answer: ChatGeneration, message: BaseMessage) -> ChatGeneration:
    """The answer with another message, which its text is made of."""
    if message is answer.message:
        return answer
    return ChatGeneration(message=message, generation_info=answer.generation_info)


def held_model(model: BaseChatModel, check: Checkpoint) -> BaseChatModel:
    """A model of a subclass of the given one's class, whose streams pass on only what was judged."""
    kind: Any = type(model)
    own: dict[str, Any] = dict.fromkeys(_EVENTS)
    own["_generate"] = _under(kind._generate, check)  # noqa: SLF001 - what a model class overrides
    if kind._agenerate is not vars(BaseChatModel)["_agenerate"]:  # noqa: SLF001 - as above
        own["_agenerate"] = _aunder(kind._agenerate, check)  # noqa: SLF001 - as above
    if kind._stream is not vars(BaseChatModel)["_stream"]:  # noqa: SLF001 - as above
        own["_stream"] = _held_stream(kind._stream, check)  # noqa: SLF001 - as above
    if kind._astream is not vars(BaseChatModel)["_astream"]:  # noqa: SLF001 - as above
        own["_astream"] = _held_astream(kind._astream, check)  # noqa: SLF001 - as above
    twin = model.model_copy()
    twin.__class__ = type(kind)(kind.__name__, (kind,), {**own, "__module__": kind.__module__})
    return twin


def _held_stream(theirs: Any, check: Checkpoint) -> Callable[..., Any]:
    def stream(self: Any, messages: Any, *rest: Any, **more: Any) -> Iterator[ChatGenerationChunk]:
        # The manager would tell listeners of each token before we have seen what follows it.
        manager, rest, more = _without_manager(rest, more)
        source = stepping(check.shield, theirs(self, messages, *rest, **more))
        for chunk in passing(_tokens(check), source):
            if manager is not None:
                manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    return stream


def _held_astream(theirs: Any, check: Checkpoint) -> Callable[..., Any]:
    async def astream(
        self: Any, messages: Any, *rest: Any, **more: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        manager, rest, more = _without_manager(rest, more)
        source = astepping(check.shield, theirs(self, messages, *rest, **more))
        async for chunk in apassing(_tokens(check), source):
            if manager is not None:
                await manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    return astream


def _without_manager(
    rest: tuple[Any, ...], more: dict[str, Any]
) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """The run manager, which comes by name or after `stop`, and what is left of the arguments."""
    manager = rest[1] if len(rest) > 1 else more.pop("run_manager", None)
    return manager, rest[:1], more


def _tokens(check: Checkpoint) -> Held[ChatGenerationChunk]:
    """Calls are only completed here: they are judged when they are about to run."""
    return Held(check, _parts, judges=lambda _: False)


def _parts(chunk: ChatGenerationChunk) -> Iterator[Part]:
    message: Any = chunk.message
    for name, text in texts(message):
        yield Text(("text", name), text)
    for call in rows(get(message, "tool_call_chunks")):
        yield CallPart(("call", get(call, "index")), get(call, "name") or "", get(call, "args") or "")


def _under(theirs: Any, check: Checkpoint) -> Callable[..., Any]:
    def generate(self: Any, *args: Any, **more: Any) -> Any:
        with judged_by(check.shield):
            return theirs(self, *args, **more)

    return generate


def _aunder(theirs: Any, check: Checkpoint) -> Callable[..., Any]:
    async def agenerate(self: Any, *args: Any, **more: Any) -> Any:
        with judged_by(check.shield):
            return await theirs(self, *args, **more)

    return agenerate
