"""The table itself: every operation that the nouns declare, in the order of the reference."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from rune.api.operation import Operation
from rune.api.orchestrator import (
    admin,
    audit,
    auth,
    backup,
    configmaps,
    deletions,
    exec,  # noqa: A004 - the noun's name
    following,
    health,
    instances,
    keys,
    logs,
    namespaces,
    portforward,
    registries,
    revisions,
    secrets,
    services,
    sessions,
    users,
    watch,
)
from rune.api.security import (
    agents,
    alerts,
    apikeys,
    approvals,
    events,
    liveness,
    organizations,
    policies,
    sdk,
    stats,
    webhooks,
)

NOUNS: tuple[ModuleType, ...] = (
    namespaces,
    services,
    revisions,
    deletions,
    instances,
    logs,
    exec,
    portforward,
    health,
    secrets,
    configmaps,
    auth,
    sessions,
    admin,
    users,
    backup,
    registries,
    following,
    keys,
    audit,
    watch,
    events,
    agents,
    policies,
    alerts,
    approvals,
    apikeys,
    organizations,
    sdk,
    stats,
    webhooks,
    liveness,
)


def _declared(noun: ModuleType) -> list[Operation[Any, Any]]:
    return [value for value in vars(noun).values() if isinstance(value, Operation)]


OPERATIONS: tuple[Operation[Any, Any], ...] = tuple(row for noun in NOUNS for row in _declared(noun))

_BY_NAME = {row.name: row for row in OPERATIONS}


def by_name(name: str) -> Operation[Any, Any]:
    """The operation of that name; raises KeyError."""
    return _BY_NAME[name]
