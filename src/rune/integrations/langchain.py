"""`ShieldMiddleware` for LangChain's and LangGraph's agents, and `ShieldCallbackHandler` for bare chains.

The middleware judges what reaches the model, what it says (streams are held back, see `held`), each tool
call before it runs and what it returns. A LangGraph thread is a session. The handler sees the same things
but changes nothing: it can stop a chain, neither redact nor hold back tokens.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse, ToolCallRequest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGenerationChunk, LLMResult
from langgraph.config import get_config
from langgraph.types import Command

from rune.integrations.checkpoint import Checkpoint, OnBlock, beside, refusal, refuse_redaction, withheld
from rune.integrations.clients import get, put, rows, texts_of
from rune.integrations.held import CallPart, Held, Part, Text, apassing, passing
from rune.shield.guard import argument_text
from rune.shield.results import ShieldBlockedError
from rune.shield.shield import Shield

M = TypeVar("M", bound=BaseMessage)
ToolAnswer = ToolMessage | Command[Any]
_TEXTS = frozenset({"text", "input_text", "output_text", "refusal"})
_MODELS = 32
"""Guarded models that are kept; an agent has one or a few."""


class ShieldMiddleware(AgentMiddleware[Any, Any, Any]):
    """Goes first into `middleware=[…]`, so that nothing is added to a request after it was judged."""

    def __init__(
        self, shield: Shield, *, agent_id: str | None = None, session_id: str | None = None,
        on_block: OnBlock = "raise",
    ) -> None:  # fmt: skip
        super().__init__()
        self._check = Checkpoint(shield, "langchain", agent_id=agent_id, session_id=session_id)
        self._tells_model = on_block == "tool_error"
        self._models: dict[int, tuple[BaseChatModel, BaseChatModel]] = {}

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Judges the messages, calls the model, judges the answer."""
        with self._session():
            answer = handler(self._before(request))
            return self._after(answer)

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """As `wrap_model_call`."""
        with self._session():
            answer = await handler(await beside(lambda: self._before(request)))
            return await beside(lambda: self._after(answer))

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolAnswer]
    ) -> ToolAnswer:
        """Judges the call, runs the tool, judges what it returned."""
        with self._session():
            try:
                self._call(request)
            except ShieldBlockedError as error:
                return self._told(request, error, refusal)
            answer = handler(request)
            try:
                return self._result(request, answer)
            except ShieldBlockedError as error:
                return self._told(request, error, withheld)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolAnswer]]
    ) -> ToolAnswer:
        """As `wrap_tool_call`."""
        with self._session():
            try:
                await beside(lambda: self._call(request))
            except ShieldBlockedError as error:
                return self._told(request, error, refusal)
            answer = await handler(request)
            try:
                return await beside(lambda: self._result(request, answer))
            except ShieldBlockedError as error:
                return self._told(request, error, withheld)

    def _session(self) -> AbstractContextManager[object]:
        """The session of the LangGraph thread, unless one is given or open."""
        shield = self._check.shield
        if self._check.context.get("session_id") or shield.context.session_id:
            return nullcontext()
        thread: Any = get_config().get("configurable", {}).get("thread_id")
        return shield.session(session_id=str(thread)) if thread else nullcontext()

    def _before(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        messages = [_judged(self._check, message) for message in request.messages]
        return request.override(messages=messages, model=self._held(request.model))

    def _after(self, answer: ModelResponse[Any]) -> ModelResponse[Any]:
        said = [_said(self._check, message) for message in answer.result]
        if answer.structured_response is not None:
            text = argument_text(answer.structured_response)
            if self._check.output(text) is not text:
                refuse_redaction(self._check)
        return dataclasses.replace(answer, result=said)

    def _call(self, request: ToolCallRequest) -> None:
        self._check.call(request.tool_call["name"], request.tool_call["args"])

    def _result(self, request: ToolCallRequest, answer: ToolAnswer) -> ToolAnswer:
        if not isinstance(answer, ToolMessage):
            return answer  # a Command's messages are judged on their way to the model
        return _rewritten(answer, lambda text: self._check.result(request.tool_call["name"], text))

    def _told(
        self, request: ToolCallRequest, error: ShieldBlockedError, tell: Callable[[ShieldBlockedError], str]
    ) -> ToolMessage:
        """The error as an answer that the model reads; the error itself where that is not wanted."""
        if not self._tells_model:
            raise error
        call = request.tool_call
        return ToolMessage(tell(error), tool_call_id=call["id"] or "", name=call["name"], status="error")

    def _held(self, model: BaseChatModel) -> BaseChatModel:
        """The model with its streams held back; made once for each."""
        known = self._models.get(id(model))
        if known is None or known[0] is not model:
            if len(self._models) >= _MODELS:
                self._models.clear()
            known = self._models[id(model)] = (model, held_model(model, self._check))
        return known[1]


def held_model(model: BaseChatModel, check: Checkpoint) -> BaseChatModel:
    """A model of a subclass of the given one's class, whose streams pass on only what was judged."""
    kind: Any = type(model)
    # Without these the base class builds events from `_stream`, which is where we are.
    own: dict[str, Any] = {"_stream_chat_model_events": None, "_astream_chat_model_events": None}
    if kind._stream is not vars(BaseChatModel)["_stream"]:  # noqa: SLF001 - what a model class overrides
        own["_stream"] = _stream(kind, check)
    if kind._astream is not vars(BaseChatModel)["_astream"]:  # noqa: SLF001 - as above
        own["_astream"] = _astream(kind, check)
    twin = model.model_copy()
    twin.__class__ = type(kind)(kind.__name__, (kind,), {**own, "__module__": kind.__module__})
    return twin


def _stream(kind: Any, check: Checkpoint) -> Callable[..., Any]:
    def stream(self: Any, messages: Any, *rest: Any, **more: Any) -> Iterator[ChatGenerationChunk]:
        # The manager would tell listeners of each token before we have seen what follows it.
        manager, rest, more = _without_manager(rest, more)
        for chunk in passing(_tokens(check), kind._stream(self, messages, *rest, **more)):  # noqa: SLF001 - as above
            if manager is not None:
                manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    return stream


def _astream(kind: Any, check: Checkpoint) -> Callable[..., Any]:
    async def astream(
        self: Any, messages: Any, *rest: Any, **more: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        manager, rest, more = _without_manager(rest, more)
        async for chunk in apassing(_tokens(check), kind._astream(self, messages, *rest, **more)):  # noqa: SLF001 - as above
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
    for name, text in _texts(message):
        yield Text(("text", name), text)
    for call in rows(get(message, "tool_call_chunks")):
        yield CallPart(("call", get(call, "index")), get(call, "name") or "", get(call, "args") or "")


def _texts(message: BaseMessage) -> Iterator[tuple[str, str]]:
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


def _judged(check: Checkpoint, message: M) -> M:
    """A message for the model; system messages are the program's own, and the model's were judged before."""
    if isinstance(message, HumanMessage):
        return _rewritten(message, check.input)
    if isinstance(message, ToolMessage):
        tool = message.name or check.tool_of(message.tool_call_id)
        return _rewritten(message, lambda text: check.result(tool, text))
    for call in rows(get(message, "tool_calls")):
        check.name_call(call.get("id") or "", call["name"])
    return message


def _said(check: Checkpoint, message: M) -> M:
    if not isinstance(message, AIMessage):
        return message
    used = message.usage_metadata["total_tokens"] if message.usage_metadata else 0
    for kind, text in _texts(message):
        if kind == "thought" and check.output(text) is not text:
            refuse_redaction(check)
    for call in rows(get(message, "tool_calls")):
        check.name_call(call.get("id") or "", call["name"])
    return _rewritten(message, lambda text: check.output(text, used))


def _rewritten(message: M, judge: Callable[[str], str]) -> M:
    """The message itself, or a copy in which texts were redacted."""
    content: Any = message.content
    changed: dict[str, Any] | None = None
    for path, text in texts_of(content, ("content",), _TEXTS):
        judged = judge(text)
        if judged is not text:
            if changed is None:
                changed = {"content": copy.deepcopy(content)}
            put(changed, path, judged)
    return message if changed is None else message.model_copy(update=changed)


class ShieldCallbackHandler(BaseCallbackHandler):
    """In `callbacks` it stops chains, models, tools and retrievers: it raises ShieldBlockedError."""

    raise_error = True
    run_inline = True

    def __init__(self, shield: Shield, *, agent_id: str | None = None, session_id: str | None = None) -> None:
        super().__init__()
        self._check = Checkpoint(shield, "langchain", agent_id=agent_id, session_id=session_id)
        self._tools: dict[object, str] = {}

    def on_chat_model_start(
        self, serialized: dict[str, Any], messages: list[list[BaseMessage]], **kwargs: Any
    ) -> None:
        """Judges the messages."""
        for message in (each for batch in messages for each in batch):
            if _judged(self._check, message) is not message:
                refuse_redaction(self._check)

    def on_llm_start(self, serialized: dict[str, Any], prompts: list[str], **kwargs: Any) -> None:
        """Judges the prompts."""
        for prompt in prompts:
            if self._check.input(prompt) is not prompt:
                refuse_redaction(self._check)

    def on_llm_end(self, response: LLMResult, **kwargs: Any) -> None:
        """Judges what the model said."""
        for answer in (each for batch in response.generations for each in batch):
            message: Any = getattr(answer, "message", None)
            if (message is not None and _said(self._check, message) is not message) or (
                message is None and self._check.output(answer.text) is not answer.text
            ):
                refuse_redaction(self._check)

    def on_tool_start(self, serialized: dict[str, Any], input_str: str, **kwargs: Any) -> None:
        """Judges the call; the tool does not run when it is stopped."""
        tool = str(serialized.get("name") or kwargs.get("name") or "tool")
        inputs = kwargs.get("inputs")
        self._check.call(tool, input_str if inputs is None else inputs)
        self._tools[kwargs.get("run_id")] = tool

    def on_tool_end(self, output: Any, **kwargs: Any) -> None:
        """Judges what the tool returned."""
        tool = self._tools.pop(kwargs.get("run_id"), "tool")
        content: Any = output.content if isinstance(output, ToolMessage) else output
        text = content if isinstance(content, str) else argument_text({"": content})
        if self._check.result(tool, text) is not text:
            refuse_redaction(self._check)

    def on_tool_error(self, error: BaseException, **kwargs: Any) -> None:
        """Forgets the call."""
        self._tools.pop(kwargs.get("run_id"), None)

    def on_retriever_end(self, documents: Sequence[Document], **kwargs: Any) -> None:
        """Judges what was found."""
        for document in documents:
            text = document.page_content
            if self._check.input(text, "rag") is not text:
                refuse_redaction(self._check)
