"""What handlers of every kind do with the store: change with care, select, and cut lists into pages."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from rune.api.common import PagingParams
from rune.api.resource import Resource
from rune.core.settle import settle
from rune.core.store.base import Put, Store, Write
from rune.errors import Conflict, InvalidArgument, Violation

R = TypeVar("R", bound=Resource)


async def change(
    store: Store,
    read: Callable[[], R],
    decide: Callable[[R], Sequence[Write]],
    *,
    revision: int = 0,
    operation: str = "",
) -> R:
    """Read, decide and commit until nobody came between; returns the resource as it is then.

    `decide` returns the writes, none of them for a change that changes nothing. A `revision` that the
    caller read pins the change to it: raises Conflict when the resource has moved on.
    """

    def writes() -> Sequence[Write]:
        found = read()
        if revision and found.revision != revision:
            raise moved(found, revision)
        return decide(found)

    await settle(store, writes, operation=operation)
    return read()


def moved(found: Resource, revision: int) -> Conflict:
    """The refusal of a change that was decided on an older value."""
    return Conflict(
        f"{found.key} is at revision {found.revision}, not {revision}: read it again, then repeat the change"
    )


def put(value: Resource, **changes: Any) -> Put:  # noqa: ANN401 - the fields of any resource
    """The write that stores the value with some of its fields changed."""
    return Put(msgspec.structs.replace(value, **changes))


def matches(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Every selector agrees: `{"app": "api", "tier!": "db"}` is app=api and tier not db."""
    return all(
        labels.get(key[:-1]) != value if key.endswith("!") else labels.get(key) == value
        for key, value in wanted.items()
    )


def field_matches(
    resource: object, wanted: Mapping[str, str], readers: Mapping[str, Callable[[Any], str]]
) -> bool:
    """Every field selector agrees, whatever the case; raises InvalidArgument for a field that is none."""
    for key, value in wanted.items():
        name, negated = key.rstrip("!"), key.endswith("!")
        if name not in readers:
            known = ", ".join(sorted(readers))
            raise InvalidArgument.of([Violation(f"field_selector.{name}", f"is not one of {known}")])
        if (readers[name](resource).lower() == value.lower()) is negated:
            return False
    return True


def page(items: Iterable[R], paging: PagingParams | None) -> tuple[list[R], PagingParams | None]:
    """The part of the items that is asked for, and where the next part begins.

    Items come in the order of their keys and the token names the last key given out, so pages neither
    skip nor repeat what stays while other items come and go.
    """
    if paging is None:
        return list(items), None
    last = _last(paging.continuation_token)
    rest = [item for item in items if last is None or (item.key.namespace, item.key.name) > last]
    if not paging.limit or len(rest) <= paging.limit:
        return rest, PagingParams(limit=paging.limit)
    part = rest[: paging.limit]
    end = part[-1].key
    token = base64.urlsafe_b64encode(f"{end.namespace}/{end.name}".encode()).decode()
    return part, PagingParams(limit=paging.limit, continuation_token=token)


def _last(token: str) -> tuple[str, str] | None:
    if not token:
        return None
    try:
        namespace, slash, name = base64.urlsafe_b64decode(token.encode()).decode().partition("/")
    except (binascii.Error, UnicodeDecodeError):
        slash = namespace = name = ""
    if not slash:
        raise InvalidArgument.of([Violation("paging.continuation_token", "is not one that a list gave out")])
    return namespace, name
