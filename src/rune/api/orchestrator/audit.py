"""Audit: who did what, and what was denied."""

from __future__ import annotations

from rune.api.common import Status
from rune.api.fields import Count, Int64, Message, Text, Timestamp
from rune.api.operation import Effect, Http, Operation, Rate, Streaming


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


class AuditSeal(Message):
    """Where the log begins and ends, signed by the server with its own key (Ed25519)."""

    sequence: Int64 = 0
    """Of the newest entry."""
    hash: str = ""
    """Of the newest entry; it depends on every entry before."""
    anchor: Int64 = 0
    """The newest entry that was dropped by age or size; 0 when none was."""
    anchor_hash: str = ""
    size: Int64 = 0
    """Bytes of the entries that are kept."""
    time: Timestamp = None
    public_key: str = ""
    signature: str = ""


class VerifyAuditRequest(Message):
    """What is known of the log already, such as a seal that was kept elsewhere; all of it may be left out."""

    sequence: Int64 = 0
    """An entry that must be there …"""
    hash: Text = ""
    """… with this hash."""


class VerifyAuditResponse(Message):
    """What a walk over the whole log found."""

    intact: bool = False
    entries: Int64 = 0
    bad: Int64 = 0
    """The first entry that does not fit; 0 when all do."""
    problem: str = ""
    """What is wrong, in words."""
    seal: AuditSeal | None = None


class ExportAuditRequest(Message):
    """Nothing to say: everything is exported."""


class ExportAuditResponse(Message):
    """First the seal, then each entry, oldest first."""

    seal: AuditSeal | None = None
    sequence: Int64 = 0
    entry: str = ""
    """The entry as it is stored: JSON with `hash` and `records`. The hash is over these very characters."""


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
verify = Operation(
    service="AuditService",
    method="VerifyAudit",
    request=VerifyAuditRequest,
    response=VerifyAuditResponse,
    summary="Check that nobody changed, dropped or reordered entries of the audit log.",
    resource="audit",
    verb="list",
    http=Http(verb="GET", path="/v1/admin/audit/verify"),
    local_only=True,
)
export = Operation(
    service="AuditService",
    method="ExportAudit",
    request=ExportAuditRequest,
    response=ExportAuditResponse,
    summary="Export the audit log, so that it can be verified without the server.",
    resource="audit",
    verb="list",
    http=Http(verb="GET", path="/v1/admin/audit/export"),
    streaming=Streaming.SERVER,
    rate=Rate.STREAM,
    # It changes nothing, but who took the whole log along belongs into it.
    effect=Effect.SETTLE,
    local_only=True,
)
