"""Watch: every change of every resource the caller may see, in order and resumable."""

from __future__ import annotations

from typing import Annotated

from rune.api.fields import Message, Text, Uint64, WireEnum, nested_as, one_of
from rune.api.operation import Access, Operation, Rate, Streaming


class MutationKind(WireEnum):
    """What happened to a resource."""

    UNSPECIFIED = "MUTATION_KIND_UNSPECIFIED"
    PUT = "MUTATION_KIND_PUT"
    DELETE = "MUTATION_KIND_DELETE"


@nested_as("WatchStatus.Code")
class WatchCode(WireEnum):
    """Why a watch ends."""

    UNSPECIFIED = "CODE_UNSPECIFIED"
    COMPACTED = "CODE_COMPACTED"
    SLOW_CONSUMER = "CODE_SLOW_CONSUMER"
    SHUTTING_DOWN = "CODE_SHUTTING_DOWN"


class Mutation(Message):
    """One resource's part of a change."""

    kind: MutationKind = MutationKind.UNSPECIFIED
    resource_type: str = ""
    namespace: str = ""
    name: str = ""
    payload: bytes = b""
    """The resource after a PUT, as the bytes of its message; empty after a DELETE."""


class OrderedEvent(Message):
    """One change; all of its mutations happened at once."""

    seq: Uint64 = 0
    """Its revision. Subscribe with `from_seq` one higher to go on after it."""
    op_type: str = ""
    mutations: list[Mutation] = []


class WatchStatus(Message):
    """Why the watch ends, as its last message."""

    code: WatchCode = WatchCode.UNSPECIFIED
    message: str = ""
    retained_min_seq: Uint64 = 0
    """The oldest `from_seq` that can be asked for."""


class WatchEvent(Message):
    """A change, or why there will be no more."""

    event: Annotated[OrderedEvent | None, one_of("payload")] = None
    status: Annotated[WatchStatus | None, one_of("payload")] = None


class SubscribeRequest(Message):
    """From which change on; 0 means from now on. The client's id is for the server's log."""

    from_seq: Uint64 = 0
    client_id: Text = ""


subscribe = Operation(
    service="WatchService",
    method="Subscribe",
    name="subscribe",
    request=SubscribeRequest,
    response=WatchEvent,
    summary="Watch every change of everything you may see.",
    resource="watch",
    verb="watch",
    streaming=Streaming.SERVER,
    access=Access.KNOWN,
    scoped_by="*",
    rate=Rate.STREAM,
)
