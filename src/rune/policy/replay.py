"""Replay: recorded events judged by a policy. Events hold no texts and no arguments, so rules that need them
(argument_match, network_allowlist, `when` over args) see none and match nothing; counting rules count.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from rune.api.security.events import SecurityEvent
from rune.policy.action import Action, Direction, Finding
from rune.policy.compile import compile as compiled
from rune.policy.document import parse
from rune.policy.evaluate import ActivePolicy, Evaluator
from rune.policy.ledger import Ledger

_DIRECTIONS: dict[tuple[str, str], Direction] = {
    ("scan", "inbound"): "input",
    ("scan", "outbound"): "output",
    ("scan", ""): "input",
    ("tool_call", "outbound"): "tool_call",
    ("tool_call", "inbound"): "tool_call",
    ("tool_call", ""): "tool_call",
    ("tool_result", "inbound"): "tool_result",
    ("tool_result", "outbound"): "tool_result",
    ("tool_result", ""): "tool_result",
}


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """An event, what was decided then, and what the policy says now."""

    event_id: str
    agent_id: str
    then: str
    now: str
    rule: str


class Replay:
    """Judges events by the policy in a YAML text; raises InvalidArgument for one that is not good."""

    def __init__(self, yaml: str) -> None:
        self._evaluator = Evaluator([ActivePolicy(policy=compiled(parse(yaml)))])

    def rows(self, events: Iterable[SecurityEvent]) -> list[Row]:
        """One for each scan, tool call and tool result; events come in the order of their times."""
        ledger = Ledger()
        return [row for event in events if (row := self._row(event, ledger)) is not None]

    def _row(self, event: SecurityEvent, ledger: Ledger) -> Row | None:
        direction = _DIRECTIONS.get((event.event_type, event.direction))
        if direction is None:
            return None
        action = Action(
            direction=direction,
            tool=event.tool.name if event.tool else "",
            agent_id=event.agent_id,
            tags=tuple(event.tags),
            session_id=event.session_id,
            findings=tuple(_findings(event)),
        )
        verdict = self._evaluator.decide(action, ledger=ledger, now=event.timestamp.timestamp())
        then = event.policy_result.action if event.policy_result else "allow"
        return Row(
            event_id=event.event_id, agent_id=event.agent_id, then=then, now=verdict.action, rule=verdict.rule
        )


def _findings(event: SecurityEvent) -> Iterable[Finding]:
    threats: list[dict[str, Any]] = event.scan_result.threats_detected if event.scan_result else []
    for threat in threats:
        if isinstance(threat.get("type"), str):
            told = {name: threat[name] for name in Finding.__struct_fields__ if threat.get(name) is not None}
            try:
                yield msgspec.convert(told, Finding)
            except msgspec.ValidationError:
                yield Finding(type=str(threat["type"]))
