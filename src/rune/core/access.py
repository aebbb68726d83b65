"""Who may do what: pure rules, no store, no clock."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

ANY: Final = "*"
PRIVILEGED: Final = "privileged"
"""The verb on services of specs that ask for more than a container has by itself; no operation has it."""
USE: Final = "use"
"""The verb on organizations of whoever may act in one by naming it; no operation has it."""


def space(organization: str) -> str:
    """What stands for an organization where rules and the store name a namespace; no other is called so."""
    return f"org:{organization}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Allows the verbs on the resource in the namespace; `*` is any of them."""

    resource: str
    verbs: frozenset[str]
    namespace: str = ANY

    def covers(self, resource: str, verb: str) -> bool:
        """It speaks of this, in some namespace."""
        return self.resource in (ANY, resource) and (ANY in self.verbs or verb in self.verbs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who asks: one subject with one credential."""

    id: str
    name: str
    kind: str = "user"
    email: str = ""
    organization: str = "default"
    grants: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = field(default=(), repr=False)
    credential: str = ""
    """The id of the token or key, never its secret."""
    expires_at: datetime | None = None
    agent: str = ""
    """The one agent that the credential is narrowed to; empty for all."""

    def may(self, resource: str, verb: str, namespace: str = ANY) -> bool:
        """A rule covers it there; a namespace of `*` asks for all of them."""
        return any(rule.covers(resource, verb) and rule.namespace in (ANY, namespace) for rule in self.rules)

    def may_somewhere(self, resource: str, verb: str) -> bool:
        """A rule covers it in at least one namespace."""
        return any(rule.covers(resource, verb) for rule in self.rules)

    def may_act_in(self, organization: str) -> bool:
        """It belongs there, or a rule lets it `use` that organization."""
        return organization == self.organization or self.may("organizations", USE, space(organization))


NOBODY: Final = Principal(id="", name="anonymous", kind="anonymous")
"""Who calls a public operation."""


def rule(resource: str, verbs: Iterable[str], namespace: str = "") -> Rule:
    """A rule; an empty namespace means any."""
    return Rule(resource=resource, verbs=frozenset(verbs), namespace=namespace or ANY)
