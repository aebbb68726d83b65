"""The garbage collector of a server: pauses stay short, however much is kept.

What has survived a full collection is frozen: the next looks only at what has come since. Cycles that die
later are found when everything is looked at once more, which is once a day.
"""

from __future__ import annotations

import gc
from typing import Any, Final

from rune.core.clock import Clock

THRESHOLDS: Final = (5_000, 2, 1)
"""New objects before the youngest are looked at, and how often before the older are: at most some
40,000 at a time, which takes about 15 ms."""
THAW: Final = 24 * 3600.0
"""Seconds after which everything is looked at again."""


class Collection:
    """Freezes what stays; `begin` once everything is up."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._thawed = clock.monotonic()

    def begin(self) -> None:
        """From now on; what is there by now stays."""
        gc.set_threshold(*THRESHOLDS)
        gc.freeze()
        gc.enable()
        gc.callbacks.append(self._heed)

    def end(self) -> None:
        """As before `begin`, but for the thresholds."""
        gc.callbacks.remove(self._heed)
        gc.unfreeze()

    def _heed(self, phase: str, info: dict[str, Any]) -> None:
        if phase != "stop" or info["generation"] != 2:  # noqa: PLR2004 - the oldest of three
            return
        if self._clock.monotonic() - self._thawed >= THAW:
            self._thawed = self._clock.monotonic()
            gc.unfreeze()  # the next full collection looks at everything, and freezes what it leaves
        else:
            gc.freeze()
