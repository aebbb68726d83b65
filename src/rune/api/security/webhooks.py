"""Webhooks: addresses that are told of new and changed alerts, each delivery signed."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from rune.api.fields import Count, MaybeText, Message, UnixMillis
from rune.api.operation import SECURITY, Effect, Http, Operation, Rate
from rune.api.security.words import AnySeverity, Cursor, Deleted, Id, Limit, NextCursor, ShownId

WebhookEvent = Annotated[
    str,
    Meta(
        pattern=r"^alert\.(created|updated)$(?!\n)",
        description="One of alert.created and alert.updated.",
    ),
]
Url = Annotated[
    str,
    Meta(
        pattern=r"^https?://[^\s\x00-\x1f\x7f@]{1,2000}$(?!\n)",
        description="An http:// or https:// address without a user name, at most 2,000 characters.",
    ),
]


class Webhook(Message):
    """A webhook without its secret."""

    id: ShownId
    url: str
    events: list[str] = []
    min_severity: str = ""
    slack: bool = False
    created_at: UnixMillis = None
    delivered: Count = 0
    failed: Count = 0
    """Deliveries that were given up."""
    last_error: MaybeText = None


class CreateWebhookRequest(Message):
    """Where to send what."""

    url: Url
    events: Annotated[list[WebhookEvent], Meta(max_length=2)] = []
    """Empty is all of them."""
    min_severity: AnySeverity = ""
    """Only alerts that are at least so severe."""
    slack: bool = False
    """Send the body that Slack's incoming webhooks read."""
    secret: Annotated[str, Meta(max_length=256)] = ""
    """What deliveries are signed with; one is made unless given."""


class CreateWebhookResponse(Message):
    """The webhook; its secret is shown this once."""

    id: str
    secret: str


class ListWebhooksRequest(Message):
    """Which part of the list."""

    limit: Limit = 50
    cursor: Cursor = ""


class ListWebhooksResponse(Message):
    """The webhooks, the oldest first."""

    webhooks: list[Webhook] = []
    next_cursor: NextCursor = None


class DeleteWebhookRequest(Message):
    """Which webhook."""

    webhook_id: Id


create = Operation(
    package=SECURITY,
    service="WebhookService",
    resource="webhooks",
    method="CreateWebhook",
    request=CreateWebhookRequest,
    response=CreateWebhookResponse,
    summary="Have an address told of alerts.",
    verb="create",
    http=Http(verb="POST", path="/v1/webhooks", body="*", status=201),
    cli="alerts webhook create {url}",
    effect=Effect.CHANGE,
    rate=Rate.WRITE,
)
list_ = Operation(
    package=SECURITY,
    service="WebhookService",
    resource="webhooks",
    method="ListWebhooks",
    request=ListWebhooksRequest,
    response=ListWebhooksResponse,
    summary="List the webhooks.",
    verb="list",
    http=Http(verb="GET", path="/v1/webhooks"),
    cli="alerts webhook list",
    rate=Rate.READ,
)
delete = Operation(
    package=SECURITY,
    service="WebhookService",
    resource="webhooks",
    method="DeleteWebhook",
    request=DeleteWebhookRequest,
    response=Deleted,
    summary="Delete a webhook; what is not delivered yet is dropped.",
    verb="delete",
    http=Http(verb="POST", path="/v1/webhooks/delete", body="*"),
    cli="alerts webhook delete {webhook_id}",
    effect=Effect.DESTROY,
    rate=Rate.WRITE,
)
