"""One action under judgement: where it happens, and what its rules ask about it."""

from __future__ import annotations

import hashlib
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, assert_never

from rune.policy.action import Action, Found
from rune.policy.ledger import Key, Ledger
from rune.policy.model import DirectionName, Json, PerName
from rune.policy.names import folded
from rune.policy.values import Leaf, Opaque, keys, leaves, plain_arguments

if TYPE_CHECKING:
    from rune.policy.hosts import Host

_SHOWN = 80
_LONG = 256

DIRECTIONS: dict[DirectionName, frozenset[str]] = {
    "input": frozenset({"input", "tool_result"}),
    "output": frozenset({"output"}),
    "tool": frozenset({"tool_call", "tool_result"}),
    "any": frozenset({"input", "output", "tool_call", "tool_result"}),
}
"""What a rule's direction covers; what a tool returns counts as the tool's, and as input to the model."""


class Place(NamedTuple):
    """Where an action happens: all of it that a rule can be indexed by."""

    direction: str
    tool: str
    folded: str
    """The tool's name without differences of case and width."""
    server: str
    source: str

    @property
    def is_call(self) -> bool:
        """Whether a tool is about to be called."""
        return self.direction == "tool_call"


class Case:
    """One action under judgement. What several rules need is worked out once, when the first one asks."""

    __slots__ = ("_arguments", "_folded", "_hosts", "_kinds", "_scope", "action", "ledger", "now")

    def __init__(self, action: Action, ledger: Ledger, now: float) -> None:
        self.action = action
        self.ledger = ledger
        self.now = now
        self._arguments: dict[str, Json] | None = None
        self._folded: str | None = None
        self._hosts: list[Host] | None = None
        self._kinds: dict[str, Found] | None = None
        self._scope: dict[str, Json] | None = None

    @property
    def folded(self) -> str:
        """The tool's name without differences of case and width."""
        if self._folded is None:
            self._folded = folded(self.action.tool)
        return self._folded

    @property
    def arguments(self) -> dict[str, Json]:
        """The tool's arguments as plain JSON values."""
        if self._arguments is None:
            self._arguments = plain_arguments(self.action.arguments)
        return self._arguments

    @property
    def hosts(self) -> list[Host]:
        """The hosts of every URL in the arguments, at any depth, in keys and in values."""
        if self._hosts is None:
            from rune.policy.hosts import MAX_URLS, TOO_MANY, hosts_in  # noqa: PLC0415 - few policies need it

            texts = [Leaf("", key) for key in keys(self.arguments)]
            found_leaves = list(leaves(self.arguments))
            texts += [leaf for leaf in found_leaves if isinstance(leaf.value, str)]
            found = (host for name, text in texts for host in hosts_in(text, name=name))
            self._hosts = list(islice(found, MAX_URLS))
            # What was not read might hold a URL; an object of the program itself (a client) is none.
            unread = any(isinstance(leaf.value, Opaque) and leaf.value.cut for leaf in found_leaves)
            self._hosts += [TOO_MANY] if unread else [TOO_MANY for _ in islice(found, 1)]
        return self._hosts

    def strongest(self, kind: str) -> Found | None:
        """The surest finding of a threat type, of a kind of personal data (`pii:ssn`), or of `any`."""
        if self._kinds is None:
            self._kinds = {}
            for finding in sorted(self.action.findings, key=lambda found: found.confidence, reverse=True):
                for each in (finding.type, "any", f"pii:{_personal(finding)}"):
                    self._kinds.setdefault(each, finding)
        return self._kinds.get(kind)

    @property
    def scope(self) -> dict[str, Json]:
        """The variables of expressions."""
        if self._scope is None:
            action = self.action
            self._scope = {
                "tool": {"name": action.tool, "server": action.server},
                "args": self.arguments,
                "agent": {"id": action.agent_id, "tags": list(action.tags)},
                "session": {"id": action.session_id},
                "tags": list(action.tags),
                "direction": action.direction,
                "source": action.source,
                "findings": [
                    {"type": f.type, "rule": f.rule, "severity": f.severity, "confidence": f.confidence}
                    for f in action.findings
                ],
            }
        return self._scope

    def key(self, rule: Key, per: PerName) -> Key:
        """Where the ledger keeps what a rule counts for this agent, tool, session or organization."""
        action = self.action
        organization, agent = _short(action.organization), _short(action.agent_id)
        match per:
            case "org":
                return (*rule, per, organization, "", "")
            case "agent":
                return (*rule, per, organization, agent, "")
            case "tool":
                return (*rule, per, organization, agent, _short(self.folded))
            case "session":
                # Agents that share a session share its taint: one fetches, another sends.
                agent = "" if action.session_id else agent
                return (*rule, per, organization, agent, _short(action.session_id))
            case _:
                assert_never(per)


def _short(name: str) -> str:
    """The name, or its hash: what comes from outside must not fill the ledger with long names."""
    if len(name) <= _LONG:
        return name
    return f"sha256:{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()}"


def _personal(finding: Found) -> str:
    """The kind of personal data: the category, or what the rule names (`pii.us-ssn` is `ssn`)."""
    if finding.type != "pii_exposure":
        return ""
    if finding.category:
        return finding.category
    name = finding.rule.lower().replace("-", "_")
    for separator in (".", "/", ":"):
        name = name.rpartition(separator)[2]
    return name.removeprefix("pii_").replace("us_ssn", "ssn")


def shown(name: str) -> str:
    """A name that came from outside, fit for a message."""
    return repr(name if len(name) <= _SHOWN else name[:_SHOWN] + "…")
