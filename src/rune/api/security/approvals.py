"""Approvals: tool calls that wait for a person, since a policy says `require_approval`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from rune.api.common import WatchFrom
from rune.api.fields import Message, Uint64, UnixMillis
from rune.api.operation import SECURITY, Effect, Http, Operation, Rate
from rune.api.security.words import (
    WATCH,
    AgentId,
    AnySeverity,
    Cursor,
    Label,
    Limit,
    NextCursor,
    ShownId,
    Watched,
)

LONGEST_WAIT = 3_600
"""Seconds that a call may wait for its approval."""
ApprovalId = Annotated[
    str,
    Meta(
        pattern=r"^apr_[0-9a-f]{32}$(?!\n)",
        description="`apr_` and 32 hexadecimal digits, chosen by whoever asks: asking twice is asking once.",
    ),
]
Waiter = Annotated[
    str,
    Meta(pattern=r"^[0-9a-f]{32}$(?!\n)", description="32 hexadecimal digits: one Shield of one process."),
]
DecisionNote = Annotated[str, Meta(max_length=500, description="Why, in words that the audit log keeps.")]

ListedStatus = Annotated[
    str,
    Meta(
        pattern=r"^(pending|approved|denied|expired|all)$(?!\n)",
        description="One of pending, approved, denied, expired and all.",
    ),
]


class Approval(Message):
    """A tool call that a person allows or not, once."""

    id: ShownId
    agent_id: str
    status: str = "pending"
    """pending, approved, denied or expired."""
    tool: Label = ""
    rule: Label = ""
    """The rule that asks for it, as `policy/rule`."""
    severity: str = ""
    session_id: str = ""
    arguments: str = ""
    """The arguments as JSON, where the agent sends them (`capture_content`)."""
    arguments_hash: str = ""
    """A keyed hash of the arguments: the same for the same call."""
    alert_id: str = ""
    requested_at: UnixMillis = None
    expires_at: UnixMillis = None
    decided_at: UnixMillis = None
    decided_by: Label = ""
    note: str = ""


class RequestApprovalRequest(Message):
    """The call that waits."""

    approval_id: ApprovalId
    waiter: Waiter
    agent_id: AgentId
    tool: Annotated[str, Meta(min_length=1, max_length=200)]
    rule: Label = ""
    severity: AnySeverity = ""
    session_id: Annotated[str, Meta(max_length=256)] = ""
    arguments: Annotated[str, Meta(max_length=16_384)] = ""
    arguments_hash: Annotated[str, Meta(max_length=128)] = ""
    wait_seconds: Annotated[int, Meta(ge=1, le=LONGEST_WAIT, extra={"proto": "int32"})] = 300
    """How long the call waits; after that nobody can decide any more."""


class AwaitApprovalsRequest(Message):
    """Whose calls wait, what is known already, and how long to wait for more."""

    waiter: Waiter
    after: Uint64 = 0
    """The `revision` of the answer before."""
    wait: Annotated[
        int,
        Meta(
            ge=0, le=60, description="Seconds to wait for a decision, at most 60.", extra={"proto": "int32"}
        ),
    ] = 0


class AwaitApprovalsResponse(Message):
    """The decisions since then."""

    approvals: list[Approval] = []
    revision: Uint64 = 0


class ListApprovalsRequest(Message):
    """Which approvals."""

    status: ListedStatus = "pending"
    agent_id: Label = ""
    limit: Limit = 50
    cursor: Cursor = ""


class ListApprovalsResponse(Message):
    """The approvals, newest first."""

    approvals: list[Approval] = []
    next_cursor: NextCursor = None


class WatchApprovalsRequest(WatchFrom):
    """Which approvals, and from where on."""

    status: ListedStatus = "pending"
    agent_id: Label = ""


class WatchApprovalsResponse(Watched):
    """One change: what is decided ceases to be pending, and is deleted there.
    An item without an approval ends what there was at the start.
    """

    approval: Approval | None = None


class GetApprovalRequest(Message):
    """Which approval."""

    approval_id: ApprovalId


class ApproveCallRequest(Message):
    """Which call may go ahead, and why."""

    approval_id: ApprovalId
    note: DecisionNote = ""


class DenyCallRequest(Message):
    """Which call may not go ahead, and why."""

    approval_id: ApprovalId
    note: DecisionNote = ""


list_ = Operation(
    package=SECURITY,
    service="ApprovalService",
    resource="approvals",
    method="ListApprovals",
    request=ListApprovalsRequest,
    response=ListApprovalsResponse,
    summary="List the tool calls that wait for a person, or that did.",
    verb="list",
    http=Http(verb="GET", path="/v1/approvals"),
    cli="approvals list",
    rate=Rate.READ,
    watch="watch_approvals",
)
watch = Operation(
    package=SECURITY,
    service="ApprovalService",
    resource="approvals",
    method="WatchApprovals",
    request=WatchApprovalsRequest,
    response=WatchApprovalsResponse,
    summary="Watch the tool calls that wait for a person, or that did: what there is, then every change.",
    verb="watch",
    **WATCH,
)
get = Operation(
    package=SECURITY,
    service="ApprovalService",
    resource="approvals",
    method="GetApproval",
    request=GetApprovalRequest,
    response=Approval,
    summary="Get an approval.",
    verb="get",
    http=Http(verb="GET", path="/v1/approvals/{approval_id}"),
    cli="approvals get {approval_id}",
    rate=Rate.READ,
)
approve = Operation(
    package=SECURITY,
    service="ApprovalService",
    resource="approvals",
    method="ApproveCall",
    request=ApproveCallRequest,
    response=Approval,
    summary="Let a tool call go ahead that waits for approval.",
    verb="update",
    http=Http(verb="POST", path="/v1/approvals/{approval_id}/approve", body="*"),
    cli="approvals approve {approval_id}",
    effect=Effect.CHANGE,
    rate=Rate.WRITE,
    reason="note",
)
deny = Operation(
    package=SECURITY,
    service="ApprovalService",
    resource="approvals",
    method="DenyCall",
    request=DenyCallRequest,
    response=Approval,
    summary="Refuse a tool call that waits for approval.",
    verb="update",
    http=Http(verb="POST", path="/v1/approvals/{approval_id}/deny", body="*"),
    cli="approvals deny {approval_id}",
    effect=Effect.CHANGE,
    rate=Rate.WRITE,
    reason="note",
)
request = Operation(
    package=SECURITY,
    service="SdkService",
    resource="sdk",
    method="RequestApproval",
    request=RequestApprovalRequest,
    response=Approval,
    summary="Ask a person whether a tool call may go ahead.",
    verb="create",
    http=Http(verb="POST", path="/v1/sdk/approvals", body="*", status=201),
    effect=Effect.RECORD,
    rate=Rate.APPROVAL,
)
await_ = Operation(
    package=SECURITY,
    service="SdkService",
    resource="sdk",
    method="AwaitApprovals",
    request=AwaitApprovalsRequest,
    response=AwaitApprovalsResponse,
    summary="Get what was decided about the calls of a Shield, or wait for it.",
    verb="get",
    http=Http(verb="GET", path="/v1/sdk/approvals"),
    rate=Rate.APPROVAL,
)
