"""`ShieldMiddleware` for LangChain's and LangGraph's agents, and `ShieldCallbackHandler` for bare chains.

The middleware judges what reaches the model, what it says (streams are held back, see `held`), each tool
call before it runs and what it returns. A LangGraph thread is a session. The handler sees the same things
but changes nothing: it can stop a chain, neither redact nor hold back tokens.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse, ToolCallRequest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.outputs import LLMResult
from langgraph.types import Command

from rune.integrations.checkpoint import Checkpoint, OnBlock, beside, refuse_redaction
from rune.integrations.langchain_messages import judged, rewritten, said, thread
from rune.integrations.langchain_models import held_model
from rune.shield.guard import argument_text
from rune.shield.results import ShieldBlockedError
from rune.shield.shield import Shield

ToolAnswer = ToolMessage | Command[Any]
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
                return self._told(request, error, self._check.refusal)
            answer = handler(request)
            try:
                return self._result(request, answer)
            except ShieldBlockedError as error:
                return self._told(request, error, self._check.withheld)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolAnswer]]
    ) -> ToolAnswer:
        """As `wrap_tool_call`."""
        with self._session():
            try:
                await beside(lambda: self._call(request))
            except ShieldBlockedError as error:
                return self._told(request, error, self._check.refusal)
            answer = await handler(request)
            try:
                return await beside(lambda: self._result(request, answer))
            except ShieldBlockedError as error:
                return self._told(request, error, self._check.withheld)

    def _session(self) -> AbstractContextManager[object]:
        """The session of the LangGraph thread, unless one is given or open."""
        shield = self._check.shield
        if self._check.context.get("session_id") or shield.context.session_id:
            return nullcontext()
        session = thread()
        return shield.session(session_id=session) if session else nullcontext()

    def _before(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        messages = [judged(self._check, message) for message in request.messages]
        return request.override(messages=messages, model=self._held(request.model))

    def _after(self, answer: ModelResponse[Any]) -> ModelResponse[Any]:
        answers = [said(self._check, message) for message in answer.result]
        if answer.structured_response is not None:
            text = argument_text(answer.structured_response)
            if self._check.output(text) is not text:
                refuse_redaction(self._check)
        return dataclasses.replace(answer, result=answers)

    def _call(self, request: ToolCallRequest) -> None:
        self._check.call(request.tool_call["name"], request.tool_call["args"])

    def _result(self, request: ToolCallRequest, answer: ToolAnswer) -> ToolAnswer:
        if not isinstance(answer, ToolMessage):
            return answer  # a Command's messages are judged on their way to the model
        return rewritten(answer, lambda text: self._check.result(request.tool_call["name"], text))

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
            if judged(self._check, message) is not message:
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
            if (message is not None and said(self._check, message) is not message) or (
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
