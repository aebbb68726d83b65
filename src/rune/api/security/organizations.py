"""Organizations: the tenants. Agents, policies, alerts, events, keys and limits belong to exactly one."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from rune.api.fields import Count, Message, Name, UnixMillis
from rune.api.operation import SECURITY, Effect, Http, Operation, Rate
from rune.api.security.words import Cursor, Label, Limit, NextCursor, Updated

Quota = Annotated[int, Meta(ge=0, le=10_000_000, extra={"proto": "int32"})]


class OrganizationLimits(Message):
    """What the organization may ask; 0 is what the server's settings say."""

    reads_per_minute: Quota = 0
    writes_per_minute: Quota = 0
    events_per_second: Quota = 0
    sdk_per_minute: Quota = 0


class Organization(Message):
    """A tenant."""

    name: Name
    display_name: Label = ""
    limits: OrganizationLimits = OrganizationLimits()
    created_at: UnixMillis = None
    agents: Count = 0
    """How many agents it has."""


class CreateOrganizationRequest(Message):
    """The organization to create."""

    name: Name
    display_name: Label = ""
    limits: OrganizationLimits = OrganizationLimits()


class CreateOrganizationResponse(Message):
    """It was created."""

    name: str


class ListOrganizationsRequest(Message):
    """Which part of the list."""

    limit: Limit = 50
    cursor: Cursor = ""


class ListOrganizationsResponse(Message):
    """The organizations, by name."""

    organizations: list[Organization] = []
    next_cursor: NextCursor = None


class UpdateOrganizationRequest(Message):
    """What to change; what is absent stays."""

    name: Name
    display_name: Label | None = None
    limits: OrganizationLimits | None = None


create = Operation(
    package=SECURITY,
    service="OrganizationService",
    resource="organizations",
    verb="*",
    method="CreateOrganization",
    request=CreateOrganizationRequest,
    response=CreateOrganizationResponse,
    summary="Create an organization.",
    http=Http(verb="POST", path="/v1/organizations", body="*", status=201),
    cli="admin organization create {name}",
    effect=Effect.CHANGE,
    rate=Rate.WRITE,
)
list_ = Operation(
    package=SECURITY,
    service="OrganizationService",
    resource="organizations",
    verb="*",
    method="ListOrganizations",
    request=ListOrganizationsRequest,
    response=ListOrganizationsResponse,
    summary="List the organizations.",
    http=Http(verb="GET", path="/v1/organizations"),
    cli="admin organization list",
    rate=Rate.READ,
)
update = Operation(
    package=SECURITY,
    service="OrganizationService",
    resource="organizations",
    verb="*",
    method="UpdateOrganization",
    request=UpdateOrganizationRequest,
    response=Updated,
    summary="Change an organization's display name or limits.",
    http=Http(verb="POST", path="/v1/organizations/update", body="*"),
    effect=Effect.SETTLE,
    rate=Rate.WRITE,
)
