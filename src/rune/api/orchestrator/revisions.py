"""Revisions: what a service was before, and the way back to it."""

from __future__ import annotations

from rune.api.fields import Count, Int64, Message, Name, NamespaceName, Timestamp, WireEnum
from rune.api.operation import Effect, Http, Operation
from rune.api.orchestrator.services import Service


class RevisionState(WireEnum):
    """What became of a revision."""

    UNSPECIFIED = "REVISION_STATE_UNSPECIFIED"
    CURRENT = "REVISION_STATE_CURRENT"
    """Copies are made from it."""
    GOOD = "REVISION_STATE_GOOD"
    """All its copies were available once; a rollout that fails goes back to the newest of these."""
    FAILED = "REVISION_STATE_FAILED"
    """Its copies failed, and it was undone."""
    REPLACED = "REVISION_STATE_REPLACED"
    """Another one came before it was known to be good."""


class Revision(Message):
    """One template of a service: what its copies are, or were, made from."""

    number: Int64 = 0
    """The template generation, from 1; it only grows."""
    state: RevisionState = RevisionState.UNSPECIFIED
    created_at: Timestamp = None
    instances: Count = 0
    """How many copies are of it now."""
    same_as: Int64 = 0
    """An older revision that said the same; 0 when none did."""
    note: str = ""
    """Where it came from, or why it was undone."""
    service: Service | None = None
    """The spec."""


class ListRevisionsRequest(Message):
    """Whose revisions."""

    name: Name
    namespace: NamespaceName = ""


class ListRevisionsResponse(Message):
    """The revisions that are kept, newest first."""

    revisions: list[Revision] = []


class RollbackServiceRequest(Message):
    """Which service, and to which of its revisions."""

    name: Name
    namespace: NamespaceName = ""
    to: Int64 = 0
    """The revision's number; 0 is the newest good one that differs from the current."""


class RollbackServiceResponse(Message):
    """The service, with a new revision that says what the old one said."""

    service: Service | None = None
    revision: Int64 = 0
    """The number of the new revision; the current one when that says the same already."""
    from_revision: Int64 = 0
    to_revision: Int64 = 0


list_ = Operation(
    service="ServiceService",
    method="ListRevisions",
    request=ListRevisionsRequest,
    response=ListRevisionsResponse,
    summary="List what a service was made from before, newest first.",
    resource="services",
    verb="get",
    http=Http(verb="GET", path="/v1/namespaces/{namespace}/services/{name}/revisions"),
    cli="revisions {name}",
)
rollback = Operation(
    service="ServiceService",
    method="RollbackService",
    request=RollbackServiceRequest,
    response=RollbackServiceResponse,
    summary="Make a service again what it was; the scale stays as it is.",
    resource="services",
    verb="update",
    http=Http(verb="POST", path="/v1/namespaces/{namespace}/services/{name}/rollback", body="*"),
    effect=Effect.CHANGE,
)
