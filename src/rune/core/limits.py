"""Limits: token buckets that count exactly. All of them belong to one event loop and never wait.

Levels are whole numbers of nanoseconds times calls, so that nothing is lost to rounding: a quota of 100 lets
exactly 100 through at once, however often it is asked and whatever the weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from rune.api import Operation, Rate
from rune.core.access import NOBODY, Principal
from rune.core.clock import Clock
from rune.errors import ResourceExhausted

NANO: Final = 1_000_000_000
MOST_BUCKETS: Final = 10_000
"""Past this many, the bucket that was not used for longest is forgotten, which fills it again."""


MOST_QUOTAS: Final = 1_000
"""Different quotas that are kept buckets for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """So many a period; `burst` of them may come at once, all of them unless told otherwise."""

    count: int
    seconds: int = 60
    burst: int = 0

    def __post_init__(self) -> None:
        if self.count < 1 or self.seconds < 1 or self.burst < 0:
            raise ValueError(f"a quota counts at least 1 in at least 1 second, not {self}")

    @property
    def full(self) -> int:
        """What may come at once."""
        return self.burst or self.count

    def __str__(self) -> str:
        return f"{self.count} in {self.seconds} s"


class Bucket:
    """What is left of one quota. It starts full."""

    __slots__ = ("_at", "_level", "_quota")

    def __init__(self, quota: Quota, now: float) -> None:
        self._quota = quota
        self._at = round(now * NANO)
        self._level = quota.full * quota.seconds * NANO

    def take(self, now: float, weight: int = 1) -> float:
        """Take `weight` and return 0, or take nothing and return the seconds until it could be had.

        Infinity, when the quota never allows so much at once. A weight of 0 asks if 1 could be had.
        """
        quota = self._quota
        unit = quota.seconds * NANO
        at = round(now * NANO)
        if at > self._at:
            self._level = min(quota.full * unit, self._level + (at - self._at) * quota.count)
            self._at = at
        missing = max(weight, 1) * unit - self._level
        if missing <= 0:
            self._level -= weight * unit
            return 0.0
        if weight > quota.full:
            return math.inf
        # A microsecond more, since a float cannot name every nanosecond.
        return -(-missing // quota.count) / NANO + 1e-6

    @property
    def level(self) -> Level:
        """What was left after the last `take`."""
        quota = self._quota
        missing = quota.full * quota.seconds * NANO - self._level
        return Level(quota.full, self._level // (quota.seconds * NANO), -(-missing // (quota.count * NANO)))


class Level(NamedTuple):
    """How full a bucket is: what it holds at most, what it holds, in how many seconds it is full again."""

    limit: int
    remaining: int
    reset: int

    def headers(self) -> dict[str, str]:
        """The same for HTTP."""
        return {
            "ratelimit-limit": str(self.limit),
            "ratelimit-remaining": str(self.remaining),
            "ratelimit-reset": str(self.reset),
        }


class Buckets:
    """One bucket for each key, of the same quota; at most `most` of them."""

    def __init__(self, quota: Quota, clock: Clock, *, most: int = MOST_BUCKETS) -> None:
        self._quota = quota
        self._clock = clock
        self._most = most
        self._buckets: dict[str, Bucket] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def level(self, key: str) -> Level | None:
        """Of the key's own bucket; None for one that was never asked."""
        bucket = self._buckets.get(key)
        return None if bucket is None else bucket.level

    def take(self, key: str, weight: int = 1) -> float:
        """As `Bucket.take`, from the key's own bucket."""
        now = self._clock.monotonic()
        bucket = self._buckets.pop(key, None)
        if bucket is None:
            bucket = Bucket(self._quota, now)
            if len(self._buckets) >= self._most:
                del self._buckets[next(iter(self._buckets))]
        self._buckets[key] = bucket  # the newest stands last
        return bucket.take(now, weight)


class OpenStreams:
    """Counts what each principal has open; all its credentials together."""

    def __init__(self, most: int = 256) -> None:
        self._most = most
        self._open: dict[str, int] = {}

    @contextmanager
    def holding(self, principal: Principal) -> Generator[None]:
        """One more, until the block ends; raises ResourceExhausted where that is too many."""
        count = self._open.get(principal.id, 0)
        if count >= self._most:
            raise ResourceExhausted(
                f"{principal.name} has {count} streams open, the most there may be (limits.open-streams): "
                "end some first"
            )
        self._open[principal.id] = count + 1
        try:
            yield
        finally:
            left = self._open[principal.id] - 1
            if left:
                self._open[principal.id] = left
            else:
                del self._open[principal.id]


OF_ORGANIZATIONS: Final = frozenset({Rate.READ, Rate.WRITE, Rate.EVENTS, Rate.SDK})
"""Classes that are counted for an organization, all its callers together; others for each principal.

A stranger belongs to no organization, and takes nothing from one.
"""

Own = Callable[[str, str], Quota | None]
"""The quota that an organization has of its own for a class."""


class Limits:
    """Counts calls by the operation's rate class; one without quota is not counted."""

    def __init__(
        self, clock: Clock, quotas: Mapping[str, Quota] | None = None, *, own: Own | None = None
    ) -> None:
        self._clock = clock
        self._quotas = dict(quotas or {})
        self._own = own
        self._buckets: dict[tuple[str, Quota], Buckets] = {}

    def take(self, operation: Operation[Any, Any], principal: Principal, weight: int = 1) -> Level | None:
        """Count one call, or something that weighs more; raises ResourceExhausted and then counts nothing.

        A weight of 0 counts nothing and raises when not even 1 could be had.
        """
        rate = operation.rate
        for_all = rate in OF_ORGANIZATIONS and principal.kind != NOBODY.kind
        quota = (
            self._own(principal.organization, rate) if for_all and self._own else None
        ) or self._quotas.get(rate)
        if quota is None:
            return None
        key = principal.organization if for_all else principal.id
        buckets = self._of(rate, quota)
        wait = buckets.take(key, weight)
        level = buckets.level(key)
        if not wait:
            return level
        headers = level.headers() if level and for_all else {}
        if math.isinf(wait):
            raise ResourceExhausted(
                f"{weight} at once is more than the limit for {rate} calls ever allows ({quota})",
                headers=headers,
            )
        what = "events" if rate is Rate.EVENTS else f"{rate} calls"
        raise ResourceExhausted(f"limit for {what} reached ({quota})", retry_after=wait, headers=headers)

    def _of(self, rate: str, quota: Quota) -> Buckets:
        """The buckets of a quota; an organization whose quota changes begins with a full one."""
        found = self._buckets.get((rate, quota))
        if found is None:
            if len(self._buckets) >= MOST_QUOTAS:
                del self._buckets[next(iter(self._buckets))]
            found = self._buckets[rate, quota] = Buckets(quota, self._clock)
        return found
