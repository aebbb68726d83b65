"""Compiles a policy document into the form that SDKs download; `load` reads that form back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from rune.policy.compiled import CompiledPolicy, load
from rune.policy.document import PolicyDocument
from rune.policy.model import SCANNERS, AnyRule, McpServer, Scanner, ToolAllowlist, ToolDenylist

__all__ = ["CompiledPolicy", "compile", "load"]


def compile(document: PolicyDocument) -> CompiledPolicy:  # noqa: A001 - the word for it; call it compile.compile
    """The compiled form. What only helps readers (comments, descriptions) is not part of it."""
    compiled = CompiledPolicy(
        version=document.version,
        name=document.name,
        mode=document.mode,
        agents=document.agents,
        tags=document.tags,
        rules=(*map(_plain, document.rules), *_server_rules(document.mcp)),
    )
    return compiled.sealed()


def _plain(rule: AnyRule) -> AnyRule:
    """The rule under the one name that each thing has inside."""
    rule = msgspec.structs.replace(rule, description="")
    return (
        msgspec.structs.replace(rule, scanner=SCANNERS[rule.scanner]) if isinstance(rule, Scanner) else rule
    )


def _server_rules(servers: Mapping[str, McpServer]) -> Iterator[AnyRule]:
    """The `mcp` section as the rules that it is short for."""
    for name, server in servers.items():
        if server.allowed_tools is not None:
            yield ToolAllowlist(
                name=f"mcp.{name}.allowed_tools", tools=server.allowed_tools, server=name, severity="high"
            )
        if server.blocked_tools:
            yield ToolDenylist(
                name=f"mcp.{name}.blocked_tools", tools=server.blocked_tools, server=name, severity="high"
            )
