"""Rollout: how a changed spec reaches the copies of a service."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from rune.api.fields import Message, Scale, Seconds


class Rollout(Message):
    """How carefully a changed spec reaches the copies. What is absent is chosen by what the service is."""

    max_surge: Annotated[Scale | None, Meta(extra={"presence": True})] = None
    """Copies above the scale meanwhile. Absent: 1, or 0 where copies share the ports of the machine."""
    max_unavailable: Annotated[Scale | None, Meta(extra={"presence": True})] = None
    """Copies that may be missing from the scale meanwhile. Absent: 0, or 1 where there is no surge."""
    min_ready_seconds: Annotated[Seconds | None, Meta(extra={"presence": True})] = None
    """How long a new copy must stay ready before it counts. Absent: 5, or 0 with a readiness probe."""
    progress_seconds: Annotated[int, Meta(ge=1, le=86_400, extra={"proto": "int32"})] = 300
    """The new copies have failed when none more of them has become available for so long."""
    rollback: bool = True
    """Go back by itself to the last template that worked when the new copies fail."""
