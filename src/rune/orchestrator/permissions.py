"""Permissions: what the caller may do, so that a surface can leave out what would be refused."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import msgspec

from rune.api import OPERATIONS
from rune.api.orchestrator import auth
from rune.core.access import Principal
from rune.core.call import Call
from rune.core.dispatch import Dispatcher
from rune.core.permissions import may


def register(dispatcher: Dispatcher) -> None:
    """Answer ListMyPermissions."""
    dispatcher.handles(auth.list_permissions)(Permissions(dispatcher).mine)


class Permissions:
    """Operations that nothing handles here are nobody's."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    async def mine(self, call: Call, ask: auth.ListMyPermissionsRequest) -> auth.ListMyPermissionsResponse:
        """The names of the operations that the caller may call somewhere, in the order of the table."""
        handled = self._dispatcher.handled
        names = [row.name for row in OPERATIONS if row.name in handled and may(call.principal, row)]
        return auth.ListMyPermissionsResponse(operations=names, rights=rights_of(call.principal))


@lru_cache(1024)
def rights_of(principal: Principal) -> str:
    """Equal for principals of the same kind, rules, organization and agent, for no others."""
    rules = sorted((each.resource, sorted(each.verbs), each.namespace) for each in principal.rules)
    said = msgspec.json.encode([principal.kind, principal.organization, principal.agent, rules])
    return hashlib.sha256(said).hexdigest()
