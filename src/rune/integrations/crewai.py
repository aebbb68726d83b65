"""`shield_crew(crew)` for CrewAI: every model call and tool call of the runs of a crew.

It takes hold by CrewAI's own hooks, for the length of a run and in that run only. Hooks are synchronous: in
an asynchronous run the loop waits for a scan. Tokens that CrewAI shows while a model still speaks are not
held back, so a crew that streams its output is refused.
"""

# CrewAI lives in an environment of its own, where no type checker looks.
# pyright: reportMissingImports=false, reportUntypedBaseClass=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from types import ModuleType
from typing import Any, TypeVar

from crewai import Crew
from crewai.hooks.dispatch import HookAborted, InterceptionPoint, get_scoped_hooks, register, scoped_hooks

from rune.errors import FailedPrecondition
from rune.integrations.checkpoint import Checkpoint, OnBlock, beside
from rune.integrations.clients import get, put, read_by_model, rows
from rune.integrations.everywhere import Everywhere, every_subclass, patch, require
from rune.integrations.layers import is_judged_above, judged_by
from rune.shield.results import ShieldBlockedError
from rune.shield.shield import Shield

C = TypeVar("C", bound=Crew)
_TEXTS = frozenset({"text", "input_text", "output_text"})
_RUNS = ("kickoff", "kickoff_for_each", "train", "test", "replay")
_ASYNC_RUNS = ("kickoff_async", "kickoff_for_each_async", "akickoff", "akickoff_for_each")


class CrewBlockedError(ShieldBlockedError, HookAborted):
    """A ShieldBlockedError that CrewAI hands on: other errors of a hook it passes over."""

    def __init__(self, error: ShieldBlockedError) -> None:
        super().__init__(error.message, scan_result=error.scan_result, policy_result=error.policy_result)
        self.reason = error.message
        self.source = "rune-shield"


def shield_crew(
    crew: C, *, shield: Shield, agent_id: str | None = None, session_id: str | None = None,
    on_block: OnBlock = "raise",
) -> C:  # fmt: skip
    """The crew under the Shield; the given one stays as it is, and both share agents and tasks.

    Without `agent_id` each agent of the crew goes by its role. Each run is a session unless one is open.
    """
    kind: Any = type(crew)
    hooks = _Hooks(shield, agent_id=agent_id, session_id=session_id, tells_model=on_block == "tool_error")
    own: dict[str, Any] = {"__module__": kind.__module__}
    own |= {name: _run(getattr(kind, name), hooks) for name in _RUNS}
    own |= {name: _arun(getattr(kind, name), hooks) for name in _ASYNC_RUNS}
    twin = crew.model_copy()
    twin.__class__ = type(kind)(kind.__name__, (kind,), own)
    return twin


def _run(theirs: Callable[..., Any], hooks: _Hooks) -> Callable[..., Any]:
    def run(self: Any, *args: Any, **more: Any) -> Any:
        with hooks.inside(self):
            return theirs(self, *args, **more)

    return run


def _arun(theirs: Callable[..., Any], hooks: _Hooks) -> Callable[..., Any]:
    async def run(self: Any, *args: Any, **more: Any) -> Any:
        with hooks.inside(self):
            return await theirs(self, *args, **more)

    return run


@contextmanager
def _stopping() -> Generator[None]:
    try:
        yield
    except ShieldBlockedError as error:
        raise CrewBlockedError(error) from error


class _Hooks:
    """What is called before and after a model and a tool."""

    def __init__(
        self, shield: Shield, *, agent_id: str | None, session_id: str | None, tells_model: bool
    ) -> None:
        self.shield = shield
        self._agent_id = agent_id
        self._session_id = session_id
        self._tells_model = tells_model
        self._checks: dict[str, Checkpoint] = {}
        self._stopped: dict[int, CrewBlockedError] = {}
        self._points: dict[InterceptionPoint, Callable[[Any], Any]] = {
            InterceptionPoint.PRE_MODEL_CALL: self._before_model,
            InterceptionPoint.POST_MODEL_CALL: self._after_model,
            InterceptionPoint.PRE_TOOL_CALL: self.before_tool,
            InterceptionPoint.POST_TOOL_CALL: self.after_tool,
        }

    def inside(self, crew: Any) -> AbstractContextManager[None]:
        """A run in which the hooks hold; one inside another changes nothing."""
        if crew.stream:
            raise FailedPrecondition(
                "a crew with stream=True shows tokens before Shield has read what follows"
            )
        return self._inside()

    @contextmanager
    def _inside(self) -> Generator[None]:
        if self._before_model in get_scoped_hooks(InterceptionPoint.PRE_MODEL_CALL):
            yield
            return
        hooks = {point: [*get_scoped_hooks(point), hook] for point, hook in self._points.items()}
        hooks |= {point: get_scoped_hooks(point) for point in InterceptionPoint if point not in hooks}
        session = self._session_id or self.shield.context.session_id or None
        with self.shield.session(session_id=session), scoped_hooks(hooks):
            yield

    def _check(self, agent: object) -> Checkpoint:
        name = self._agent_id or str(get(agent, "role") or "crew").strip()
        if name not in self._checks:
            self._checks[name] = Checkpoint(self.shield, "crewai", agent_id=name, session_id=self._session_id)
        return self._checks[name]

    def _before_model(self, context: Any) -> None:
        with _stopping():
            check = self._check(context.agent)
            for place in range(len(context.messages)):
                self._message(check, context.messages, place)

    def _message(self, check: Checkpoint, messages: Any, place: int) -> None:
        message = messages[place]
        for call in rows(get(message, "tool_calls")):
            check.name_call(str(get(call, "id") or ""), str(get(get(call, "function"), "name") or ""))
        role = get(message, "role")
        if role not in {"user", "tool"}:
            return
        tool = str(get(message, "name") or "") or check.tool_of(str(get(message, "tool_call_id") or ""))
        for path, text in read_by_model(get(message, "content"), (place, "content"), _TEXTS):
            judged = check.input(text) if role == "user" else check.result(tool, text)
            if judged is not text:
                put(messages, path, judged)

    def _after_model(self, context: Any) -> str | None:
        with _stopping():
            said = context.response
            judged = self._check(context.agent).output(said) if isinstance(said, str) else said
            return judged if judged is not said else None

    def asked(self, messages: Any, agent: object) -> Any:
        """What a model is asked, redacted if a policy says so."""
        check = self._check(agent)
        with _stopping():
            if isinstance(messages, str):
                return check.input(messages)
            ours = copy.deepcopy(messages)
            for place in range(len(ours)):
                check.own("reading a message", lambda place=place: self._message(check, ours, place), None)
            return ours

    def answered(self, said: Any, agent: object) -> Any:
        """What a model says, redacted if a policy says so."""
        with _stopping():
            return self._check(agent).output(said) if isinstance(said, str) else said

    def before_tool(self, context: Any) -> None:
        """Stops a call that may not be made."""
        try:
            self._check(context.agent).call(context.tool_name, context.tool_input)
        except ShieldBlockedError as error:
            stopped = CrewBlockedError(error)
            self._stopped[id(context.tool_input)] = stopped  # CrewAI asks once more afterwards
            raise stopped from error

    def after_tool(self, context: Any) -> str | None:
        """Takes the place of what a tool returned, where the model must not read that."""
        stopped = self._stopped.pop(id(context.tool_input), None)
        if stopped is not None:
            return self._told(stopped, self._check(context.agent).refusal(stopped))
        said = context.tool_result
        try:
            judged = (
                self._check(context.agent).result(context.tool_name, said) if isinstance(said, str) else said
            )
        except ShieldBlockedError as error:
            return self._told(CrewBlockedError(error), self._check(context.agent).withheld(error))
        return judged if judged is not said else None

    def _told(self, error: CrewBlockedError, words: str) -> str:
        if not self._tells_model:
            raise error
        return words


def guard_crews(module: ModuleType, everywhere: Everywhere) -> None:
    """Puts every model and every tool call of the process under the Shield, in crews and outside of them."""
    base: Any = module.BaseLLM
    require(base, "call", "acall", "_effective_stream")

    @functools.cache
    def hooks() -> _Hooks:
        shield = everywhere.shield()
        agent, tells = shield.config.default_agent_id, everywhere.on_block == "tool_error"
        return _Hooks(shield, agent_id=agent, session_id=None, tells_model=tells)

    def guard(kind: Any) -> None:
        patch(kind, "call", lambda theirs: _judged_call(theirs, hooks))
        patch(kind, "acall", lambda theirs: _judged_acall(theirs, hooks))

    every_subclass(base, guard)

    def before_tool(context: Any) -> None:
        hooks().before_tool(context)

    def after_tool(context: Any) -> str | None:
        return hooks().after_tool(context)

    register(InterceptionPoint.PRE_TOOL_CALL, before_tool)
    register(InterceptionPoint.POST_TOOL_CALL, after_tool)


def _judged_call(theirs: Any, hooks: Callable[[], _Hooks]) -> Callable[..., Any]:
    def call(self: Any, messages: Any, *rest: Any, **more: Any) -> Any:
        shield = hooks().shield
        # Tokens of a stream are shown while it lasts: only a client below can hold them back.
        if is_judged_above(shield) or self._effective_stream():
            return theirs(self, messages, *rest, **more)
        given = hooks().asked(messages, more.get("from_agent"))
        with judged_by(shield):
            answer = theirs(self, given, *rest, **more)
        return hooks().answered(answer, more.get("from_agent"))

    return call


def _judged_acall(theirs: Any, hooks: Callable[[], _Hooks]) -> Callable[..., Any]:
    async def acall(self: Any, messages: Any, *rest: Any, **more: Any) -> Any:
        shield = hooks().shield
        if is_judged_above(shield) or self._effective_stream():
            return await theirs(self, messages, *rest, **more)
        given = await beside(lambda: hooks().asked(messages, more.get("from_agent")))
        with judged_by(shield):
            answer = await theirs(self, given, *rest, **more)
        return await beside(lambda: hooks().answered(answer, more.get("from_agent")))

    return acall
