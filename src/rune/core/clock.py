"""Time, ids and chance come from here and are handed in, so that a test decides what they are."""

from __future__ import annotations

import os
import random
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Protocol

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""Where a manual clock starts unless told otherwise."""
_VERSION_4 = 0x4000 << 64 | 0x8000 << 48
_FREE = ~(0xF000 << 64 | 0xC000 << 48)
"""The bits of a UUID that say no version and no variant."""
_IDS = random.Random()  # noqa: S311 - ids have to differ, and are no secret; its seed is the kernel's
os.register_at_fork(after_in_child=_IDS.seed)


class Clock(Protocol):
    """What a component may know about time, and where it gets ids and luck. Not for keys or tokens."""

    def now(self) -> datetime:
        """The time of day, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; only differences mean something."""
        ...

    def new_id(self) -> str:
        """A fresh UUID (version 4) in its usual form of 36 characters."""
        ...

    def random(self) -> float:
        """A number from 0 up to but not including 1, for jitter."""
        ...


class SystemClock:
    """The machine's own time and randomness."""

    def __init__(self) -> None:
        self._chance = random.SystemRandom()

    def now(self) -> datetime:
        """The time of day, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def new_id(self) -> str:
        """A fresh UUID (version 4), without asking the kernel each time as `uuid.uuid4` does."""
        text = (_IDS.getrandbits(128) & _FREE | _VERSION_4).to_bytes(16).hex()
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def random(self) -> float:
        """A number from 0 up to but not including 1."""
        return self._chance.random()


class ManualClock:
    """A clock that stands still until it is moved; its ids and chances repeat for a given seed."""

    def __init__(self, start: datetime = EPOCH, *, seed: int = 0) -> None:
        self._start = start
        self._elapsed = 0.0
        self._chance = random.Random(seed)  # noqa: S311 - it has to repeat itself

    def now(self) -> datetime:
        """The start, and all that was advanced since."""
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        """The seconds advanced so far."""
        return self._elapsed

    def new_id(self) -> str:
        """The next UUID of the seed."""
        return str(uuid.UUID(int=self._chance.getrandbits(128), version=4))

    def random(self) -> float:
        """The next number of the seed."""
        return self._chance.random()

    def advance(self, seconds: float) -> None:
        """Move on; raises ValueError for a step back."""
        if seconds < 0:
            message = f"a clock goes forward only, not by {seconds} seconds"
            raise ValueError(message)
        self._elapsed += seconds
