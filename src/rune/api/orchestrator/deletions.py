"""Deletions of services: operations that can be listed and followed."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from rune.api.common import EventType
from rune.api.fields import Count, Int64, Message, NamespaceFilter, NamespaceName, Text, Uint64, UnixSeconds
from rune.api.operation import Effect, Http, Operation, Rate, Streaming
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
    """initializing, deleting-instances, running-finalizers, completed, or failed: it is late, and goes on."""
    failure_reason: str = ""
    """What holds it up, or that it was cleared by force."""
    pending_operations: list[str] = []
    estimated_completion: UnixSeconds = None
    finalizers: list[Finalizer] = []
    finalizer_order: list[str] = []
    finalizer_status: str = ""
    service_id: str = ""
    """Whose copies it ends: another service may have the name by now."""
    template_generation: Int64 = 0
    """The newest template of that service; those after it belong to another one."""
    attempt_at: UnixSeconds = None
    """When it was begun, or retried last."""

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


class WatchDeletionsRequest(Message):
    """Which deletions to watch; `name` is an operation's id or a service's name, empty means any."""

    namespace: NamespaceFilter = ""
    name: Annotated[str, Meta(max_length=256)] = ""
    resume: Uint64 = 0
    """Go on after this revision; 0 begins with what there is now."""


class WatchDeletionsResponse(Message):
    """One change of a deletion."""

    operation: DeletionOperation | None = None
    event_type: EventType = EventType.UNSPECIFIED
    revision: Uint64 = 0
    """Where to resume after this item; 0 while the items are part of what there was at the start."""


class RetryDeletionRequest(Message):
    """Which deletion: `name` is the operation's id, or the service's name for its newest."""

    namespace: NamespaceName = ""
    name: Annotated[str, Meta(min_length=1, max_length=256)]


class ForceDeletionRequest(Message):
    """Which deletion: `name` is the operation's id, or the service's name for its newest."""

    namespace: NamespaceName = ""
    name: Annotated[str, Meta(min_length=1, max_length=256)]


class DeletionResponse(Message):
    """The deletion as it is now."""

    operation: DeletionOperation | None = None


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
    watch="watch_deletions",
)
watch = Operation(
    service="ServiceService",
    method="WatchDeletions",
    request=WatchDeletionsRequest,
    response=WatchDeletionsResponse,
    summary="Watch deletions: what there is, then every change.",
    resource="services",
    verb="watch",
    streaming=Streaming.SERVER,
    rate=Rate.STREAM,
)
retry = Operation(
    service="ServiceService",
    method="RetryDeletion",
    request=RetryDeletionRequest,
    response=DeletionResponse,
    summary="Try a deletion that is stuck again at once, and kill what does not end by itself.",
    resource="services",
    verb="delete",
    http=Http(verb="POST", path="/v1/namespaces/{namespace}/deletions/{name}/retry", body="*"),
    cli="delete retry {name}",
    effect=Effect.SETTLE,
)
force = Operation(
    service="ServiceService",
    method="ForceDeletion",
    request=ForceDeletionRequest,
    response=DeletionResponse,
    summary="Clear a deletion that is stuck: forget the service without waiting for its copies to end.",
    resource="services",
    verb="delete",
    http=Http(verb="POST", path="/v1/namespaces/{namespace}/deletions/{name}/force", body="*"),
    cli="delete force {name}",
    effect=Effect.DESTROY,
)
