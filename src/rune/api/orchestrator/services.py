"""Services: what should run, how many copies of it, and how that is going."""

from __future__ import annotations

from typing import Annotated, ClassVar

from rune.api.common import EventType, PagingParams, Status
from rune.api.fields import (
    Count,
    Int32,
    Int64,
    Message,
    Name,
    NamespaceFilter,
    NamespaceName,
    Scale,
    Seconds,
    Selector,
    Text,
    Timestamp,
    Uint64,
    WireEnum,
    later,
)
from rune.api.operation import Effect, Http, Kind, Operation, Rate, Streaming
from rune.api.orchestrator import instances, specs
from rune.api.orchestrator.autoscale import Autoscale, Autoscaling
from rune.api.orchestrator.deletions import Finalizer
from rune.api.orchestrator.guard import ServiceAgent, ServiceGuard
from rune.api.orchestrator.instances import Instance
from rune.api.orchestrator.rollout import Rollout
from rune.api.orchestrator.scaling import (
    InstanceProblem,
    ScaleServiceRequest,
    Scaling,
    ScalingMode,
    ScalingState,
    ScalingStatusResponse,
    WatchScalingRequest,
)
from rune.api.resource import Resource

__all__ = ["InstanceProblem", "ScalingMode", "ScalingState"]


class ServiceStatus(WireEnum):
    """How a service is, in one word; `status_reason` and `status_message` say why."""

    UNSPECIFIED = "SERVICE_STATUS_UNSPECIFIED"
    PENDING = "SERVICE_STATUS_PENDING"
    RUNNING = "SERVICE_STATUS_RUNNING"
    UPDATING = "SERVICE_STATUS_UPDATING"
    FAILED = "SERVICE_STATUS_FAILED"


class ServiceMetadata(Message):
    """What the system notes about a service. Clients read it; what they send is not taken."""

    generation: Int64 = 0
    """Counts the accepted changes of the spec, from 1."""
    created_at: Timestamp = None
    updated_at: Timestamp = None
    last_non_zero_scale: Int32 = 0
    template_generation: Int64 = 0
    """Counts the changes that need new copies, from 1: a change of scale or labels alone does not."""
    observed_generation: Int64 = 0
    """The generation that the status speaks of."""
    rolled_back_generation: Int64 = 0
    """The newest generation that was undone because its copies failed; 0 when none was."""


class UpdateStatus(Message):
    """How far a changed spec has reached the copies."""

    template_generation: Int64 = 0
    desired: Count = 0
    updated: Count = 0
    updated_ready: Count = 0
    available: Count = 0
    outdated: Count = 0
    started_at: Timestamp = None
    last_progress_at: Timestamp = None
    """Absent while the rollout waits for something else: a dependency, or its turn."""
    message: str = ""
    peak: Count = 0
    """The most copies of the newest template that were available at once."""


class ExposureStatus(Message):
    """How it is with what `expose` asks for."""

    address: str = ""
    """Where it is reached, as `host:port`."""
    is_open: bool = False
    """Somebody listens there."""
    message: str = ""
    """Why nobody does."""


class Service(Resource):
    """A service: desired state, `scale` copies of it, and what was seen of them."""

    KIND: ClassVar[str] = "service"

    id: str = ""
    name: Name
    namespace: NamespaceName = ""
    labels: dict[str, str] = {}
    image: Text = ""
    """What the copies run, as containers of the Docker Engine: `[HOST[:PORT]/]name[:tag][@digest]`."""
    command: Text = ""
    """With an image: what runs in place of its entrypoint. Without one: the program of a process."""
    args: list[specs.Argument] = []
    """With an image and no command: in place of the image's own arguments."""
    env: specs.Env = {}
    env_from: list[specs.EnvFromSource] = []
    scale: Scale = 0
    """How many copies should run. 0 is none: there is no other default on the wire."""
    ports: list[specs.ServicePort] = []
    resources: specs.Resources | None = None
    """What a copy may use at most, and is promised."""
    health: specs.HealthCheck | None = None
    status: ServiceStatus = ServiceStatus.UNSPECIFIED
    runtime: Text = ""
    """`process` or `docker`; derived from the spec when empty."""
    process: specs.ProcessSpec | None = None
    restart_policy: specs.RestartPolicy = specs.RestartPolicy.UNSPECIFIED
    """`always` when unspecified."""
    secret_mounts: list[specs.SecretMount] = []
    configmap_mounts: list[specs.ConfigmapMount] = []
    metadata: ServiceMetadata | None = None
    dependencies: list[specs.DependencyRef] = []
    expose: specs.ServiceExpose | None = None
    image_pull: Text = ""
    """When the image is asked for at its registry: `missing` (also when empty), `always` or `never`."""
    status_reason: str = ""
    status_message: str = ""
    volumes: Annotated[list[specs.VolumeMount], later(specs.VOLUMES)] = []
    init_steps: Annotated[list[specs.InitStep], later("init steps are not part of this release")] = []
    security_context: specs.SecurityContext | None = None
    """What a container may do. More than the Engine gives by itself takes services:privileged."""
    instances: list[Instance] = []
    """The copies, in answers only."""
    discovery: specs.ServiceDiscovery | None = None
    ingress_cert: specs.IngressCertStatus | None = None
    network_policy: Annotated[specs.ServiceNetworkPolicy | None, later(specs.NETWORK)] = None
    image_pull_anonymous: bool = False
    """Pull without credentials, also where there are some for the registry."""
    update_strategy: specs.UpdateStrategy | None = None
    update: UpdateStatus | None = None
    drain_seconds: Seconds = 0
    """How long a copy may take to end after SIGTERM; 10 when 0."""
    deletion_id: str = ""
    """The deletion that is under way; the service takes no more changes."""
    address: str = ""
    """Where it answers on this machine, at the tcp ports it declares; it keeps it for life."""
    shares_ports: bool = False
    """Its copies listen on every address of the machine, so that no two can run at a time."""
    exposure: ExposureStatus | None = None
    rollout: Rollout | None = None
    scaling: Scaling | None = None
    """The last scaling that went step by step or was watched over, in answers only."""
    agent: ServiceAgent | None = None
    """The copies are an AI agent: each gets an API key of its own and is guarded."""
    guard: ServiceGuard | None = None
    """What agent security wants of it, in answers only."""
    autoscale: Autoscale | None = None
    """How many copies run, by what they have to do."""
    autoscaling: Autoscaling | None = None
    """How it is with that, in answers only."""


class ServiceResponse(Message):
    """A service."""

    service: Service | None = None
    status: Status | None = None


class CreateServiceRequest(Message):
    """The service to create. One of that name that exists is left alone: use UpdateService."""

    service: Service
    deployment_tag: Text = ""
    """Kept as the label `rune/deployment-tag`."""
    ensure_namespace: bool = False
    """Create the namespace as well when there is none."""


class GetServiceRequest(Message):
    """Which service."""

    name: Name
    namespace: NamespaceName = ""


class ListServicesRequest(Message):
    """Which services: those that match every selector. Fields: name, namespace, status, runtime."""

    namespace: NamespaceFilter = ""
    label_selector: Selector = {}
    field_selector: Selector = {}
    paging: PagingParams | None = None


class ListServicesResponse(Message):
    """The services, by namespace and name."""

    services: list[Service] = []
    status: Status | None = None
    paging: PagingParams | None = None
    revision: Uint64 = 0
    """Watch from here and nothing is missed."""


class WatchServicesRequest(Message):
    """Which services to watch."""

    namespace: NamespaceFilter = ""
    label_selector: Selector = {}
    field_selector: Selector = {}
    resume: Uint64 = 0
    """Go on after this revision; 0 begins with what there is now."""


class WatchServicesResponse(Message):
    """One change. For a service that was deleted: as it was last."""

    service: Service | None = None
    event_type: EventType = EventType.UNSPECIFIED
    status: Status | None = None
    revision: Uint64 = 0
    """Where to resume after this item; 0 while the items are part of what there was at the start."""


class UpdateServiceRequest(Message):
    """The service as it should be, whole. A spec that says what is there already changes nothing."""

    service: Service
    deployment_tag: Text = ""
    force: bool = False
    """Replace the copies even when nothing changed."""


class DeleteServiceRequest(Message):
    """Which service to delete, and how."""

    name: Name
    namespace: NamespaceName = ""
    force: bool = False
    """Do not ask the copies to end: kill them."""
    timeout_seconds: Seconds = 0
    detach: bool = False
    """Answer at once; without it the answer comes when everything is gone,
    or after `timeout_seconds` (300 when 0)."""
    dry_run: bool = False
    grace_period: Seconds = 0
    """How long the copies may take to end; the service's own `drain_seconds` when 0."""
    now: bool = False
    """The same as `force`."""
    ignore_not_found: bool = False
    finalizers: Annotated[list[str], later("finalizers are chosen by the server")] = []
    no_dependencies: bool = False
    """Delete it although other services depend on it."""


class DeleteServiceResponse(Message):
    """The deletion, done or under way."""

    deletion_id: str = ""
    status: Status | None = None
    warnings: list[str] = []
    errors: list[str] = []
    cleanup_operations: list[str] = []
    partial_cleanup: bool = False
    finalizers: list[Finalizer] = []


class RestartServiceRequest(Message):
    """Which service to restart, whatever state it is in."""

    name: Name
    namespace: NamespaceName = ""


class RestartServiceResponse(Message):
    """What the copies are being replaced by."""

    template_generation: Int64 = 0
    scale: Count = 0


_KIND = Kind(noun="service", service="ServiceService", path="/v1/namespaces/{namespace}/services")
_ITEM = "/v1/namespaces/{namespace}/services/{name}"

create = _KIND.create(CreateServiceRequest, ServiceResponse, summary="Create a service and start its copies.")
get = _KIND.get(GetServiceRequest, ServiceResponse, summary="Get a service with its copies.")
list_ = _KIND.list(ListServicesRequest, ListServicesResponse, watch="watch_services")
watch = _KIND.watch(WatchServicesRequest, WatchServicesResponse)
update = _KIND.update(
    UpdateServiceRequest,
    ServiceResponse,
    summary="Replace a service's spec; copies are replaced only when it really changed.",
)
delete = _KIND.delete(
    DeleteServiceRequest, DeleteServiceResponse, summary="Delete a service: end its copies, then remove it."
)
scale = Operation(
    service="ServiceService",
    method="ScaleService",
    request=ScaleServiceRequest,
    response=ServiceResponse,
    summary="Set how many copies of a service run, at once or step by step.",
    resource="services",
    verb="scale",
    http=Http(verb="POST", path=f"{_ITEM}/scale", body="*"),
    effect=Effect.SETTLE,
)
watch_scaling = Operation(
    service="ServiceService",
    method="WatchScaling",
    request=WatchScalingRequest,
    response=ScalingStatusResponse,
    summary="Follow a scaling until it is complete.",
    resource="services",
    verb="watch",
    http=Http(verb="GET", path="/v1/namespaces/{namespace}/services/{service_name}/scaling"),
    streaming=Streaming.SERVER,
    rate=Rate.STREAM,
)
restart = Operation(
    service="ServiceService",
    method="RestartService",
    request=RestartServiceRequest,
    response=RestartServiceResponse,
    summary="Replace every copy of a service.",
    resource="services",
    verb="update",
    http=Http(verb="POST", path=f"{_ITEM}/restart", body="*"),
    effect=Effect.CHANGE,
)
list_instances = Operation(
    service="ServiceService",
    method="ListInstances",
    name="list_service_instances",
    request=instances.ListInstancesRequest,
    response=instances.ListInstancesResponse,
    summary="List the copies of one service.",
    resource="instances",
    verb="list",
    http=Http(verb="GET", path="/v1/namespaces/{namespace}/services/{service_name}/instances"),
)
