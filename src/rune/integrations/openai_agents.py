"""`shield_agent(Agent(…))` for the OpenAI Agents SDK: the agent, its tools and whom it hands over to.

The model is wrapped (messages in, answers out, streams held back), function tools get guardrails, and calls
of other tools (MCP servers, shell, computer) are judged when the model asks for them. `RunConfig(model=…)`
replaces an agent's model: give it `shield_model(…)` then.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import AsyncIterator, Callable
from types import ModuleType
from typing import Any, TypeVar, cast

from agents import (
    Agent,
    AgentsException,
    FunctionTool,
    Handoff,
    Model,
    ModelProvider,
    ModelResponse,
    MultiProvider,
    ToolGuardrailFunctionOutput,
    ToolInputGuardrail,
    ToolInputGuardrailData,
    ToolOutputGuardrail,
    ToolOutputGuardrailData,
)

from rune.integrations.checkpoint import Checkpoint, OnBlock, beside, refuse_redaction
from rune.integrations.clients import get, put, rows
from rune.integrations.everywhere import Everywhere, every_subclass, patch, require
from rune.integrations.held import CallWhole, Held, apassing
from rune.integrations.layers import astepping, is_judged_above, judged_by
from rune.integrations.openai import answered, asked, named, streamed
from rune.shield.guard import argument_text
from rune.shield.results import ShieldBlockedError
from rune.shield.shield import Shield

A = TypeVar("A", bound=Agent[Any])
GUARDRAIL = "rune-shield"


def shield_agent(
    agent: A, *, shield: Shield, agent_id: str | None = None, session_id: str | None = None,
    on_block: OnBlock = "raise", model_provider: ModelProvider | None = None,
) -> A:  # fmt: skip
    """A copy of the agent under the Shield; without `agent_id` each agent goes by its own name.

    `model_provider` finds models that are given by name; without one it is the SDK's own.
    """
    provider = model_provider or MultiProvider()

    def checkpoint(name: str) -> Checkpoint:
        return Checkpoint(shield, "openai-agents", agent_id=agent_id or name, session_id=session_id)

    return _Copier(checkpoint, provider, tells_model=on_block == "tool_error").agent(agent)


def shield_model(
    model: Model | str | None, *, shield: Shield, agent_id: str | None = None, session_id: str | None = None,
    model_provider: ModelProvider | None = None,
) -> Model:  # fmt: skip
    """A model under the Shield, for `RunConfig(model=…)`."""
    check = Checkpoint(shield, "openai-agents", agent_id=agent_id, session_id=session_id)
    return _Guarded(model, model_provider or MultiProvider(), check)


class AgentBlockedError(ShieldBlockedError, AgentsException):
    """A ShieldBlockedError that the SDK lets through as it is: others it makes a UserError of."""

    def __init__(self, error: ShieldBlockedError) -> None:
        super().__init__(error.message, scan_result=error.scan_result, policy_result=error.policy_result)


class _Copier:
    """Copies agents that hand over to each other, each once."""

    def __init__(
        self, checkpoint: Callable[[str], Checkpoint], provider: ModelProvider, *, tells_model: bool
    ) -> None:
        self._checkpoint = checkpoint
        self._provider = provider
        self._tells_model = tells_model
        self._made: dict[int, tuple[Agent[Any], Agent[Any]]] = {}

    def agent(self, agent: A) -> A:
        known = self._made.get(id(agent))
        if known is not None:
            return cast("A", known[1])
        check = self._checkpoint(agent.name)
        ours = agent.clone(
            model=_Guarded(agent.model, self._provider, check),
            model_settings=agent.model_settings,
            tools=[self._tool(tool, check) for tool in agent.tools],
            handoffs=[],
        )
        self._made[id(agent)] = (agent, ours)  # before the others, who may hand back to it
        ours.handoffs = [self._handoff(other) for other in agent.handoffs]
        return cast("A", ours)

    def _handoff(self, other: Agent[Any] | Handoff[Any, Any]) -> Agent[Any] | Handoff[Any, Any]:
        if isinstance(other, Agent):
            return self.agent(other)
        invoke = other.on_invoke_handoff

        async def handed(context: Any, arguments: str) -> Any:
            return self.agent(await invoke(context, arguments))

        return dataclasses.replace(other, on_invoke_handoff=handed)

    def _tool(self, tool: Any, check: Checkpoint) -> Any:
        if not isinstance(tool, FunctionTool):
            return tool
        ours = copy.copy(tool)
        _rail(ours, lambda: check, tells_model=self._tells_model)
        return ours


def _rail(tool: FunctionTool, find: Callable[[], Checkpoint], *, tells_model: bool) -> None:
    """Adds guardrails of ours to a tool's own."""
    rails = _Rails(find, tells_model=tells_model)
    before: ToolInputGuardrail[Any] = ToolInputGuardrail(rails.before, name=GUARDRAIL)
    after: ToolOutputGuardrail[Any] = ToolOutputGuardrail(rails.after, name=GUARDRAIL)
    tool.tool_input_guardrails = [*(tool.tool_input_guardrails or []), before]
    tool.tool_output_guardrails = [*(tool.tool_output_guardrails or []), after]


class _Rails:
    """What is judged about a function tool."""

    def __init__(self, find: Callable[[], Checkpoint], *, tells_model: bool) -> None:
        self._find = find
        self._tells_model = tells_model

    async def before(self, data: ToolInputGuardrailData) -> ToolGuardrailFunctionOutput:
        call = data.context
        try:
            await beside(lambda: self._find().call(call.tool_name, call.tool_arguments))
        except ShieldBlockedError as error:
            return self._told(error, self._find().refusal(error))
        return ToolGuardrailFunctionOutput.allow()

    async def after(self, data: ToolOutputGuardrailData) -> ToolGuardrailFunctionOutput:
        text = data.output if isinstance(data.output, str) else argument_text({"": data.output})
        try:
            judged = await beside(lambda: self._find().result(data.context.tool_name, text))
        except ShieldBlockedError as error:
            return self._told(error, self._find().withheld(error))
        if judged is not text:
            return ToolGuardrailFunctionOutput.reject_content(judged)
        return ToolGuardrailFunctionOutput.allow()

    def _told(self, error: ShieldBlockedError, words: str) -> ToolGuardrailFunctionOutput:
        if not self._tells_model:
            raise AgentBlockedError(error) from error
        return ToolGuardrailFunctionOutput.reject_content(words)


class _Guarded(Model):
    """A model with a checkpoint before and behind it; one that is given by name is found at the first use."""

    def __init__(self, model: Model | str | None, provider: ModelProvider, check: Checkpoint) -> None:
        self._given = model
        self._provider = provider
        self._check = check

    def _model(self) -> Model:
        if not isinstance(self._given, Model):
            self._given = self._provider.get_model(self._given)
        return self._given

    async def get_response(
        self, system_instructions: Any, input: Any, *rest: Any, **more: Any
    ) -> ModelResponse:
        """The answer of the model."""
        theirs = self._model().get_response
        return await _answer(self._check, theirs, (system_instructions, input, *rest), more=more)

    async def stream_response(
        self, system_instructions: Any, input: Any, *rest: Any, **more: Any
    ) -> AsyncIterator[Any]:
        """The answer of the model, as far as it may be passed on."""
        theirs = self._model().stream_response
        async for event in _stream(self._check, theirs, (system_instructions, input, *rest), more=more):
            yield event

    async def close(self) -> None:
        """Closes the model."""
        await self._model().close()

    def get_retry_advice(self, request: Any) -> Any:
        """What the model says about trying again."""
        return self._model().get_retry_advice(request)


async def _answer(
    check: Checkpoint, theirs: Any, args: tuple[Any, ...], *, more: dict[str, Any]
) -> ModelResponse:
    instructions, given, *rest = args
    judged = await beside(lambda: _asked(check, given))
    with judged_by(check.shield):
        answer = await theirs(instructions, judged, *rest, **more)
    judges = _judged_here(tuple(rest), more)
    await beside(
        lambda: check.own("reading what a model answers", lambda: _answered(check, answer, judges), None)
    )
    return answer


async def _stream(
    check: Checkpoint, theirs: Any, args: tuple[Any, ...], *, more: dict[str, Any]
) -> AsyncIterator[Any]:
    instructions, given, *rest = args
    judged = await beside(lambda: _asked(check, given))
    source = astepping(check.shield, theirs(instructions, judged, *rest, **more))
    held = Held[Any](check, streamed, judges=_judged_here(tuple(rest), more))
    async for event in apassing(held, source):
        yield event


def _asked(check: Checkpoint, given: Any) -> Any:
    """What the model is asked, redacted if a policy says so."""

    def read() -> Any:
        body: dict[str, Any] = {"input": given}
        changed: dict[str, Any] | None = None
        for call_id, tool in named(body):
            check.name_call(call_id, tool)
        for each in asked(body):
            if each.call_id is None:
                text = check.input(each.text)
            else:
                text = check.result(check.tool_of(each.call_id), each.text)
            if text is not each.text:
                changed = copy.deepcopy(body) if changed is None else changed
                put(changed, each.path, text)
        return given if changed is None else changed["input"]

    return check.own("reading what is asked of a model", read, given)


def _answered(check: Checkpoint, answer: ModelResponse, judges: Callable[[str], bool]) -> None:
    tokens = answer.usage.total_tokens
    for said in answered(answer):
        if isinstance(said, CallWhole):
            check.name_call(said.call_id, said.name)
            if judges(said.name):
                check.call(said.name, said.arguments)
            continue
        if check.output(said.text, tokens) is not said.text:
            refuse_redaction(check)
        tokens = 0


def _judged_here(rest: tuple[Any, ...], more: dict[str, Any]) -> Callable[[str], bool]:
    """Whether a call is judged when the model asks for it: not where our guardrail or a handoff takes it."""
    arguments: dict[str, Any] = (
        dict(zip(("model_settings", "tools", "output_schema", "handoffs"), rest, strict=False)) | more
    )
    known = {str(get(tool, "name")) for tool in rows(arguments.get("tools")) if _has_rails(tool)}
    known |= {str(get(handoff, "tool_name")) for handoff in rows(arguments.get("handoffs"))}
    return lambda name: name not in known


def _has_rails(tool: object) -> bool:
    return any(get(rail, "name") == GUARDRAIL for rail in rows(get(tool, "tool_input_guardrails")))


def guard_agents(module: ModuleType, everywhere: Everywhere) -> None:
    """Puts every model and every function tool under the Shield, in place."""
    require(module, "Model", "FunctionTool", "ToolInputGuardrail", "ToolOutputGuardrail")
    model, tool = module.Model, module.FunctionTool
    require(model, "get_response", "stream_response")
    require(tool, "tool_input_guardrails", "tool_output_guardrails", "__post_init__")
    find = everywhere.check("openai-agents")
    patch(tool, "__post_init__", lambda theirs: _railed(theirs, find, everywhere.on_block))

    def guard(kind: Any) -> None:
        patch(kind, "get_response", lambda theirs: _judged_answer(theirs, find))
        patch(kind, "stream_response", lambda theirs: _judged_stream(theirs, find))

    every_subclass(model, guard)


def _railed(theirs: Any, find: Callable[[], Checkpoint], on_block: OnBlock) -> Callable[..., None]:
    def post_init(self: Any) -> None:
        theirs(self)
        if not _has_rails(self):  # a copy of a tool has those of the tool
            _rail(self, find, tells_model=on_block == "tool_error")

    return post_init


def _judged_answer(theirs: Any, find: Callable[[], Checkpoint]) -> Callable[..., Any]:
    async def get_response(self: Any, system_instructions: Any, input: Any, *rest: Any, **more: Any) -> Any:
        check, args = find(), (system_instructions, input, *rest)
        if is_judged_above(check.shield):
            return await theirs(self, *args, **more)
        return await _answer(check, functools.partial(theirs, self), args, more=more)

    return get_response


def _judged_stream(theirs: Any, find: Callable[[], Checkpoint]) -> Callable[..., Any]:
    async def stream_response(
        self: Any, system_instructions: Any, input: Any, *rest: Any, **more: Any
    ) -> Any:
        check, args = find(), (system_instructions, input, *rest)
        if is_judged_above(check.shield):
            source = theirs(self, *args, **more)
        else:
            source = _stream(check, functools.partial(theirs, self), args, more=more)
        async for event in source:
            yield event

    return stream_response
