"""Instances: the running copies of services."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from rune.api.common import EventType, PagingParams, Status
from rune.api.fields import (
    Count,
    Int32,
    Message,
    NamespaceFilter,
    NamespaceName,
    Seconds,
    Selector,
    Text,
    Timestamp,
    Uint64,
    WireEnum,
)
from rune.api.operation import Effect, Http, Kind, Operation
from rune.api.orchestrator.specs import KeyToPath, Resources
from rune.api.resource import Key, Resource

InstanceId = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9]([a-z0-9-]{0,126}[a-z0-9])?$(?!\n)",
        description="The instance's id, such as `api-instance-1f2e3d4c`.",
    ),
]


class InstanceStatus(WireEnum):
    """Where an instance is in its life."""

    UNSPECIFIED = "INSTANCE_STATUS_UNSPECIFIED"
    PENDING = "INSTANCE_STATUS_PENDING"
    CREATED = "INSTANCE_STATUS_CREATED"
    STARTING = "INSTANCE_STATUS_STARTING"
    RUNNING = "INSTANCE_STATUS_RUNNING"
    STOPPING = "INSTANCE_STATUS_STOPPING"
    STOPPED = "INSTANCE_STATUS_STOPPED"
    FAILED = "INSTANCE_STATUS_FAILED"
    EXITED = "INSTANCE_STATUS_EXITED"
    DELETED = "INSTANCE_STATUS_DELETED"


class DesiredState(WireEnum):
    """What the system, or an operator, wants of an instance."""

    UNSPECIFIED = "DESIRED_STATE_UNSPECIFIED"
    RUNNING = "DESIRED_STATE_RUNNING"
    STOPPED = "DESIRED_STATE_STOPPED"
    DELETED = "DESIRED_STATE_DELETED"


class InstanceUsage(Message):
    """What an instance uses now."""

    cpu_percent: float = 0.0
    """100 is one whole core."""
    mem_used_bytes: Uint64 = 0
    mem_limit_bytes: Uint64 = 0


class ResolvedSecretMount(Message):
    """A mounted secret. `data` is never filled: values leave only through RevealSecret."""

    name: str = ""
    mount_path: str = ""
    data: dict[str, str] = {}
    items: list[KeyToPath] = []


class ResolvedConfigMount(Message):
    """A mounted configmap."""

    name: str = ""
    mount_path: str = ""
    data: dict[str, str] = {}
    items: list[KeyToPath] = []


class InstanceMetadata(Message):
    """What the system notes about an instance."""

    generation: Int32 = 0
    """The template generation of the service that it runs."""
    deletion_timestamp: Timestamp = None
    restart_count: Count = 0
    secret_mounts: list[ResolvedSecretMount] = []
    config_mounts: list[ResolvedConfigMount] = []


class Instance(Resource):
    """One running copy of a service. Its id lasts through restarts; its pid does not."""

    KIND: ClassVar[str] = "instance"

    id: str = ""
    runner: str = ""
    """`process` or `docker`."""
    namespace: NamespaceName = ""
    name: str = ""
    service_id: str = ""
    service_name: str = ""
    node_id: str = ""
    ip: str = ""
    """Its own address: a process listens there by its HOST, a container has it on its network."""
    status: InstanceStatus = InstanceStatus.UNSPECIFIED
    status_message: str = ""
    container_id: str = ""
    pid: Count = 0
    created_at: Timestamp = None
    updated_at: Timestamp = None
    resources: Resources | None = None
    metadata: InstanceMetadata | None = None
    failed_at: Timestamp = None
    failure_reason: str = ""
    labels: dict[str, str] = {}
    usage: InstanceUsage | None = None
    ready: bool = False
    """It runs and its readiness probe, if there is one, agrees."""
    exit_code: Annotated[Int32 | None, Meta(extra={"presence": True})] = None
    """How the last run ended; absent while none has."""
    desired: DesiredState = DesiredState.UNSPECIFIED
    attempt: Count = 1
    """Which start this is, from 1; restarts by hand count as well."""
    streak: Count = 0
    """How many runs in a row were short; the back-off grows with it."""
    grace: Annotated[Seconds | None, Meta(extra={"presence": True})] = None
    """How many seconds it may take to end when it is stopped; the service's own drain time when absent."""
    start_after: Timestamp = None
    """The back-off: it is not started again before."""
    ready_since: Timestamp = None
    """Since when it has been ready without a break; absent while it is not."""
    notes: list[str] = []
    """What it did not get at its last start, although its service asks for it."""
    held: Text = ""
    """Why it is kept from running, whatever its desired state; empty for one that nothing keeps."""
    cut_off: bool = False
    """It is to go on without a network."""
    apart: bool = False
    """It was cut off from its network."""

    @property
    def key(self) -> Key:
        """Instances are kept by id."""
        return Key(self.KIND, self.namespace, self.id)


class GetInstanceRequest(Message):
    """Which instance."""

    id: InstanceId
    namespace: NamespaceName = ""


class InstanceResponse(Message):
    """An instance."""

    instance: Instance | None = None
    status: Status | None = None


class ListInstancesRequest(Message):
    """Which instances: those that match everything that is given."""

    service_name: Text = ""
    """A service's name or id."""
    namespace: NamespaceFilter = ""
    node_id: Text = ""
    status: InstanceStatus = InstanceStatus.UNSPECIFIED
    paging: PagingParams | None = None
    label_selector: Selector = {}
    field_selector: Selector = {}


class ListInstancesResponse(Message):
    """The instances, by namespace and id."""

    instances: list[Instance] = []
    status: Status | None = None
    paging: PagingParams | None = None
    revision: Uint64 = 0
    """Watch from here and nothing is missed."""


class InstanceActionRequest(Message):
    """Which instance, and how long it may take to end (the service's `drain_seconds` when 0)."""

    id: InstanceId
    timeout_seconds: Seconds = 0
    force: bool = False
    """Kill it instead of asking it to end."""
    namespace: NamespaceName = ""


class WatchInstancesRequest(Message):
    """Which instances to watch. `service_id` is a service's id or its name."""

    namespace: NamespaceFilter = ""
    service_id: Text = ""
    label_selector: Selector = {}
    field_selector: Selector = {}
    resume: Uint64 = 0
    """Go on after this revision; 0 begins with what there is now."""


class WatchInstancesResponse(Message):
    """One change. For an instance that was deleted: as it was last."""

    instance: Instance | None = None
    event_type: EventType = EventType.UNSPECIFIED
    status: Status | None = None
    revision: Uint64 = 0
    """Where to resume after this item; 0 while the items are part of what there was at the start."""


_KIND = Kind(
    noun="instance", service="InstanceService", path="/v1/namespaces/{namespace}/instances", item="{id}"
)
_ITEM = "/v1/namespaces/{namespace}/instances/{id}"


def _action(verb: str, summary: str, effect: Effect) -> Operation[InstanceActionRequest, InstanceResponse]:
    return Operation(
        service="InstanceService",
        method=f"{verb.capitalize()}Instance",
        request=InstanceActionRequest,
        response=InstanceResponse,
        summary=summary,
        resource="instances",
        verb="update",
        http=Http(verb="POST", path=f"{_ITEM}/{verb}", body="*"),
        effect=effect,
    )


get = _KIND.get(GetInstanceRequest, InstanceResponse)
list_ = _KIND.list(ListInstancesRequest, ListInstancesResponse, watch="watch_instances")
watch = _KIND.watch(WatchInstancesRequest, WatchInstancesResponse)
start = _action("start", "Start an instance that was stopped or has ended.", Effect.SETTLE)
stop = _action(
    "stop", "Stop an instance; it stays stopped until it is started or its service changes.", Effect.SETTLE
)
restart = _action("restart", "End an instance and start it again at once.", Effect.CHANGE)
