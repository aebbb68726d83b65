"""Counters that threads share, and the latencies of the last scans."""

from __future__ import annotations

from collections import deque
from threading import Lock

SAMPLES = 1_024
NAMES = (
    "events_sent_total", "events_failed_total", "events_dropped_total", "scans_total", "blocks_total",
    "decisions_total", "faults_total", "suppressed_total",
    "l3_judged_total", "l3_skipped_total",
)  # fmt: skip
"""The counters of the contract; there are no others."""


class Stats:
    """What a Shield has done and lost since it was made, or since its process was forked."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: dict[str, int] = dict.fromkeys(NAMES, 0)
        self._lost: dict[str, int] = {}
        self._latencies: deque[float] = deque(maxlen=SAMPLES)

    def add(self, name: str, count: int = 1) -> None:
        """Counts something."""
        with self._lock:
            self._counts[name] += count

    def lost(self, reason: str, count: int, *, name: str = "events_dropped_total") -> None:
        """Counts events that nobody will see."""
        with self._lock:
            self._counts[name] += count
            self._lost[reason] = self._lost.get(reason, 0) + count

    def scanned(self, milliseconds: float, *, blocked: bool) -> None:
        """Counts a scan."""
        with self._lock:
            self._counts["scans_total"] += 1
            if blocked:
                self._counts["blocks_total"] += 1
            self._latencies.append(milliseconds)

    def decided(self, *, blocked: bool) -> None:
        """Counts a decision on a tool call."""
        with self._lock:
            self._counts["decisions_total"] += 1
            if blocked:
                self._counts["blocks_total"] += 1

    def report(self) -> dict[str, object]:
        """All of it by the names of the contract."""
        with self._lock:
            counts, lost, latencies = dict(self._counts), dict(self._lost), sorted(self._latencies)
        return {
            **counts,
            "losses": lost,
            "scan_latency_ms_p50": _share(latencies, 0.5),
            "scan_latency_ms_p99": _share(latencies, 0.99),
        }

    def after_fork(self) -> None:
        """A child begins at zero, with a lock that nobody holds."""
        self.__init__()


def _share(ordered: list[float], share: float) -> float:
    return round(ordered[min(int(len(ordered) * share), len(ordered) - 1)], 4) if ordered else 0.0
