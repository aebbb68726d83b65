"""What rules must remember between calls: rate limits, budgets, sequences and taint.

A ledger is bounded: past `capacity` the records that were used longest ago are forgotten, and counted in
`forgotten`. Times are seconds of one clock, handed in; a clock that goes back is read as standing still.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from threading import RLock
from typing import TypeVar

CAPACITY = 50_000
_EXACT = 64
"""Up to this many calls a window keeps each one's time; a larger one keeps 64 sums."""

Key = tuple[str, ...]


class Window:
    """How many calls there were in the last so many seconds.

    A large window rounds up by 1/64 of its length at most, so that it never allows more than it says.
    """

    __slots__ = ("_entries", "_grain", "_seconds", "_total")

    def __init__(self, limit: int, seconds: float) -> None:
        self._seconds = seconds
        self._grain = 0.0 if limit <= _EXACT else seconds / _EXACT
        self._entries: deque[tuple[float, int]] = deque()
        self._total = 0

    def count(self, now: float) -> int:
        """Calls in the window that ends now."""
        entries = self._entries
        while entries and entries[0][0] + self._grain <= now - self._seconds:
            self._total -= entries.popleft()[1]
        return self._total

    def add(self, now: float) -> None:
        """Count a call."""
        self.count(now)
        self._total += 1
        if self._entries and self._grain:
            start, calls = self._entries[-1]
            if now < start + self._grain:
                self._entries[-1] = (start, calls + 1)
                return
        self._entries.append((now, 1))

    def frees_at(self) -> float:
        """When the oldest call leaves the window."""
        return self._entries[0][0] + self._grain + self._seconds if self._entries else 0.0


class Tally:
    """Steps and tokens used so far."""

    __slots__ = ("steps", "tokens")

    def __init__(self) -> None:
        self.steps = 0
        self.tokens = 0


class Progress:
    """How far a sequence has come: the latest start of each beginning of it that was seen."""

    __slots__ = ("starts",)

    def __init__(self, steps: int) -> None:
        self.starts: list[float | None] = [None] * steps

    def completes(self, now: float, within: float) -> bool:
        """Whether the last step, done now, would complete it in time."""
        start = self.starts[-2]
        return start is not None and now - start <= within

    def advance(self, matching: list[int], now: float) -> None:
        """Note a call that is these steps (by index); one call never counts for two steps in a row."""
        for step in reversed(matching):
            start = now if step == 0 else self.starts[step - 1]
            if start is not None:
                self.starts[step] = max(start, self.starts[step] or start)


class Taint:
    """The first untrusted thing that entered a session."""

    __slots__ = ("origin", "since")

    def __init__(self) -> None:
        self.origin = ""
        self.since = 0.0


State = TypeVar("State", Window, Tally, Progress, Taint)


class Ledger:
    """A bounded memory of rules; hold `lock` from the first look to the last note."""

    def __init__(self, *, capacity: int = CAPACITY) -> None:
        self.lock = RLock()
        self.forgotten = 0
        self._capacity = capacity
        self._records: OrderedDict[Key, Window | Tally | Progress | Taint] = OrderedDict()
        self._now = float("-inf")

    def __len__(self) -> int:
        return len(self._records)

    def time(self, now: float) -> float:
        """`now`, or the latest time seen if the clock went back."""
        self._now = max(self._now, now)
        return self._now

    def find(self, kind: type[State], key: Key) -> State | None:
        """The record, or None if nothing was noted under the key."""
        record = self._records.get(key)
        if not isinstance(record, kind):
            return None
        self._records.move_to_end(key)
        return record

    def note(self, kind: type[State], key: Key, make: Callable[[], State]) -> State:
        """The record to write to, made when there is none."""
        record = self.find(kind, key)
        if record is None:
            record = make()
            self._records[key] = record
            self._records.move_to_end(key)
            if len(self._records) > self._capacity:
                self._records.popitem(last=False)
                self.forgotten += 1
        return record

    def forget(self, *, session: str) -> None:
        """Drop everything of a session that has ended."""
        with self.lock:
            for key in [key for key in self._records if key[-1] == session and session]:
                del self._records[key]
