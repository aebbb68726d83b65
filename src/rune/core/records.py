"""Records of the audit log: what is kept of a call, derived from the operation's declaration."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import cache
from typing import Any, Final

import msgspec

from rune.api import Operation
from rune.api.fields import Message
from rune.core.access import space
from rune.core.call import Call, source
from rune.core.redact import redact
from rune.errors import InvalidArgument, PermissionDenied, ResourceExhausted, RuneError, Unauthenticated

LONGEST_NAME: Final = 128
LONGEST_MESSAGE: Final = 256
DENIALS: Final = (Unauthenticated, PermissionDenied, ResourceExhausted)


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One call."""

    time: datetime
    operation: str
    resource: str
    verb: str
    outcome: str
    """`ok`, or the name of the failure."""
    actor: str = ""
    actor_id: str = ""
    credential: str = ""
    """The id of the token, never its secret."""
    namespace: str = ""
    name: str = ""
    """What it was done to."""
    names: dict[str, str] = {}
    """Further names and ids of the request."""
    message: str = ""
    edge: str = ""
    address: str = ""
    request_id: str = ""
    repeated: int = 0
    """It stands for so many denials of one source, of which it shows the first."""


def record_of(call: Call, ask: Message | None, outcome: RuneError | None, *, now: datetime) -> Record:
    """What is kept of the call; `ask` is None when the request was never read."""
    operation, principal, caller = call.operation, call.principal, call.caller
    names = dict(_names(operation, ask)) if ask is not None else {}
    name = names.pop(next(iter(names)), "") if names else ""
    return Record(
        time=now,
        operation=operation.name,
        resource=operation.resource,
        verb=operation.verb,
        outcome=outcome.codes.name if outcome else "ok",
        actor=principal.name,
        actor_id=principal.id,
        credential=principal.credential,
        namespace=call.namespace or _elsewhere(call),
        name=name,
        names=names,
        message=_message(outcome) or _reason(operation, ask),
        edge=caller.edge,
        address=_short(caller.address),
        request_id=_short(caller.request_id),
    )


def _elsewhere(call: Call) -> str:
    """The organization, where it is not the one that a server has by itself."""
    organization = call.principal.organization
    return "" if organization == "default" else space(organization)


def is_denial(call: Call, outcome: RuneError | None) -> bool:
    """Nothing was done, and whoever asked had no right to: strangers can make any number of these."""
    return isinstance(outcome, DENIALS) or (outcome is not None and not call.principal.id)


def source_of(call: Call) -> str:
    """Whom a denial is counted against."""
    return call.principal.id or source(call.caller.address)


def _names(operation: Operation[Any, Any], ask: Message) -> Iterator[tuple[str, str]]:
    """The target first: what the path ends in, or the `name` or `id` of the request or of what it carries."""
    for path in _paths(operation, type(ask)):
        value = _at(ask, path)
        if isinstance(value, str) and value:
            yield path, _short(redact(value))


@cache
def _paths(operation: Operation[Any, Any], request: type[Message]) -> tuple[str, ...]:
    """Where the names are, which follows from the declarations alone."""
    http, known = operation.http, request.__struct_fields__
    paths = [path for path in (http.parameters if http else ()) if path != operation.scope][-1:]
    holder = operation.scope.rpartition(".")[0] or (http.body if http else "")
    paths += [f"{holder}.name", f"{holder}.id"] if holder not in ("", "*") else []
    paths += [field for field in known if field in ("name", "id")]
    paths += [field for field in known if field.endswith(("_name", "_id", "_target"))]
    return tuple(dict.fromkeys(paths))


def _at(ask: Message, path: str) -> object:
    value: object = ask
    for part in path.split("."):
        value = getattr(value, part, None)
    return value


def _message(outcome: RuneError | None) -> str:
    """What this server says about rights; of other failures which fields, since texts may quote values."""
    if isinstance(outcome, DENIALS):
        return redact(outcome.message)[:LONGEST_MESSAGE]
    if isinstance(outcome, InvalidArgument) and outcome.details:
        return ("invalid: " + ", ".join(_short(each.field) for each in outcome.details))[:LONGEST_MESSAGE]
    return ""


def _reason(operation: Operation[Any, Any], ask: Message | None) -> str:
    """Why it was done, where the operation asks for that."""
    said: object = getattr(ask, operation.reason, "") if operation.reason else ""
    return redact(said)[:LONGEST_MESSAGE] if isinstance(said, str) else ""


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 1] + "…"
