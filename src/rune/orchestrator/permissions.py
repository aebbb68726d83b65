"""Permissions: what the caller may do, so that a surface can leave out what would be refused."""

from __future__ import annotations

from typing import Any

from rune.api import OPERATIONS, Access, Operation
from rune.api.orchestrator import auth
from rune.core.access import Principal
from rune.core.call import Call
from rune.core.dispatch import Dispatcher


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
        return auth.ListMyPermissionsResponse(operations=names)


def may(principal: Principal, operation: Operation[Any, Any]) -> bool:
    """The principal may call it in at least one namespace."""
    if operation.access is not Access.GRANTED:
        return True
    return principal.may_somewhere(operation.resource, operation.verb)
