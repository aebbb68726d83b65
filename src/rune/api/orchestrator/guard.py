"""Guard: what a service says of the AI agent that it runs, and what agent security wants of the service."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from rune.api.fields import Message, Text, Timestamp, WireEnum
from rune.api.security.words import Label, Tags

GuardedId = Annotated[
    str,
    Meta(
        pattern=r"^[^\x00-\x1f\x7f]{0,128}$(?!\n)",
        description="The agent's own name for itself: at most 128 characters; the service's name when empty.",
    ),
]


class QuarantineWhen(WireEnum):
    """What puts an agent into quarantine by itself. By hand it always can be."""

    UNSPECIFIED = "QUARANTINE_WHEN_UNSPECIFIED"
    NEVER = "QUARANTINE_WHEN_NEVER"
    ON_HIGH = "QUARANTINE_WHEN_ON_HIGH"
    """An alert of the severity high or critical."""
    ON_CRITICAL = "QUARANTINE_WHEN_ON_CRITICAL"
    """An alert of the severity critical."""


class QuarantineMode(WireEnum):
    """What a quarantine does with the copies; their API keys are refused in any case."""

    UNSPECIFIED = "QUARANTINE_MODE_UNSPECIFIED"
    STOP = "QUARANTINE_MODE_STOP"
    """They are killed; what they wrote stays to be read."""
    ISOLATE = "QUARANTINE_MODE_ISOLATE"
    """They go on without a network, to be looked into. For containers alone."""


class ServiceAgent(Message):
    """The AI agent that the copies of a service are."""

    id: GuardedId = ""
    framework: Label = ""
    tags: Tags = []
    policies: Annotated[list[Label], Meta(max_length=64)] = []
    """Security policies, by name or id, that must be active before a copy starts."""
    quarantine: QuarantineWhen = QuarantineWhen.UNSPECIFIED
    """`never` when unspecified."""
    quarantine_mode: QuarantineMode = QuarantineMode.UNSPECIFIED
    """`stop` when unspecified."""


class ServiceGuard(Message):
    """What agent security wants of a service. It alone writes this; the plan of the service heeds it."""

    agent_id: str = ""
    quarantined: bool = False
    reason: Text = ""
    """Why it is in quarantine."""
    by: str = ""
    """Who put it there: somebody's name, or `policy`."""
    alert: str = ""
    """The alert that led to it."""
    at: Timestamp = None
    waits: Text = ""
    """Why copies must not start yet."""
