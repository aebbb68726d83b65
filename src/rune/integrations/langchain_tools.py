"""Tools of LangChain, whichever graph or loop runs them: the call, and what comes back.

Needs `langchain-core` alone.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from langchain_core.messages import ToolMessage

from rune.integrations.checkpoint import Checkpoint, OnBlock, beside, refuse_redaction
from rune.integrations.everywhere import Everywhere, patch, require
from rune.integrations.langchain_messages import rewritten, thread
from rune.shield.guard import argument_text
from rune.shield.results import ShieldBlockedError


def guard_tools(module: ModuleType, everywhere: Everywhere) -> None:
    """Puts every tool under the Shield, in place."""
    base: Any = module.BaseTool
    require(base, "run", "arun", "_filter_injected_args")
    find = everywhere.check("langchain")
    patch(base, "run", lambda theirs: _run(theirs, find, everywhere.on_block))
    patch(base, "arun", lambda theirs: _arun(theirs, find, everywhere.on_block))


def _run(theirs: Any, find: Callable[[], Checkpoint], on_block: OnBlock) -> Callable[..., Any]:
    def run(self: Any, tool_input: Any, *rest: Any, **more: Any) -> Any:
        use = _Use(find().within(thread()), self, more.get("tool_call_id"), on_block=on_block)
        stopped = use.before(tool_input)
        if stopped is not None:
            return stopped
        return use.after(theirs(self, tool_input, *rest, **more))

    return run


def _arun(theirs: Any, find: Callable[[], Checkpoint], on_block: OnBlock) -> Callable[..., Any]:
    async def arun(self: Any, tool_input: Any, *rest: Any, **more: Any) -> Any:
        use = _Use(find().within(thread()), self, more.get("tool_call_id"), on_block=on_block)
        stopped = await beside(lambda: use.before(tool_input))
        if stopped is not None:
            return stopped
        answer = await theirs(self, tool_input, *rest, **more)
        return await beside(lambda: use.after(answer))

    return arun


class _Use:
    """One call of a tool."""

    def __init__(self, check: Checkpoint, tool: Any, call_id: str | None, *, on_block: OnBlock) -> None:
        self._check = check
        self._tool = tool
        self._call_id = call_id
        self._tells_model = on_block == "tool_error"

    def before(self, given: Any) -> Any:
        """None for a call that may be made; else what the model is told in its place."""
        try:
            self._check.own("reading a tool call", lambda: self._call(given), None)
        except ShieldBlockedError as error:
            return self._told(error, self._check.refusal(error))
        return None

    def after(self, answer: Any) -> Any:
        """What the tool returned, or what the model is told in its place."""
        try:
            return self._check.own("reading what a tool returned", lambda: self._result(answer), answer)
        except ShieldBlockedError as error:
            return self._told(error, self._check.withheld(error))

    def _call(self, given: Any) -> None:
        # What a graph hands in besides, as its state, is not of the model.
        arguments = self._tool._filter_injected_args(given) if isinstance(given, dict) else given  # noqa: SLF001 - as above
        self._check.call(self._tool.name, arguments)

    def _result(self, answer: Any) -> Any:
        if isinstance(answer, ToolMessage):
            return rewritten(answer, lambda text: self._check.result(self._tool.name, text))
        text = answer if isinstance(answer, str) else argument_text({"": answer})
        judged = self._check.result(self._tool.name, text)
        if judged is not text and not isinstance(answer, str):
            refuse_redaction(self._check)
            return answer
        return judged if isinstance(answer, str) else answer

    def _told(self, error: ShieldBlockedError, words: str) -> Any:
        if not self._tells_model:
            raise error
        if self._call_id is None:
            return words
        return ToolMessage(words, tool_call_id=self._call_id, name=self._tool.name, status="error")
