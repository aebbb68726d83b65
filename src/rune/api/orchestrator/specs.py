"""What a service says about its copies: processes, ports, probes, limits, mounts and the rest of a spec."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from rune.api.fields import (
    AnyPort,
    Count,
    Int32,
    Int64,
    Message,
    Name,
    NamespaceName,
    Port,
    Seconds,
    Text,
    Timestamp,
    Uint32,
    WireEnum,
    later,
)

Argument = Annotated[str, Meta(max_length=131_072)]
EnvName = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$(?!\n)", max_length=256)]
Env = dict[EnvName, Annotated[str, Meta(max_length=131_072)]]

HeaderName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}$(?!\n)")]
HeaderValue = Annotated[str, Meta(pattern=r"^[^\x00\r\n]*$(?!\n)", max_length=4096)]

NETWORK = "service networks are not part of this release"
VOLUMES = "volumes are not part of this release"
ROUTING = "routing by host name or path is not part of this release"


class ResourceLimit(Message):
    """What is asked for and the most that is given, as `250m` (CPU) or `64Mi` (memory)."""

    request: Text = ""
    limit: Text = ""


class GPURequest(Message):
    """Graphics processors."""

    count: Count = 0
    vram: Text = ""
    allow_heterogeneous: bool = False


class Resources(Message):
    """What a copy may use."""

    cpu: ResourceLimit | None = None
    memory: ResourceLimit | None = None
    gpu: Annotated[GPURequest | None, later("GPUs are not supported"), Meta(extra={"presence": True})] = None


class ProcessSecurityContext(Message):
    """What a process may do. Anything the host cannot enforce is refused."""

    user: Text = ""
    """A name or a number; empty means as `runed` itself."""
    group: Text = ""
    read_only_fs: bool = False
    """Nothing can be written but its working folder and a /tmp of its own."""
    capabilities: Annotated[list[str], Meta(max_length=64)] = []
    """Those it keeps, as `NET_BIND_SERVICE`; in a sandbox it loses all others."""
    allowed_syscalls: Annotated[list[str], Meta(max_length=512)] = []
    """The system calls it may make; any other fails with EPERM."""
    denied_syscalls: Annotated[list[str], Meta(max_length=512)] = []
    """System calls that fail with EPERM."""
    max_processes: Count = 0
    """Processes and threads at a time; 0 means 4096 in a sandbox and no limit outside of one."""


class ProcessSpec(Message):
    """A program that runs as a native process."""

    command: Argument
    args: list[Argument] = []
    working_dir: Text = ""
    """Empty means a scratch folder of the instance."""
    security_context: ProcessSecurityContext | None = None


class ServicePort(Message):
    """A port that every copy listens on."""

    name: Text = ""
    port: Port
    target_port: AnyPort = 0
    """Where the copy listens, if not at `port`."""
    protocol: Text = ""
    """`tcp` (also when empty) or `udp`."""
    host_port: AnyPort = 0
    """The port of the machine, on all its addresses, that leads to the container; 0 publishes nothing."""


class ExposeServiceTLS(Message):
    """How an exposed service is encrypted."""

    secret: Text = ""
    """A secret of the service's namespace: its keys `tls.crt` (the chain, PEM) and `tls.key`."""
    auto: Annotated[bool, later("runed orders no certificates: keep one in a secret")] = False
    mode: Annotated[Text, later("TLS ends at the door, always")] = ""


class ExposeClientCert(Message):
    """Which client certificates an exposed service asks for."""

    ca_secret: Text = ""
    """A secret of the service's namespace: its key `ca.crt` is the authority that signs clients."""
    mode: Annotated[Text, later("who shows no certificate is not let in, always")] = ""


class ServiceExpose(Message):
    """How the service is reached from outside."""

    port: Text = ""
    """The name or number of a declared port."""
    host: Text = ""
    """The address of this machine to listen on; `127.0.0.1` when empty, `0.0.0.0` for every interface."""
    host_port: Uint32 = 0
    """The port to listen on; the declared port's number when 0."""
    path: Annotated[Text, later(ROUTING)] = ""
    tls: ExposeServiceTLS | None = None
    """Without it bytes are passed on as they are. TLS ends at the door; copies get what was inside."""
    allow_cidrs: Annotated[list[Text], Meta(max_length=256)] = []
    """The networks that may connect, such as `10.0.0.0/8`; everybody when empty."""
    client_cert: ExposeClientCert | None = None
    """Only clients with a certificate of this authority may connect; it takes `tls`."""


class ProbeType(WireEnum):
    """How a probe asks."""

    UNSPECIFIED = "PROBE_TYPE_UNSPECIFIED"
    HTTP = "PROBE_TYPE_HTTP"
    TCP = "PROBE_TYPE_TCP"
    EXEC = "PROBE_TYPE_EXEC"


class Probe(Message):
    """A question put to every copy again and again. A zero stands for the default that each field names."""

    type: ProbeType
    path: Text = ""
    """http: what to GET; 200 to 399 is healthy."""
    port: AnyPort = 0
    """http and tcp: where to connect."""
    command: list[Argument] = []
    """exec: what to run inside the copy; exit code 0 is healthy."""
    initial_delay_seconds: Seconds = 0
    period_seconds: Seconds = 0
    """10 when 0."""
    timeout_seconds: Seconds = 0
    """1 when 0."""
    success_threshold: Count = 0
    """1 when 0."""
    failure_threshold: Count = 0
    """3 when 0."""
    host: Text = ""
    """Where to connect instead of the copy itself."""
    scheme: Annotated[str, Meta(pattern=r"^(https?)?$(?!\n)")] = ""
    """http: `http` (also when empty) or `https`, whose certificate is not checked: a copy's own is seldom
    signed by anybody."""
    headers: dict[HeaderName, HeaderValue] = {}
    """http: sent with the question, such as `Host` or `Authorization`."""


class HealthCheck(Message):
    """Whether a copy must be replaced (liveness) and whether it may get traffic (readiness)."""

    liveness: Probe | None = None
    readiness: Probe | None = None
    startup: Probe | None = None
    """Asked alone until it agrees once; a copy that it gives up is started again."""


class RestartPolicy(WireEnum):
    """What happens when a copy ends."""

    UNSPECIFIED = "RESTART_POLICY_UNSPECIFIED"
    ALWAYS = "RESTART_POLICY_ALWAYS"
    ON_FAILURE = "RESTART_POLICY_ON_FAILURE"
    NEVER = "RESTART_POLICY_NEVER"


class KeyToPath(Message):
    """Which key goes into which file."""

    key: Text
    path: Text


class EnvFromSource(Message):
    """Environment variables from every key of a secret or a configmap; a key that is no name of a variable is
    left out, and the instance says so. What `env` says wins.
    """

    secret_name: Text = ""
    configmap_name: Text = ""
    namespace: NamespaceName = ""
    """Empty, or the service's own: a right to run services is no right to what other namespaces keep."""
    prefix: Text = ""


class SecretMount(Message):
    """A secret's keys as files that only the copy's user can read; a change reaches them while it runs."""

    name: Text = ""
    mount_path: Text
    """In a container an absolute path. For a process that shares the machine's files, a relative one: it is
    found below the folder that the variable RUNE_MOUNTS names."""
    secret_name: Name
    items: list[KeyToPath] = []
    """Which keys, and as which files below the path; all of them when empty."""


class ConfigmapMount(Message):
    """A configmap's keys as files; a change reaches them while the copy runs."""

    name: Text = ""
    mount_path: Text
    """As for secrets."""
    configmap_name: Name
    items: list[KeyToPath] = []
    """As for secrets."""


class ReadyWhen(WireEnum):
    """How far a dependency must have come."""

    UNSPECIFIED = "READY_WHEN_UNSPECIFIED"
    STARTED = "READY_WHEN_STARTED"
    RUNNING = "READY_WHEN_RUNNING"
    HEALTHY = "READY_WHEN_HEALTHY"


class DependencyRef(Message):
    """Something that must be there before a copy starts."""

    service: Text = ""
    namespace: NamespaceName = ""
    secret: Text = ""
    configmap: Text = ""
    ready_when: ReadyWhen = ReadyWhen.UNSPECIFIED
    """`healthy` when unspecified, which for a service without probes is `running`."""
    timeout_seconds: Seconds = 0
    """How long to wait before the service counts as failed; 0 waits for ever."""
    optional: bool = False
    """Start without it when the time is up, or when there is no such service."""


class VolumeClaim(Message):
    """A volume that exists."""

    name: Text = ""


class VolumeClaimTemplate(Message):
    """A volume to make for every copy."""

    storage_class_name: Text = ""
    size: Text = ""
    access_mode: Text = ""
    parameters: dict[str, str] = {}
    reclaim_policy: Text = ""


class VolumeMount(Message):
    """A volume in the file system of a copy."""

    name: Text = ""
    mount_path: Text = ""
    read_only: bool = False
    sub_path: Text = ""
    claim: VolumeClaim | None = None
    claim_template: VolumeClaimTemplate | None = None
    fs_user: Int32 = 0
    fs_user_set: bool = False
    fs_group: Int32 = 0
    fs_group_set: bool = False
    fs_mode: Text = ""


class SeccompProfile(Message):
    """Which system calls a container may make."""

    type: Text = ""
    """`RuntimeDefault` (also when empty) or `Unconfined`."""
    localhost_profile: Annotated[Text, later("only RuntimeDefault and Unconfined are")] = ""


class SecurityContext(Message):
    """What a container may do."""

    seccomp_profile: SeccompProfile | None = None
    cap_add: list[str] = []
    cap_drop: list[str] = []
    privileged: bool = False


class RunIfSpec(Message):
    """When an init step runs."""

    type: Text = ""
    path: Text = ""
    volume: Text = ""


class InitStep(Message):
    """Something that runs to its end before a copy starts."""

    name: Text = ""
    image: Text = ""
    command: Text = ""
    args: list[Argument] = []
    env: Env = {}
    env_from: list[EnvFromSource] = []
    volumes: list[str] = []
    volumes_set: bool = False
    secret_mounts: list[str] = []
    secret_mounts_set: bool = False
    configmap_mounts: list[str] = []
    configmap_mounts_set: bool = False
    resources: Resources | None = None
    run_if: RunIfSpec | None = None
    timeout_nanos: Int64 = 0
    restart_policy: Text = ""
    security_context: SecurityContext | None = None


class ServiceDiscovery(Message):
    """How other services find this one."""

    vip: Text = ""
    """The service's address on this machine, in answers; what clients send is not taken."""
    mode: Text = ""
    """How connections to that address are spread: `least-connections` (also when empty), `round-robin`, or
    `none` for no address at all."""
    locality_preference: Annotated[Text, later("there is one machine in this release")] = ""


class NetworkPolicyPeer(Message):
    """Who is at the other end."""

    service: Text = ""
    namespace: NamespaceName = ""
    service_selector: dict[str, str] = {}
    cidr: Text = ""


class NetworkPolicyIngressRule(Message):
    """Who may connect to the service."""

    from_: list[NetworkPolicyPeer] = field(name="from", default_factory=list[NetworkPolicyPeer])
    ports: list[str] = []


class NetworkPolicyEgressRule(Message):
    """Where the service may connect to."""

    to: list[NetworkPolicyPeer] = []
    ports: list[str] = []


class ServiceNetworkPolicy(Message):
    """Which connections are let through."""

    ingress: list[NetworkPolicyIngressRule] = []
    egress: list[NetworkPolicyEgressRule] = []


class UpdateStrategy(Message):
    """How a changed spec reaches the copies."""

    type: Text = ""
    """`rolling` (also when empty) or `recreate`, which ends the old copies before new ones start."""
    min_serving: Count = 0
    """Copies that must stay available, however many `rollout.max_unavailable` lets go."""


class IngressCertStatus(Message):
    """How the certificate of an exposed service is."""

    host: str = ""
    state: str = ""
    issued_at: Timestamp = None
    expires_at: Timestamp = None
    last_error: str = ""
    next_retry: Timestamp = None
