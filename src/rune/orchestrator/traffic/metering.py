"""What `/metrics` says of the traffic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from rune.orchestrator.traffic.switchboard import Switchboard


class Meters(Protocol):
    """Where numbers are shown."""

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """A number that goes up and down."""
        ...

    def counters(self, name: str, text: str, read: Callable[[], Mapping[str, float]]) -> None:
        """Numbers that only grow, by kind."""
        ...


def show(meters: Meters, switchboard: Switchboard) -> None:
    """Show what the switchboard counts."""
    counts = switchboard.counts
    meters.gauge("traffic_connections", "Connections to services that are open.", lambda: counts.active)
    meters.counters(
        "traffic_accepted",
        "Connections to services that came, by what became of them at first.",
        lambda: {
            "passed": counts.passed,
            "denied": counts.denied,
            "refused": counts.refused,
            "failed": counts.failed,
        },
    )
    meters.counters(
        "traffic_retries",
        "Attempts to reach a copy that another had to follow.",
        lambda: {"dial": counts.retried},
    )
    meters.counters(
        "traffic_bytes",
        "Bytes of services that went through.",
        lambda: {"received": counts.received, "sent": counts.sent},
    )
