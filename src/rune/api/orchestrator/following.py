"""Watches of what AdminService lists: users, grants, tokens and registries, without what is secret."""

from __future__ import annotations

from typing import Any

from rune.api.common import EventType
from rune.api.fields import Message, Uint64
from rune.api.operation import Operation, Rate, Streaming
from rune.api.orchestrator.admin import ADMIN, Grant, Subject, TokenInfo
from rune.api.orchestrator.registries import RegistryConfig

_STREAM: dict[str, Any] = {**ADMIN, "streaming": Streaming.SERVER, "rate": Rate.STREAM}


class UserWatchRequest(Message):
    """From where on."""

    resume: Uint64 = 0
    """Go on after this revision; 0 begins with what there is now."""


class UserWatchResponse(Message):
    """One change. For a user that was deleted: as it was last."""

    user: Subject | None = None
    event_type: EventType = EventType.UNSPECIFIED
    revision: Uint64 = 0
    """Where to resume after this item; 0 while the items are part of what there was at the start."""


class PolicyWatchRequest(Message):
    """From where on."""

    resume: Uint64 = 0
    """Go on after this revision; 0 begins with what there is now."""


class PolicyWatchResponse(Message):
    """One change. For a grant that was deleted: as it was last."""

    policy: Grant | None = None
    event_type: EventType = EventType.UNSPECIFIED
    revision: Uint64 = 0
    """Where to resume after this item; 0 while the items are part of what there was at the start."""


class TokenWatchRequest(Message):
    """From where on."""

    resume: Uint64 = 0
    """Go on after this revision; 0 begins with what there is now."""


class TokenWatchResponse(Message):
    """One change. For a token that was forgotten: as it was last."""

    token: TokenInfo | None = None
    event_type: EventType = EventType.UNSPECIFIED
    revision: Uint64 = 0
    """Where to resume after this item; 0 while the items are part of what there was at the start."""


class WatchRegistriesRequest(Message):
    """From where on."""

    resume: Uint64 = 0
    """Go on after this revision; 0 begins with what there is now."""


class WatchRegistriesResponse(Message):
    """One change. For a registry that was removed: as it was last. Those of the Runefile never change."""

    registry: RegistryConfig | None = None
    event_type: EventType = EventType.UNSPECIFIED
    revision: Uint64 = 0
    """Where to resume after this item; 0 while the items are part of what there was at the start."""


watch_users = Operation(
    method="UserWatch",
    name="watch_users",
    request=UserWatchRequest,
    response=UserWatchResponse,
    summary="Watch users: what there is, then every change.",
    **_STREAM,
)
watch_grants = Operation(
    method="PolicyWatch",
    name="watch_grants",
    request=PolicyWatchRequest,
    response=PolicyWatchResponse,
    summary="Watch grants: what there is, then every change.",
    **_STREAM,
)
watch_tokens = Operation(
    method="TokenWatch",
    name="watch_tokens",
    request=TokenWatchRequest,
    response=TokenWatchResponse,
    summary="Watch tokens, without their secrets: what there is, then every change.",
    **_STREAM,
)
watch_registries = Operation(
    method="WatchRegistries",
    name="watch_registries",
    request=WatchRegistriesRequest,
    response=WatchRegistriesResponse,
    summary="Watch registries, without their credentials: what there is, then every change.",
    **_STREAM,
)
