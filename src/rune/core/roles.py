"""Roles: the grants that every server has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rune.api.orchestrator.admin import Grant, PolicyRule
from rune.core.access import ANY

READ: Final = ("get", "list", "watch")
WRITE: Final = (*READ, "create", "update", "delete", "scale", "exec")


def _everywhere(name: str, description: str, verbs: Sequence[str]) -> Grant:
    rules = [PolicyRule(resource=ANY, verbs=list(verbs), namespace=ANY)]
    return Grant(name=name, description=description, rules=rules, builtin=True)


BUILT_IN: Final = (
    _everywhere("root", "Everything, everywhere. The first token of a server has it.", [ANY]),
    _everywhere("admin", "Everything, everywhere: for people who look after the server.", [ANY]),
    _everywhere("readwrite", "Runs and changes whatever runs, and gives nobody any rights.", WRITE),
    _everywhere("readonly", "Sees everything but the values of secrets, and changes nothing.", READ),
)
"""What every server begins with."""
