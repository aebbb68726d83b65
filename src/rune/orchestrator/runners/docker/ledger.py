"""What is known of every instance: what was last seen of it, and the containers of its attempts.

Answers about one container may come in another order than they were asked for; `saw` keeps the newer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from rune.orchestrator.runners.base import Observed, State


@dataclass(slots=True)
class Known:
    """One instance."""

    namespace: str
    seen: Observed
    attempts: dict[int, str] = field(default_factory=dict[int, str])
    """The container of each attempt that has one still."""


class Ledger:
    """All instances; whoever waits for one is woken when it changes."""

    def __init__(self) -> None:
        self._known: dict[str, Known] = {}
        self._notify: list[Callable[[Observed], None]] = []
        self._changed: dict[str, asyncio.Event] = {}

    def on_change(self, notify: Callable[[Observed], None]) -> None:
        """Call it at each start and end."""
        self._notify.append(notify)

    def has_running(self, instance: str, attempt: int) -> bool:
        """Whether that attempt of it runs, as far as is known."""
        seen = self.seen(instance)
        return (seen.state, seen.attempt) == (State.RUNNING, attempt)

    def seen(self, instance: str) -> Observed:
        """What is known; ABSENT for nobody."""
        known = self._known.get(instance)
        return known.seen if known else Observed(instance=instance, state=State.ABSENT)

    def runs(self, container: str, instance: str) -> bool:
        """It was last seen running in this container."""
        seen = self.seen(instance)
        return seen.state is State.RUNNING and seen.container == container

    def all(self) -> Sequence[Observed]:
        """Everything that runs or ran."""
        return [known.seen for known in self._known.values()]

    def containers(self, instance: str) -> Sequence[tuple[int, str]]:
        """Attempts with their containers, oldest first."""
        known = self._known.get(instance)
        return sorted(known.attempts.items()) if known else ()

    def instances(self) -> Sequence[str]:
        """Every instance's id."""
        return list(self._known)

    def saw(self, seen: Observed, *, namespace: str, container: str) -> Observed:
        """Keep what is newer, and tell it when it is news; the answer is what is known now."""
        known = self._known.get(seen.instance)
        if known is None:
            known = self._known[seen.instance] = Known(namespace, Observed(instance="", state=State.ABSENT))
        known.attempts[seen.attempt] = container
        if known.seen != seen and _newer(seen, known.seen):
            self._tell(known, seen)
        return known.seen

    def gone(self, container: str, instance: str, *, at: datetime) -> None:
        """Its container is no more, and it was not us: if it ran, it has ended, and nobody saw how."""
        known = self._known.get(instance)
        if known is None or container not in known.attempts.values():
            return
        known.attempts = {n: kept for n, kept in known.attempts.items() if kept != container}
        if known.seen.state is State.RUNNING and known.seen.attempt not in known.attempts:
            why = "its container was removed by somebody else"
            last = msgspec.structs.replace(known.seen, pid=0, address="", published={})
            self._tell(known, msgspec.structs.replace(last, state=State.EXITED, ended_at=at, message=why))

    def drop(self, instance: str, attempt: int) -> None:
        """The container of an old attempt was removed."""
        if known := self._known.get(instance):
            known.attempts.pop(attempt, None)

    def forget(self, instance: str) -> None:
        """It was removed."""
        if self._known.pop(instance, None):
            self._wake(instance)

    def tenants(self, namespace: str) -> int:
        """How many instances live in a namespace."""
        return sum(known.namespace == namespace for known in self._known.values())

    def namespace(self, instance: str) -> str:
        """Where it lives; empty for nobody."""
        known = self._known.get(instance)
        return known.namespace if known else ""

    def wake(self) -> None:
        """Let everybody who waits look again."""
        for instance in list(self._changed):
            self._wake(instance)

    def changed(self, instance: str) -> asyncio.Event:
        """Set at the next change of it. Take it before you look, and wait for it after: nothing is missed."""
        if instance in self._known:
            return self._changed.setdefault(instance, asyncio.Event())
        over = asyncio.Event()
        over.set()
        return over

    def _tell(self, known: Known, seen: Observed) -> None:
        known.seen = seen
        self._wake(seen.instance)
        for notify in self._notify:
            notify(seen)

    def _wake(self, instance: str) -> None:
        if waiting := self._changed.pop(instance, None):
            waiting.set()


def _newer(seen: Observed, known: Observed) -> bool:
    """A later attempt; or the same, further on. Ended and running again means: started by hand since."""
    if known.state is State.ABSENT or seen.attempt != known.attempt:
        return known.state is State.ABSENT or seen.attempt > known.attempt
    if known.state is State.EXITED and seen.state is State.RUNNING:
        return bool(seen.started_at and known.ended_at and seen.started_at > known.ended_at)
    return True
