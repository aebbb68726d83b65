"""Turns results into events and hands them on; with events off it only speaks to `debug`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from rune.core.clock import Clock
from rune.shield import events
from rune.shield.context import Context
from rune.shield.debug import Debug
from rune.shield.faults import our_fault
from rune.shield.options import ShieldConfig
from rune.shield.results import PolicyDecision, ScanResult
from rune.shield.suppress import fingerprint

KINDS = {
    "input": ("scan", "inbound"),
    "output": ("scan", "outbound"),
    "tool_result": ("tool_result", "inbound"),
}
_REPORTING = our_fault("reporting a tool call")


class Put(Protocol):
    """Takes an event that is to be sent."""

    def __call__(self, event: bytes, *, is_urgent: bool = False) -> None:
        """At once, if it is urgent."""
        ...


class Reports:
    """Writes the events of one Shield."""

    def __init__(self, config: ShieldConfig, clock: Clock, debug: Debug, *, put: Put | None) -> None:
        self._clock = clock
        self._debug = debug
        self._put = put
        self._captures = config.capture_content

    def new_id(self) -> str:
        """An id for an event; results carry it even where no event is sent."""
        return f"evt_{self._clock.new_id().replace('-', '')}"

    def scan(
        self, kind: str, text: str, context: Context, *, result: ScanResult, salt: bytes, of_event: str = ""
    ) -> None:
        """Tells of a scan; `of_event` is the earlier scan that this one goes on with."""
        with our_fault("reporting a scan"):
            self._debug.say(
                "scan",
                kind=kind,
                latency_ms=result.scan_latency_ms,
                blocked=result.blocked,
                risk_score=result.risk_score,
                threats=self._debug.threats(result.threats_detected) if self._debug.on else [],
                rule=result.policy_result.rule if result.policy_result else "",
            )
            if self._put is None:
                return
            event = self._event(*KINDS[kind], context=context, event_id=result.event_id)
            event.scan_result = events.told_scan(result)
            if kind == "tool_result":
                event.tool = {"name": context.tool}
            if result.policy_result is not None:
                event.policy_result = events.told_policy(result.policy_result)
            if result.threats_detected:
                event.metadata = {"content_fingerprint": fingerprint(salt, text)}
            if of_event:
                event.metadata = {**event.metadata, "kind": "l3_verdict", "of_event": of_event}
            if self._captures:
                event.metadata = {**event.metadata, "content": text[: events.MAX_CAPTURED]}
            self._put(events.encoded(event), is_urgent=result.blocked)

    def call(self, context: Context, arguments: object, *, decision: PolicyDecision, salt: bytes) -> None:
        """Tells of a tool call."""
        with _REPORTING:
            scan = decision.scan_result
            if self._debug.on:
                self._debug.say(
                    "decision",
                    tool=context.tool,
                    action=decision.action,
                    policy=decision.policy,
                    rule=decision.rule,
                    latency_ms=scan.scan_latency_ms if scan else None,
                )
            if self._put is None:
                return
            event = self._event("tool_call", "outbound", context=context, event_id=decision.event_id)
            event.tool = {"name": context.tool, "arguments_hash": events.arguments_hash(salt, arguments)}
            event.policy_result = events.told_policy(decision)
            if scan is not None:
                event.scan_result = events.told_scan(scan)
            if self._captures:
                event.metadata = {"arguments": events.captured_arguments(arguments)}
            if decision.approval_id:
                event.metadata = {**event.metadata, "approval_id": decision.approval_id}
            self._put(events.encoded(event), is_urgent=not decision.allowed)

    def violation(self, context: Context, outcome: ScanResult | PolicyDecision) -> None:
        """Tells that something blocked went ahead, because `on_block` is `alert`."""
        with our_fault("reporting a violation"):
            if self._put is None:
                return
            event = self._event("policy_violation", "", context=context, event_id=self.new_id())
            if isinstance(outcome, ScanResult):
                event.scan_result = events.told_scan(outcome)
            else:
                event.policy_result = events.told_policy(outcome)
            event.metadata = {"on_block": "alert", "of_event": outcome.event_id}
            self._put(events.encoded(event))

    def decision(self, context: Context, decision: PolicyDecision, *, metadata: Mapping[str, str]) -> None:
        """Tells of a decision that no call of ours asked for."""
        with our_fault("reporting a decision"):
            self._debug.say("decision", tool=context.tool, action=decision.action, rule=decision.rule)
            if self._put is None:
                return
            event = self._event("policy_violation", "", context=context, event_id=decision.event_id)
            event.tool = {"name": context.tool} if context.tool else None
            event.policy_result = events.told_policy(decision)
            if decision.scan_result is not None:
                event.scan_result = events.told_scan(decision.scan_result)
            event.metadata = dict(metadata)
            self._put(events.encoded(event))

    def false_positive(self, context: Context, event_id: str, note: str) -> None:
        """Tells that somebody takes an event for a false alarm."""
        with our_fault("reporting a false positive"):
            if self._put is None:
                return
            event = self._event("custom", "", context=context, event_id=self.new_id())
            event.metadata = {"kind": "false_positive", "of_event": event_id, "note": note[:2048]}
            self._put(events.encoded(event))

    def _event(self, event_type: str, direction: str, *, context: Context, event_id: str) -> events.Event:
        at = self._clock.now()
        return events.event(event_type, direction, context, event_id=event_id, at=at)
