"""What the nouns of this plane share: ids, pages, and the short answers of changes."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from rune.api.common import WatchItem
from rune.api.fields import Message, named
from rune.api.operation import Rate, Streaming

MOST_PAGE = 200

Id = Annotated[str, Meta(min_length=1, max_length=64)]
"""An id that this server gave out."""
AgentId = Annotated[
    str,
    Meta(
        pattern=r"^[^\x00-\x1f\x7f]{1,128}$(?!\n)",
        description="The agent's own name for itself: 1 to 128 characters, no control characters.",
    ),
]
Label = Annotated[str, Meta(max_length=200)]
Note = Annotated[str, Meta(max_length=4096)]
Tag = Annotated[str, Meta(min_length=1, max_length=128)]
Tags = Annotated[list[Tag], Meta(max_length=64)]
Severity = Annotated[
    str,
    Meta(pattern=r"^(critical|high|medium|low)$(?!\n)", description="One of critical, high, medium and low."),
]
AnySeverity = Annotated[
    str,
    Meta(
        pattern=r"^(critical|high|medium|low)?$(?!\n)",
        description="One of critical, high, medium and low; empty for any.",
    ),
]
OrganizationName = Annotated[
    str,
    Meta(
        pattern=r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?$(?!\n)",
        description="The organization's name; empty means `default`.",
    ),
]
Limit = Annotated[
    int,
    Meta(ge=1, le=MOST_PAGE, description="At most so many items, from 1 to 200.", extra={"proto": "int32"}),
]
Cursor = Annotated[
    str, Meta(max_length=512, description="From `next_cursor` of the page before; empty begins.")
]
NextCursor = Annotated[str | None, named("next_cursor")]
"""Where the next page begins; absent on the last one."""
ShownId = Annotated[str, named("_id")]


class Updated(Message):
    """It was changed."""

    updated: bool = True


class Deleted(Message):
    """It is gone."""

    deleted: bool = True


class Watched(WatchItem):
    """What every item of a watch has beside its resource. One without a resource, and with the type
    UNSPECIFIED, ends what there was at the start.
    """


WATCH: dict[str, Any] = {"streaming": Streaming.SERVER, "rate": Rate.STREAM}
"""What the watches of this plane share."""
