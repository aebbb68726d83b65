"""Events as a Shield sends them: half scans, half tool calls and results, one in twenty with a threat."""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

from rune.core.events.event import Event, EventType, Policy, Scan, Sdk, Tool

SDK = Sdk(name="runesec", version="0.1.0")
TOOLS = ("search", "read_file", "write_file", "send_mail", "query_database", "fetch_page", "pay", "summarize")
THREATS = ("prompt_injection", "jailbreak", "data_exfiltration", "secret_exposure", "pii_exposure", "ssrf")
TYPES: Sequence[EventType] = ("scan", "scan", "tool_call", "tool_result")
FRAMEWORKS = ("langchain", "openai", "anthropic", "crewai")


class Source:
    """Makes events; the same ones for the same seed."""

    def __init__(self, agents: int, seed: int = 1) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - figures have to repeat
        self._agents = [f"agent-{number:03}" for number in range(agents)]
        self._sessions = [self._uuid() for _ in range(agents)]

    def batch(self, size: int, at: datetime, *, apart: timedelta = timedelta(milliseconds=20)) -> list[Event]:
        """What one agent sends at once, from `at` on."""
        number = self._chance.randrange(len(self._agents))
        return [self._event(number, at + apart * index) for index in range(size)]

    def _event(self, number: int, at: datetime) -> Event:
        kind = self._chance.choice(TYPES)
        tool = None
        if kind != "scan":
            tool = Tool(
                name=self._chance.choice(TOOLS), arguments_hash=f"hs256:{self._chance.getrandbits(256):064x}"
            )
        return Event(
            event_id=self._uuid(),
            timestamp=at,
            agent_id=self._agents[number],
            event_type=kind,
            direction="outbound" if kind == "tool_call" else "inbound",
            session_id=self._sessions[number],
            trace_id=f"{self._chance.getrandbits(128):032x}",
            tags=("prod",),
            sdk=SDK,
            framework=FRAMEWORKS[number % len(FRAMEWORKS)],
            tool=tool,
            scan_result=self._scan(),
            policy_result=Policy(allowed=True, action="allow") if kind == "tool_call" else None,
        )

    def _scan(self) -> Scan:
        if self._chance.random() >= 0.05:
            return Scan(
                risk_score=self._chance.randrange(200) / 1000,
                blocked=False,
                l1_result="pass",
                layers_executed=("l1",),
                scan_latency_ms=0.31,
            )
        kind = self._chance.choice(THREATS)
        found = {
            "type": kind, "rule": f"{kind}.direct", "severity": "high",
            "confidence": 0.9, "layer": "l1", "start": 10, "end": 42,
        }  # fmt: skip
        return Scan(
            risk_score=0.92,
            blocked=self._chance.random() < 0.5,
            threat_type=kind,
            l1_result="block",
            layers_executed=("l1",),
            scan_latency_ms=0.42,
            threats_detected=(found,),
        )

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self._chance.getrandbits(128), version=4))
