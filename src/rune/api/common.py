"""Messages that several nouns share."""

from __future__ import annotations

from typing import Annotated

from rune.api.fields import Count, Int32, Message, Text, WireEnum, later


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


OK = Status()
"""The status of an answer that has nothing to add."""
