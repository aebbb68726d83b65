"""Requests that wait for an answer: what an answer means is known by its question alone."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from rune.mcp.proxy.messages import Json, Key

MOST = 10_000
MOST_CANCELLED = 1_000
MOST_ABOUT = 200
"""Characters that are kept of what a question is about."""


class Question(NamedTuple):
    """A request that was sent on."""

    identity: Json
    method: str
    about: str
    is_modern: bool


class InFlight:
    """The questions of one side. A cancelled one is remembered for a while: its answer may be on its way."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._open: dict[Key, Question] = {}
        self._cancelled: OrderedDict[Key, Question] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    @property
    def is_full(self) -> bool:
        """No more can be asked before something is answered."""
        return len(self._open) >= self._most

    def __contains__(self, key: Key) -> bool:
        return key in self._open

    def add(self, key: Key, question: Question) -> None:
        """A question was sent on."""
        self._cancelled.pop(key, None)
        self._open[key] = question._replace(
            about=question.about[:MOST_ABOUT], method=question.method[:MOST_ABOUT]
        )

    def cancel(self, key: Key) -> None:
        """Whoever asked does not wait any more."""
        question = self._open.pop(key, None)
        if question is not None:
            self._cancelled[key] = question
            if len(self._cancelled) > MOST_CANCELLED:
                self._cancelled.popitem(last=False)

    def take(self, key: Key) -> Question | None:
        """The question of an answer, which it takes away; None for an answer to nothing."""
        return self._open.pop(key, None) or self._cancelled.pop(key, None)

    def drain(self) -> list[Question]:
        """All that wait, who will not be answered any more."""
        questions, self._open = list(self._open.values()), {}
        return questions
