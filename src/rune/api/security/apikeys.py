"""API keys: what agents and tools bring in `X-Rune-Key`; shown once, stored as a hash."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from rune.api.common import WatchFrom
from rune.api.fields import MaybeText, Message, UnixMillis
from rune.api.operation import SECURITY, Effect, Http, Operation, Rate
from rune.api.security.words import (
    WATCH,
    Cursor,
    Id,
    Label,
    Limit,
    NextCursor,
    OrganizationName,
    ShownId,
    Updated,
    Watched,
)

KeyPermission = Annotated[
    str,
    Meta(
        pattern=r"^(agents|policies|alerts|approvals):write$(?!\n)",
        description="One of agents:write, policies:write, alerts:write and approvals:write.",
    ),
]


class ApiKeyShown(Message):
    """An API key without its secret."""

    id: ShownId
    name: Label
    prefix: str
    """How its text begins; enough to tell it from others."""
    permissions: list[str] = []
    """Besides reading, sending events and validating, which every key may; empty is full access."""
    agent_id: MaybeText = None
    """The one agent that it may read and send events for."""
    organization: str = ""
    created_at: UnixMillis = None
    created_by: Label = ""
    expires_at: UnixMillis = None
    revoked_at: UnixMillis = None


class CreateApiKeyRequest(Message):
    """The key to make."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    permissions: Annotated[list[KeyPermission], Meta(max_length=4)] = []
    """Empty is full access."""
    test: bool = False
    """It begins with rune_test_ instead of rune_live_."""
    expires_in_seconds: Annotated[int, Meta(ge=0, le=316_224_000, extra={"proto": "int32"})] = 0
    """At most ten years; 0 never expires."""
    agent_id: Label = ""
    """Narrow it to reading and sending events for this agent."""
    organization: OrganizationName = ""


class CreateApiKeyResponse(Message):
    """The key; its text is shown this once."""

    id: str
    key: str
    prefix: str
    expires_at: UnixMillis = None


class ListApiKeysRequest(Message):
    """Whose keys."""

    organization: OrganizationName = ""
    limit: Limit = 50
    cursor: Cursor = ""


class ListApiKeysResponse(Message):
    """The keys, without their secrets; revoked ones for 30 days."""

    api_keys: list[ApiKeyShown] = []
    next_cursor: NextCursor = None


class WatchApiKeysRequest(WatchFrom):
    """Whose keys, and from where on."""

    organization: OrganizationName = ""


class WatchApiKeysResponse(Watched):
    """One change, without the key's text.
    An item without a key ends what there was at the start.
    """

    api_key: ApiKeyShown | None = None


class RevokeApiKeyRequest(Message):
    """Which key."""

    api_key_id: Id
    organization: OrganizationName = ""


create = Operation(
    package=SECURITY,
    service="ApiKeyService",
    resource="apikeys",
    verb="*",
    method="CreateApiKey",
    request=CreateApiKeyRequest,
    response=CreateApiKeyResponse,
    summary="Make an API key; its text is shown this once.",
    http=Http(verb="POST", path="/v1/apikeys", body="*", status=201),
    cli="admin apikey create {name}",
    effect=Effect.CHANGE,
    rate=Rate.WRITE,
)
list_ = Operation(
    package=SECURITY,
    service="ApiKeyService",
    resource="apikeys",
    verb="*",
    method="ListApiKeys",
    request=ListApiKeysRequest,
    response=ListApiKeysResponse,
    summary="List the API keys of an organization.",
    http=Http(verb="GET", path="/v1/apikeys"),
    cli="admin apikey list",
    rate=Rate.READ,
    watch="watch_api_keys",
)
watch = Operation(
    package=SECURITY,
    service="ApiKeyService",
    resource="apikeys",
    method="WatchApiKeys",
    request=WatchApiKeysRequest,
    response=WatchApiKeysResponse,
    summary="Watch the API keys of an organization, without their texts: what there is, then every change.",
    verb="*",
    **WATCH,
)
revoke = Operation(
    package=SECURITY,
    service="ApiKeyService",
    resource="apikeys",
    verb="*",
    method="RevokeApiKey",
    request=RevokeApiKeyRequest,
    response=Updated,
    summary="Revoke an API key; it is good for nothing from its next request on.",
    http=Http(verb="POST", path="/v1/apikeys/revoke", body="*"),
    cli="admin apikey revoke {api_key_id}",
    effect=Effect.DESTROY,
    rate=Rate.WRITE,
)
