"""Asks the L3 judge after the scan has answered: bounded, in a thread of its own, and told as an event."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Condition, Thread
from typing import NamedTuple

from rune.core.clock import Clock
from rune.policy.scanners.finding import Finding
from rune.policy.scanners.judge import Judge, NoRuling
from rune.shield.context import Context
from rune.shield.faults import our_fault
from rune.shield.stats import Stats

MOST_WAITING = 256
"""Texts that wait for the judge; the oldest is dropped and counted."""


class Thought(NamedTuple):
    """A text that has passed already, and where."""

    kind: str
    text: str
    context: Context
    event_id: str
    direction: str
    source: str


class Afterthoughts:
    """Takes texts from any thread; `tell` is called with what the judge found in one."""

    def __init__(
        self, judge: Judge, clock: Clock, stats: Stats, *, tell: Callable[[Thought, list[Finding]], None]
    ) -> None:
        self.judge = judge
        self._clock = clock
        self._stats = stats
        self._tell = tell
        self._reset()

    def _reset(self) -> None:
        self._changed = Condition()
        self._waiting: deque[Thought] = deque()
        self._thread: Thread | None = None
        self._busy = False
        self._closed = False

    def put(self, thought: Thought) -> None:
        """Takes a text; never waits."""
        with self._changed:
            if self._closed:
                self._stats.lost("l3_closed", 1, name="l3_skipped_total")
                return
            if len(self._waiting) >= MOST_WAITING:
                self._waiting.popleft()
                self._stats.lost("l3_queue_full", 1, name="l3_skipped_total")
            self._waiting.append(thought)
            if self._thread is None or not self._thread.is_alive():
                self._thread = Thread(target=self._run, name="rune-shield-judge", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, timeout: float) -> bool:
        """Whether all that waited was judged within the time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._busy, timeout)

    def close(self, timeout: float) -> None:
        """Judges what it can within the time; the rest is counted as skipped."""
        done = self.flush(timeout) if timeout else False
        with self._changed:
            self._closed = True
            if not done and self._waiting:
                self._stats.lost("l3_closed", len(self._waiting), name="l3_skipped_total")
                self._waiting.clear()
            self._changed.notify_all()

    def after_fork(self) -> None:
        """The child begins with nothing that waits."""
        self.judge.after_fork()
        self._reset()

    def _run(self) -> None:
        while (thought := self._next()) is not None:
            with our_fault("asking the judge"):
                self._ask(thought)
            with self._changed:
                self._busy = False
                self._changed.notify_all()
        self.judge.close()

    def _next(self) -> Thought | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return None
            self._busy = True
            return self._waiting.popleft()

    def _ask(self, thought: Thought) -> None:
        deadline = self._clock.monotonic() + self.judge.endpoint.timeout
        try:
            found = self.judge.scan(
                thought.text, direction=thought.direction, source=thought.source, deadline=deadline
            )
        except NoRuling as error:
            self._stats.lost(f"l3_{error}", 1, name="l3_skipped_total")
            return
        self._stats.add("l3_judged_total")
        self._tell(thought, found)
