"""Audit: who did what, and what was denied."""

from __future__ import annotations

from rune.api.common import Status
from rune.api.fields import Count, Message, Text, Timestamp
from rune.api.operation import Http, Operation


class AuditEvent(Message):
    """One entry of the audit log."""

    id: str = ""
    """Its sequence number in the log."""
    timestamp: Timestamp = None
    actor: str = ""
    action: str = ""
    """The operation, such as `scale_service`."""
    resource: str = ""
    resource_ref: str = ""
    namespace: str = ""
    outcome: str = ""
    """`ok`, or the name of the failure, such as `PERMISSION_DENIED`."""
    message: str = ""
    metadata: dict[str, str] = {}


class ListAuditEventsRequest(Message):
    """Which entries: those that match everything that is given, the newest `limit` (100 when 0) of them."""

    resource: Text = ""
    resource_ref: Text = ""
    namespace: Text = ""
    actor: Text = ""
    action: Text = ""
    since: Text = ""
    until: Text = ""
    limit: Count = 0


class ListAuditEventsResponse(Message):
    """The entries, newest first."""

    events: list[AuditEvent] = []
    status: Status | None = None


list_ = Operation(
    service="AuditService",
    method="ListAuditEvents",
    request=ListAuditEventsRequest,
    response=ListAuditEventsResponse,
    summary="Read the audit log.",
    resource="audit",
    verb="list",
    http=Http(verb="GET", path="/v1/admin/audit"),
    cli="admin audit list",
    local_only=True,
)
