"""`shield_crew(crew)` for CrewAI: every model call and tool call of the runs of a crew.

It takes hold by CrewAI's own hooks, for the length of a run and in that run only. Hooks are synchronous: in
an asynchronous run the loop waits for a scan. Tokens that CrewAI shows while a model still speaks are not
held back, so a crew that streams its output is refused.
"""

# CrewAI lives in an environment of its own, where no type checker looks.
# pyright: reportMissingImports=false, reportUntypedBaseClass=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

from crewai import Crew
from crewai.hooks.dispatch import HookAborted, InterceptionPoint, get_scoped_hooks, scoped_hooks

from rune.errors import FailedPrecondition
from rune.integrations.checkpoint import Checkpoint, OnBlock, refusal, withheld
from rune.integrations.clients import get, put, rows, texts_of
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
        self._shield = shield
        self._agent_id = agent_id
        self._session_id = session_id
        self._tells_model = tells_model
        self._checks: dict[str, Checkpoint] = {}
        self._stopped: dict[int, CrewBlockedError] = {}
        self._points: dict[InterceptionPoint, Callable[[Any], Any]] = {
            InterceptionPoint.PRE_MODEL_CALL: self._before_model,
            InterceptionPoint.POST_MODEL_CALL: self._after_model,
            InterceptionPoint.PRE_TOOL_CALL: self._before_tool,
            InterceptionPoint.POST_TOOL_CALL: self._after_tool,
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
        session = self._session_id or self._shield.context.session_id or None
        with self._shield.session(session_id=session), scoped_hooks(hooks):
            yield

    def _check(self, context: Any) -> Checkpoint:
        name = self._agent_id or str(get(context.agent, "role") or "crew").strip()
        if name not in self._checks:
            self._checks[name] = Checkpoint(
                self._shield, "crewai", agent_id=name, session_id=self._session_id
            )
        return self._checks[name]

    def _before_model(self, context: Any) -> None:
        with _stopping():
            check = self._check(context)
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
        for path, text in texts_of(get(message, "content"), (place, "content"), _TEXTS):
            judged = check.input(text) if role == "user" else check.result(tool, text)
            if judged is not text:
                put(messages, path, judged)

    def _after_model(self, context: Any) -> str | None:
        with _stopping():
            said = context.response
            judged = self._check(context).output(said) if isinstance(said, str) else said
            return judged if judged is not said else None

    def _before_tool(self, context: Any) -> None:
        try:
            self._check(context).call(context.tool_name, context.tool_input)
        except ShieldBlockedError as error:
            stopped = CrewBlockedError(error)
            self._stopped[id(context.tool_input)] = stopped  # CrewAI asks once more afterwards
            raise stopped from error

    def _after_tool(self, context: Any) -> str | None:
        stopped = self._stopped.pop(id(context.tool_input), None)
        if stopped is not None:
            return self._told(stopped, refusal(stopped))
        said = context.tool_result
        try:
            judged = self._check(context).result(context.tool_name, said) if isinstance(said, str) else said
        except ShieldBlockedError as error:
            return self._told(CrewBlockedError(error), withheld(error))
        return judged if judged is not said else None

    def _told(self, error: CrewBlockedError, words: str) -> str:
        if not self._tells_model:
            raise error
        return words
