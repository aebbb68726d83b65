"""What Prometheus reads: calls by operation and outcome, and whatever other parts register."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from rune.api import Operation

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)


class Tally:
    """Calls of one operation with one outcome, by how long they took. Plain numbers, to be quick."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(SECONDS) + 1)
        self.seconds = 0.0


class Metrics:
    """The dispatcher's meter, and the page at `/metrics`. Nothing is labelled by names that users choose."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._tallies: dict[tuple[str, str], Tally] = {}
        self._counters: list[tuple[str, str, Callable[[], Mapping[str, float]]]] = []
        self.registry.register(self)

    def observe(self, operation: Operation[Any, Any], outcome: str, seconds: float) -> None:
        """One call ended: `ok` or the name of a failure."""
        key = (operation.name, outcome)
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = Tally()
        tally.seconds += seconds
        tally.counts[bisect_left(SECONDS, seconds)] += 1

    def collect(self) -> Iterator[Metric]:
        """What was counted, in the library's form; called whenever the page is read."""
        calls = CounterMetricFamily(
            "rune_calls", "Calls that ended, by operation and outcome.", labels=("operation", "outcome")
        )
        took = HistogramMetricFamily(
            "rune_call_seconds",
            "How long calls took; a stream counts until its end.",
            labels=("operation", "outcome"),
        )
        for labels, tally in self._tallies.items():
            running = list(accumulate(tally.counts))
            bounds = [*map(str, SECONDS), "+Inf"]
            calls.add_metric(labels, running[-1])
            took.add_metric(labels, list(zip(bounds, running, strict=True)), tally.seconds)
        yield calls
        yield took
        for name, text, read in self._counters:
            family = CounterMetricFamily(f"rune_{name}", text, labels=("kind",))
            for kind, number in read().items():
                family.add_metric((kind,), number)
            yield family

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Show a number that is read whenever the page is."""
        Gauge(f"rune_{name}", text, registry=self.registry).set_function(read)

    def counters(self, name: str, text: str, read: Callable[[], Mapping[str, float]]) -> None:
        """Show numbers that only grow, by kind; read whenever the page is."""
        self._counters.append((name, text, read))

    def page(self) -> bytes:
        """The page in Prometheus' text format."""
        return generate_latest(self.registry)
