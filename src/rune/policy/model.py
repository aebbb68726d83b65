"""The rules of a policy as Structs. The YAML form and the compiled form are made of the same ones."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

Json: TypeAlias = Any
"""A JSON value of any shape; whoever reads it checks the type."""

ActionName = Literal["block", "require_approval", "redact", "alert", "log"]
SeverityName = Literal["critical", "high", "medium", "low"]
DirectionName = Literal["input", "output", "tool", "any"]
Mode = Literal["enforce", "monitor"]
PerName = Literal["agent", "tool", "session", "org"]

VERSION = "1.0"
"""The version of the YAML form."""

STRICTNESS: dict[str, int] = {"log": 1, "alert": 2, "redact": 3, "require_approval": 4, "block": 5}
"""Of several rules that match, the one with the highest number decides."""

SEVERITY: dict[str, int] = {"low": 1, "medium": 2, "high": 3, "critical": 4}

THREATS = (
    "prompt_injection", "jailbreak", "data_exfiltration", "system_prompt_leak", "command_injection",
    "sql_injection", "path_traversal", "ssrf", "tool_manipulation", "secret_exposure", "pii_exposure",
    "invisible_text", "behavioral_anomaly",
)  # fmt: skip
"""What a scanner can find."""

SCANNERS: dict[str, str] = {
    **{threat: threat for threat in THREATS},
    "pii_detection": "pii_exposure",
    "pii": "pii_exposure",
    "secrets": "secret_exposure",
    "tool_call": "tool_call",
    "any": "any",
}
"""What may stand after `scanner:`, and the threat that it means; `tool_call` and `any` are all of them."""

PATTERNS: dict[str, str] = {
    name: name
    for name in ("ssn", "credit_card", "email", "phone_number", "iban", "ip_address", "passport", "us_itin")
}
"""What `data_protection` can look for."""

SOURCES = ("chat", "rag", "tool", "email", "web")
"""Where content can come from."""

MAX_RULES = 500
MAX_SERVERS = 250
RESERVED_PREFIX = "mcp."
"""Names of rules that the `mcp` section turns into."""
_DAYS_31 = 31 * 24 * 3600

Name = Annotated[str, Meta(min_length=1, max_length=128)]
Text = Annotated[str, Meta(max_length=2048)]
Glob = Annotated[str, Meta(min_length=1, max_length=256)]
Globs = Annotated[tuple[Glob, ...], Meta(max_length=1000)]
SomeGlobs = Annotated[tuple[Glob, ...], Meta(min_length=1, max_length=1000)]
Seconds = Annotated[float, Meta(gt=0, le=_DAYS_31)]
Count = Annotated[int, Meta(ge=1, le=10**12)]
Confidence = Annotated[float, Meta(ge=0, le=1)]
Regex = Annotated[str, Meta(min_length=1, max_length=1024)]


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """What every rule has: a name that is unique in its policy, and what follows from a match."""

    name: Name
    action: ActionName = "block"
    severity: SeverityName = "medium"
    description: Text = ""


class Scanner(Rule, frozen=True, kw_only=True, tag="scanner"):
    """Matches what scanners found in a text or in arguments."""

    scanner: Name
    min_confidence: Confidence = 0.0
    direction: DirectionName = "any"


class ToolAllowlist(Rule, frozen=True, kw_only=True, tag="tool_allowlist"):
    """Matches a call of any tool that is not listed. An empty list allows none."""

    tools: Globs
    server: Annotated[str, Meta(max_length=128)] = ""
    """Only for tools of this MCP server; empty means all tools."""


class ToolDenylist(Rule, frozen=True, kw_only=True, tag="tool_denylist"):
    """Matches a call of a listed tool."""

    tools: SomeGlobs
    server: Annotated[str, Meta(max_length=128)] = ""


class RateLimit(Rule, frozen=True, kw_only=True, tag="rate_limit"):
    """Matches the call that would be one too many in any window of so many seconds."""

    max_calls: Annotated[int, Meta(ge=1, le=10**6)]
    window_seconds: Seconds
    per: PerName = "agent"
    tools: SomeGlobs = ("*",)
    """Only calls of these tools count."""


class DataProtection(Rule, frozen=True, kw_only=True, tag="data_protection"):
    """Matches personal data of the listed kinds."""

    patterns: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=64)]
    min_confidence: Confidence = 0.0
    direction: DirectionName = "any"


class ArgumentMatch(Rule, frozen=True, kw_only=True, tag="argument_match"):
    """Matches a call by the value of an argument; `not_matches` lists what is allowed."""

    argument: Name
    tool: Glob = "*"
    matches: Regex | None = None
    not_matches: Regex | None = None
    optional: bool = False
    """With `not_matches`: a call without the argument does not match."""


class Budget(Rule, frozen=True, kw_only=True, tag="budget"):
    """Matches the step that would go past what may be used."""

    max_steps: Count | None = None
    max_tokens: Count | None = None
    per: PerName = "session"


class Sequence(Rule, frozen=True, kw_only=True, tag="sequence"):
    """Matches the call that completes the steps, in this order, with any other calls between."""

    steps: Annotated[tuple[Glob, ...], Meta(min_length=2, max_length=16)]
    within_seconds: Seconds = 3600.0
    per: PerName = "session"


class Flow(Rule, frozen=True, kw_only=True, tag="flow", rename={"sources": "from", "sinks": "to"}):
    """Matches a sink once anything from a source has entered the session."""

    sources: SomeGlobs
    sinks: SomeGlobs


class NetworkAllowlist(Rule, frozen=True, kw_only=True, tag="network_allowlist"):
    """Matches a call with a URL, at any depth of its arguments, that leads anywhere else."""

    domains: Globs
    schemes: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=32)] = ("http", "https", "ws", "wss")
    tools: SomeGlobs = ("*",)


class When(Rule, frozen=True, kw_only=True, tag="when"):
    """Matches when a CEL expression is true, or cannot be judged for the values it is given."""

    when: Annotated[str, Meta(min_length=1, max_length=4096)]
    direction: DirectionName = "any"


AnyRule = (
    Scanner | ToolAllowlist | ToolDenylist | RateLimit | DataProtection | ArgumentMatch | Budget
    | Sequence | Flow | NetworkAllowlist | When
)  # fmt: skip

RULE_TYPES: dict[str, type[AnyRule]] = {
    "tool_allowlist": ToolAllowlist,
    "tool_denylist": ToolDenylist,
    "rate_limit": RateLimit,
    "data_protection": DataProtection,
    "argument_match": ArgumentMatch,
    "budget": Budget,
    "sequence": Sequence,
    "flow": Flow,
    "network_allowlist": NetworkAllowlist,
}
"""What may stand after `type:`; `scanner:` and `when:` name themselves."""


class McpServer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which tools of an MCP server may be called; None allows all that are not blocked."""

    allowed_tools: Globs | None = None
    blocked_tools: Globs = ()
