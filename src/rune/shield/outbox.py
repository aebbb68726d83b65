"""Events that wait to be sent: bounded, the oldest goes first when there is no room, and is counted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice
from threading import Condition, Lock

MAX_BYTES = 4 << 20
"""Of one batch; the control plane takes 5 MiB."""


class Outbox:
    """A queue whose `changed` tells the sender of the first event, and of a full batch."""

    def __init__(self, limit: int, batch: int, now: Callable[[], float]) -> None:
        self._lock = Lock()
        self.changed = Condition(self._lock)
        self.since = 0.0
        """When the oldest event came, or the last batch was taken."""
        self._events: deque[bytes] = deque()
        self._limit = limit
        self._batch = batch
        self._now = now

    def __len__(self) -> int:
        return len(self._events)

    def put(self, event: bytes) -> bool:
        """Adds an event; whether the oldest had to go for it."""
        with self._lock:  # that of `changed`, whose own entrance takes longer
            count = len(self._events)
            full = count >= self._limit
            if full:
                self._events.popleft()
            self._events.append(event)
            if count == 0:
                self.since = self._now()
            if count == 0 or count + 1 == self._batch:
                self.changed.notify_all()
        return full

    def take(self) -> list[bytes]:
        """The next batch, at most 4 MiB of it unless one event is larger; hold `changed`."""
        batch: list[bytes] = []
        size = 0
        for event in islice(self._events, self._batch):
            size += len(event)
            if batch and size > MAX_BYTES:
                break
            batch.append(event)
        for _ in batch:
            self._events.popleft()
        self.since = self._now()
        return batch
