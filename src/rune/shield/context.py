"""Who is calling and in which session; what a call leaves out comes from the session, then the settings."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Self, cast

import msgspec

from rune.policy.model import SOURCES
from rune.shield.options import ShieldConfig

UNNAMED = "default"
"""The agent of calls that name none, where the settings name none either."""
MAX_NAME = 256
MAX_TAGS = 64


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """The circumstances of one call."""

    agent_id: str = UNNAMED
    session_id: str = ""
    trace_id: str = ""
    source: str = ""
    tags: tuple[str, ...] = ()
    tool: str = ""
    server: str = ""
    framework: str = ""
    tokens: int = 0


_TEXTS = ("agent_id", "session_id", "trace_id", "source", "tool", "server", "framework")


def default_context(config: ShieldConfig) -> Context:
    """The context of a call outside any session that says nothing of itself."""
    return Context(agent_id=config.default_agent_id or UNNAMED, tags=config.default_agent_tags)


def merged(base: Context, given: Mapping[str, Any] | None) -> Context:
    """The base with what a caller said; raises TypeError for a value of the wrong type.

    Keys that Rune does not know are left alone: a host may hand in what it has.
    """
    if given is None:
        return base
    if not isinstance(given, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - callers err
        raise TypeError(f"context is a mapping, not {type(given).__name__}")
    changes = {name: _text(name, given[name]) for name in _TEXTS if given.get(name) is not None}
    if changes.get("source", "chat") not in SOURCES:
        # An unknown source is third-party content: the careful reading.
        changes["source"] = "web"
    if given.get("tags") is not None:
        changes["tags"] = _tags(given["tags"])
    if given.get("tokens") is not None:
        changes["tokens"] = _count(given["tokens"])
    return msgspec.structs.replace(base, **changes)


def with_tool(base: Context, given: Mapping[str, Any] | None, tool: str) -> Context:
    """The base with what a caller said, about a tool."""
    if given:
        base = merged(base, given)
    return msgspec.structs.replace(base, tool=tool[:MAX_NAME])


def _text(name: str, value: object) -> Any:  # noqa: ANN401 - one of several fields
    if not isinstance(value, str):
        raise TypeError(f"context[{name!r}] is text, not {type(value).__name__}")
    return value[:MAX_NAME]


def _tags(value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, (list, tuple, set, frozenset)):
        raise TypeError(f"context['tags'] is a list of texts, not {type(value).__name__}")
    tags = list(cast("list[object]", value))[:MAX_TAGS]
    return tuple(_text("tags", tag) for tag in tags)


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError("context['tokens'] is a whole number of 0 or more")
    return value


class Session:
    """`with shield.session(…)`: what is said here holds for every call inside, in this thread or task."""

    def __init__(self, current: ContextVar[Context], outside: Context, context: Context) -> None:
        self._current = current
        self._outside = outside
        self._tokens: list[tuple[Token[Context], Context]] = []
        self.context = context

    @property
    def session_id(self) -> str:
        """What rate limits, budgets and taint are counted under."""
        return self.context.session_id

    def __enter__(self) -> Self:
        before = self._current.get(self._outside)
        self._tokens.append((self._current.set(self.context), before))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        token, before = self._tokens.pop()
        try:
            self._current.reset(token)
        except ValueError:  # an async generator was closed from another task
            self._current.set(before)
