"""Which rows of the table an assistant is offered: what a single call can do, and what was asked for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from rune.api import OPERATIONS, Access, Effect, Operation, Streaming
from rune.errors import InvalidArgument, Violation

ORCHESTRATOR: Final = "orchestrator"
ADMIN: Final = "admin"
SECURITY: Final = "security"
TOOLSETS: Final = (ORCHESTRATOR, ADMIN, SECURITY)
_ADMIN_SERVICES: Final = {"AuthService", "AdminService", "AuditService"}


def toolset(operation: Operation[Any, Any]) -> str:
    """The group of tools that it belongs to."""
    if operation.package != "rune.api":
        return SECURITY
    return ADMIN if operation.service in _ADMIN_SERVICES else ORCHESTRATOR


def is_possible(operation: Operation[Any, Any]) -> bool:
    """One call of a tool can do it.

    Streams both ways need somebody who types, and what changes something without any credential (the first
    token) is for a person at the machine. So is the value of a secret: what a tool answers stays in a
    conversation.
    """
    if operation.unsupported or operation.streaming is Streaming.BOTH or operation.verb == "reveal":
        return False
    return operation.access is not Access.PUBLIC or operation.effect is Effect.READ


POSSIBLE: Final = tuple(row for row in OPERATIONS if is_possible(row))


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What whoever started the server wants to be offered."""

    toolsets: Collection[str] = TOOLSETS
    read_only: bool = False

    def refusal(self, operation: Operation[Any, Any]) -> str:
        """Why it is not offered; empty when it is."""
        if self.read_only and operation.effect is not Effect.READ:
            return f"{operation.name} changes something, and this server was started with --read-only"
        if toolset(operation) not in self.toolsets:
            return f"{operation.name} is in the toolset {toolset(operation)}, which --toolsets leaves out"
        return ""

    def rows(self) -> list[Operation[Any, Any]]:
        """What is offered to somebody who may do everything."""
        return [row for row in POSSIBLE if not self.refusal(row)]


def chosen(text: str) -> tuple[str, ...]:
    """The toolsets that a list with commas names; raises InvalidArgument for one that there is not."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in TOOLSETS:
            raise InvalidArgument.of(
                [Violation("--toolsets", f"{name!r} is not one of {', '.join(TOOLSETS)}")]
            )
    return names or TOOLSETS
