"""What is judged, and the judgement: an Action goes in, a Verdict comes out; both never change."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import msgspec

from rune.policy.model import ActionName, SeverityName

Direction = Literal["input", "output", "tool_call", "tool_result"]
VerdictAction = Literal["allow", "log", "alert", "redact", "require_approval", "block"]


class Found(Protocol):
    """What rules read of a finding. The scanners' own findings fit, and so does what an event recorded."""

    @property
    def type(self) -> str:
        """A threat type such as `prompt_injection`."""
        ...

    @property
    def rule(self) -> str:
        """The rule of the scanner."""
        ...

    @property
    def severity(self) -> str:
        """critical, high, medium or low."""
        ...

    @property
    def confidence(self) -> float:
        """From 0 to 1."""
        ...

    @property
    def category(self) -> str | None:
        """The kind of personal data or secret; without one the rule's name tells the kind."""
        ...


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """The least that a finding is; for replaying events, and for whoever scans by other means."""

    type: str
    rule: str = ""
    category: str | None = None
    severity: str = "medium"
    confidence: float = 1.0


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """Something an agent is about to read, say or do."""

    direction: Direction = "tool_call"
    tool: str = ""
    arguments: Any = None
    """Of a tool call: usually a mapping; JSON text and other objects are read as one (see `values.py`)."""
    agent_id: str = ""
    tags: tuple[str, ...] = ()
    session_id: str = ""
    organization: str = "default"
    source: str = ""
    """Where content came from: chat, rag, tool, email or web."""
    server: str = ""
    """The MCP server that offers the tool."""
    findings: tuple[Found, ...] = ()
    tokens: int = 0
    """Tokens that this step used; counted towards budgets."""


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """One rule that matched."""

    rule: str
    policy: str
    policy_id: str
    policy_version: int
    severity: SeverityName
    action: ActionName
    """What follows; in monitor mode `log` in the place of what would interfere."""
    declared: ActionName
    """What the rule says, whatever the mode."""
    explanation: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The judgement of all policies: that of the strictest rule that matched, or `allow`."""

    action: VerdictAction = "allow"
    allowed: bool = True
    """False when the action is `block` or `require_approval`."""
    rule: str = ""
    policy: str = ""
    policy_id: str = ""
    policy_version: int = 0
    severity: SeverityName | None = None
    explanation: str = ""
    would: VerdictAction = "allow"
    """What the action would be if no policy were in monitor mode."""
    matches: tuple[Match, ...] = ()
    """Every rule that matched, the strictest first."""


ALLOW = Verdict()
