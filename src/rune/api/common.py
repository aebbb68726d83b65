"""Messages that several nouns share."""

from __future__ import annotations

from typing import Annotated

from rune.api.fields import Count, Int32, Message, Text, Uint64, WireEnum, later


class Status(Message):
    """How a call went, for clients that read it from the message; failures are gRPC statuses."""

    code: Int32 = 0
    message: str = ""
    details: list[str] = []


class PagingParams(Message):
    """Which part of a list is asked for, and in answers where the next part begins."""

    limit: Count = 0
    """At most this many items; 0 means all."""
    offset: Annotated[Count, later("pages are addressed by continuation_token")] = 0
    continuation_token: Text = ""
    """From the last answer; it stays valid while items come and go. Empty in an answer: there is no more."""


class EventType(WireEnum):
    """What happened to the item of a watch."""

    UNSPECIFIED = "EVENT_TYPE_UNSPECIFIED"
    ADDED = "EVENT_TYPE_ADDED"
    MODIFIED = "EVENT_TYPE_MODIFIED"
    DELETED = "EVENT_TYPE_DELETED"


class WatchFrom(Message):
    """What every request of a watch has."""

    resume: Uint64 = 0
    """Go on after this revision; 0 begins with what there is now."""


class WatchItem(Message):
    """What every item of a watch has beside its resource."""

    event_type: EventType = EventType.UNSPECIFIED
    revision: Uint64 = 0
    """Where to resume after this item; 0 while the items are part of what there was at the start."""


OK = Status()
"""The status of an answer that has nothing to add."""
