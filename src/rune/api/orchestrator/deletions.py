"""Deletions of services: operations that can be listed and followed."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from rune.api.fields import Count, Message, NamespaceFilter, NamespaceName, Text, UnixSeconds
from rune.api.operation import Http, Operation
from rune.api.resource import Resource


class FinalizerDependency(Message):
    """Another finalizer that comes first."""

    depends_on: str = ""
    required: bool = False


class Finalizer(Message):
    """One step of a deletion."""

    id: str = ""
    name: str = ""
    type: str = ""
    status: str = ""
    error: str = ""
    dependencies: list[FinalizerDependency] = []
    created_at: UnixSeconds = None
    updated_at: UnixSeconds = None
    completed_at: UnixSeconds = None


class DeletionOperation(Resource):
    """A deletion, from the moment it was asked for until an hour after its end."""

    KIND: ClassVar[str] = "deletion"

    id: str = ""
    namespace: str = ""
    service_name: str = ""
    total_instances: Count = 0
    deleted_instances: Count = 0
    failed_instances: Count = 0
    start_time: UnixSeconds = None
    end_time: UnixSeconds = None
    status: str = ""
    """initializing, deleting-instances, running-finalizers, completed or failed."""
    failure_reason: str = ""
    pending_operations: list[str] = []
    estimated_completion: UnixSeconds = None
    finalizers: list[Finalizer] = []
    finalizer_order: list[str] = []
    finalizer_status: str = ""

    @property
    def name(self) -> str:
        """The operation's id is its name."""
        return self.id


class GetDeletionStatusRequest(Message):
    """Which deletion: `name` is the operation's id, or the service's name for its newest."""

    namespace: NamespaceName = ""
    name: Annotated[str, Meta(min_length=1, max_length=256)]


class GetDeletionStatusResponse(Message):
    """The deletion."""

    operation: DeletionOperation | None = None


class ListDeletionOperationsRequest(Message):
    """Which deletions; `status` is one of their statuses, empty means any."""

    namespace: NamespaceFilter = ""
    status: Text = ""


class ListDeletionOperationsResponse(Message):
    """The deletions, newest first."""

    operations: list[DeletionOperation] = []


get = Operation(
    service="ServiceService",
    method="GetDeletionStatus",
    request=GetDeletionStatusRequest,
    response=GetDeletionStatusResponse,
    summary="See how a deletion is going.",
    resource="services",
    verb="get",
    http=Http(verb="GET", path="/v1/namespaces/{namespace}/services/{name}/deletion"),
    cli="delete status {name}",
)
list_ = Operation(
    service="ServiceService",
    method="ListDeletionOperations",
    request=ListDeletionOperationsRequest,
    response=ListDeletionOperationsResponse,
    summary="List deletions, those under way and those that ended in the last hour.",
    resource="services",
    verb="list",
    http=Http(verb="GET", path="/v1/namespaces/{namespace}/deletions"),
    cli="delete list",
)
