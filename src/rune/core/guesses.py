"""Guesses: wrong credentials of one source are answered more and more slowly, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rune.core.clock import Clock
from rune.core.limits import MOST_BUCKETS, Quota

LONGEST_WAIT: Final = 900.0
"""Seconds; reached after ten wrong ones past the quota."""
FORGIVEN: Final = 3600.0
"""Seconds without a wrong one, after which a source starts anew."""


@dataclass(slots=True)
class _Source:
    """What is known of one source."""

    at: float
    """When its last wrong one was heard."""
    level: float = 0.0
    """Wrong ones that are not forgiven yet."""
    strikes: int = 0
    until: float = 0.0
    """Before that moment no further one is heard."""


class Guesses:
    """So many wrong ones by the quota; from then on each makes the wait for the next twice as long."""

    def __init__(self, quota: Quota, clock: Clock, *, most: int = MOST_BUCKETS) -> None:
        self._quota, self._clock, self._most = quota, clock, most
        self._sources: dict[str, _Source] = {}

    def __len__(self) -> int:
        return len(self._sources)

    def take(self, key: str) -> float:
        """Count a wrong one and return 0, or the seconds until the next one is heard."""
        now = self._clock.monotonic()
        known = self._sources.pop(key, None)
        if known is None or now - known.at >= FORGIVEN:
            known = _Source(now)
            if len(self._sources) >= self._most:
                del self._sources[next(iter(self._sources))]
        self._sources[key] = known  # the newest stands last
        if now < known.until:
            return known.until - now
        forgiven = (now - known.at) * self._quota.count / self._quota.seconds
        known.level, known.at = max(known.level - forgiven, 0.0) + 1, now
        if known.strikes or known.level >= self._quota.full:
            known.strikes += 1
            known.until = now + min(2.0**known.strikes, LONGEST_WAIT)
        return 0.0

    def forgive(self, key: str) -> None:
        """Take the last one back: it was right. What was wrong before is not forgiven by that."""
        known = self._sources.get(key)
        if known is not None:
            known.level, known.strikes = max(known.level - 1, 0.0), max(known.strikes - 1, 0)
            known.until = 0.0
