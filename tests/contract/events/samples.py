"""Events that tests store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from rune.core.events.event import Event, EventType, Policy, Scan, Tool

NOW = datetime(2026, 3, 4, 12, 30, tzinfo=UTC)


def event(
    event_id: str = "e1", *, agent: str = "support", type: EventType = "scan", ago: float = 0.0, **more: Any
) -> Event:
    """An event of so many minutes before NOW."""
    at = NOW - timedelta(minutes=ago)
    return Event(event_id=event_id, timestamp=at, agent_id=agent, event_type=type, **more)


def blocked(event_id: str, *, threat: str = "prompt_injection", risk: float = 0.9, **more: Any) -> Event:
    """A scan that stopped something."""
    scan = Scan(risk_score=risk, blocked=True, threat_type=threat)
    return event(event_id, scan_result=scan, **more)


def call(event_id: str, tool: str, *, allowed: bool = True, **more: Any) -> Event:
    """A tool call and what the policies said to it."""
    return event(
        event_id, type="tool_call", tool=Tool(name=tool), policy_result=Policy(allowed=allowed), **more
    )
