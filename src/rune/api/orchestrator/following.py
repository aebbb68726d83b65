"""Watches of what AdminService lists: users, grants, tokens and registries, without what is secret."""

from __future__ import annotations

from typing import Any

from rune.api.common import WatchFrom, WatchItem
from rune.api.operation import Operation, Rate, Streaming
from rune.api.orchestrator.admin import ADMIN, Grant, Subject, TokenInfo
from rune.api.orchestrator.registries import RegistryConfig

_STREAM: dict[str, Any] = {**ADMIN, "streaming": Streaming.SERVER, "rate": Rate.STREAM}


class UserWatchRequest(WatchFrom):
    """From where on."""


class UserWatchResponse(WatchItem):
    """One change. For a user that was deleted: as it was last."""

    user: Subject | None = None


class PolicyWatchRequest(WatchFrom):
    """From where on."""


class PolicyWatchResponse(WatchItem):
    """One change. For a grant that was deleted: as it was last."""

    policy: Grant | None = None


class TokenWatchRequest(WatchFrom):
    """From where on."""


class TokenWatchResponse(WatchItem):
    """One change. For a token that was forgotten: as it was last."""

    token: TokenInfo | None = None


class WatchRegistriesRequest(WatchFrom):
    """From where on."""


class WatchRegistriesResponse(WatchItem):
    """One change. For a registry that was removed: as it was last. Those of the Runefile never change."""

    registry: RegistryConfig | None = None


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
