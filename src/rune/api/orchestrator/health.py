"""Health: how services, instances and the node are, and what the server is."""

from __future__ import annotations

from rune.api.common import Status
from rune.api.fields import Count, Int64, Message, NamespaceFilter, Text, Timestamp, WireEnum
from rune.api.operation import Access, Http, Operation


class HealthStatus(WireEnum):
    """How a component is."""

    UNSPECIFIED = "HEALTH_STATUS_UNSPECIFIED"
    UNKNOWN = "HEALTH_STATUS_UNKNOWN"
    HEALTHY = "HEALTH_STATUS_HEALTHY"
    UNHEALTHY = "HEALTH_STATUS_UNHEALTHY"
    DEGRADED = "HEALTH_STATUS_DEGRADED"


class HealthCheckType(WireEnum):
    """Which of a service's probes."""

    UNSPECIFIED = "HEALTH_CHECK_TYPE_UNSPECIFIED"
    LIVENESS = "HEALTH_CHECK_TYPE_LIVENESS"
    READINESS = "HEALTH_CHECK_TYPE_READINESS"
    STARTUP = "HEALTH_CHECK_TYPE_STARTUP"


class ProbeAnswer(Message):
    """One answer to a probe."""

    at: Timestamp = None
    ok: bool = False
    message: str = ""
    """Why it is not well; empty when it is."""
    milliseconds: Count = 0
    """How long the answer took."""


class HealthCheckResult(Message):
    """What a probe said last."""

    type: HealthCheckType = HealthCheckType.UNSPECIFIED
    status: HealthStatus = HealthStatus.UNSPECIFIED
    message: str = ""
    timestamp: Timestamp = None
    consecutive_successes: Count = 0
    consecutive_failures: Count = 0
    history: list[ProbeAnswer] = []
    """The last ten answers, newest first."""


class NodeResources(Message):
    """What a machine has and uses."""

    cpu_cores: float = 0.0
    mem_total_bytes: Int64 = 0
    cpu_used_percent: float = 0.0
    mem_used_bytes: Int64 = 0


class ComponentHealth(Message):
    """How one component is."""

    component_type: str = ""
    id: str = ""
    name: str = ""
    namespace: str = ""
    status: HealthStatus = HealthStatus.UNSPECIFIED
    message: str = ""
    timestamp: Timestamp = None
    check_results: list[HealthCheckResult] = []
    resources: NodeResources | None = None


class GetHealthRequest(Message):
    """Which components: `service`, `instance`, `node` or (empty) services and the node; `name` picks one."""

    component_type: Text = ""
    name: Text = ""
    namespace: NamespaceFilter = ""
    include_checks: bool = False
    """Add what each probe said last, and the answers before."""


class GetHealthResponse(Message):
    """The components."""

    components: list[ComponentHealth] = []
    status: Status | None = None


class GetServerVersionRequest(Message):
    """Nothing to say."""


class GetServerVersionResponse(Message):
    """What runs here."""

    version: str = ""
    commit: str = ""
    build_time: str = ""
    go_version: str = ""
    """The version of the language runtime; the name is the published contract's."""
    os: str = ""
    arch: str = ""
    ready: bool = False
    """The store is open and the reconcilers run."""


get = Operation(
    service="HealthService",
    method="GetHealth",
    name="get_workload_health",
    request=GetHealthRequest,
    response=GetHealthResponse,
    summary="See how services, instances or the node are.",
    resource="health",
    verb="get",
    http=Http(verb="GET", path="/v1/namespaces/{namespace}/health"),
)
version = Operation(
    service="HealthService",
    method="GetServerVersion",
    request=GetServerVersionRequest,
    response=GetServerVersionResponse,
    summary="See the server's version.",
    resource="health",
    verb="get",
    http=Http(verb="GET", path="/v1/version"),
    access=Access.KNOWN,
)
