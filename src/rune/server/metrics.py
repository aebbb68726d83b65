"""What Prometheus reads: calls by operation and outcome, and whatever other parts register."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from rune.api import Operation

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)


class Metrics:
    """The dispatcher's meter, and the page at `/metrics`. Nothing is labelled by names that users choose."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._calls = Counter(
            "rune_calls",
            "Calls that ended, by operation and outcome.",
            ("operation", "outcome"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "rune_call_seconds",
            "How long calls took; a stream counts until its end.",
            ("operation",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self._counting: dict[tuple[str, str], tuple[Counter, Histogram]] = {}

    def observe(self, operation: Operation[Any, Any], outcome: str, seconds: float) -> None:
        """One call ended: `ok` or the name of a failure."""
        key = (operation.name, outcome)
        pair = self._counting.get(key)
        if pair is None:
            pair = self._counting[key] = (self._calls.labels(*key), self._seconds.labels(operation.name))
        pair[0].inc()
        pair[1].observe(seconds)

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Show a number that is read whenever the page is."""
        Gauge(f"rune_{name}", text, registry=self.registry).set_function(read)

    def page(self) -> bytes:
        """The page in Prometheus' text format."""
        return generate_latest(self.registry)
