"""A small orchestrator in memory behind the real dispatcher, for tests of what talks to one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from rune.api import Operation
from rune.api.common import EventType
from rune.api.fields import Message
from rune.api.orchestrator import (
    admin,
    auth,
    configmaps,
    deletions,
    health,
    instances,
    logs,
    namespaces,
    secrets,
    services,
)
from rune.api.orchestrator import (
    exec as exec_api,
)
from rune.core.access import Principal, Rule
from rune.core.call import Call, Caller
from rune.core.clock import SystemClock
from rune.core.dispatch import Dispatcher, Guards
from rune.errors import (
    AlreadyExists,
    NotFound,
    OutOfRange,
    RuneError,
    Unauthenticated,
    Unavailable,
)

TOKEN = "let-me-in"
BORN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ROOT = Principal(id="1", name="root", rules=(Rule(resource="*", verbs=frozenset("*")),))


class OneToken:
    """Knows one token, and never loses it."""

    def authenticate(self, caller: Caller) -> Principal:
        if caller.bearer != TOKEN:
            raise Unauthenticated("the token is unknown")
        return ROOT

    def lost(self, principal: Principal) -> asyncio.Event:
        return asyncio.Event()


class Open:
    """Limits nothing, notes nothing."""

    def take(self, operation: Operation[Any, Any], principal: Principal, weight: int = 1) -> None: ...

    async def record(self, call: Call, ask: Message | None, outcome: RuneError | None) -> None: ...

    def observe(self, operation: Operation[Any, Any], outcome: str, seconds: float) -> None: ...


class Plane:
    """Services that run at once, or as `starts` says: a function from a service to how it turns out."""

    def __init__(self) -> None:
        self.revision = 100
        self.kept: dict[tuple[str, str, str], Any] = {}
        self.log: list[tuple[int, EventType, Any]] = []
        self.changed = asyncio.Event()
        self.oldest = 0
        self.deletions: dict[str, deletions.DeletionOperation] = {}
        self.asked: list[tuple[str, Message]] = []
        self.deletions: dict[str, deletions.DeletionOperation] = {}
        self.drop_after: int | None = None
        """Watches break off after so many items, once each."""
        self.starts: Callable[[services.Service], services.Service] = running
        self.lines = ["one", "two", "three"]
        self.dispatcher = Dispatcher(
            Guards(identity=OneToken(), limits=Open(), audit=Open(), meter=Open(), clock=SystemClock())
        )
        _register(self)

    def put(self, resource: Any, event: EventType = EventType.MODIFIED) -> Any:
        """Keep the resource at the next revision and tell who watches."""
        self.revision += 1
        resource = msgspec.structs.replace(resource, revision=self.revision)
        key = resource.key
        if event is EventType.DELETED:
            self.kept.pop(key, None)
        else:
            self.kept[key] = resource
        self.log.append((self.revision, event, resource))
        self.changed.set()
        self.changed = asyncio.Event()
        return resource

    def all(self, kind: type[Any], namespace: str) -> list[Any]:
        """What is kept of a kind in a namespace, `*` in all."""
        found = [value for value in self.kept.values() if type(value) is kind]
        return [v for v in found if namespace in ("*", getattr(v, "namespace", namespace))]

    def find(self, kind: type[Any], namespace: str, name: str) -> Any:
        """The resource; raises NotFound."""
        for value in self.all(kind, namespace):
            if value.name == name:
                return value
        raise NotFound(f"{kind.KIND} {name!r} was not found in namespace {namespace!r}")

    async def changes(
        self, kind: type[Any], namespace: str, after: int
    ) -> AsyncIterator[tuple[int, EventType, Any]]:
        """Every change after the revision, as it comes."""
        if after < self.oldest:
            raise OutOfRange("the revision is older than the kept history", oldest=self.oldest)
        sent = 0
        while True:
            changed = self.changed
            for revision, event, value in self._after(kind, namespace, after):
                yield revision, event, value
                after, sent = revision, sent + 1
                self._drop(sent)
            await changed.wait()

    def _after(self, kind: type[Any], namespace: str, after: int) -> list[tuple[int, EventType, Any]]:
        places = ("*", namespace)
        rows = [row for row in self.log if row[0] > after and type(row[2]) is kind]
        return [row for row in rows if namespace == "*" or row[2].namespace in places]

    def _drop(self, sent: int) -> None:
        if self.drop_after == sent:
            self.drop_after = None
            raise Unavailable("the connection broke")


def running(service: services.Service) -> services.Service:
    """A service as it is when all is well."""
    copies = [
        instances.Instance(
            id=f"{service.name}-instance-{number:08x}",
            name=f"{service.name}-{number}",
            namespace=service.namespace,
            service_name=service.name,
            status=instances.InstanceStatus.RUNNING,
            ready=True,
            runner="process",
            created_at=BORN,
        )
        for number in range(service.scale)
    ]
    return msgspec.structs.replace(service, status=services.ServiceStatus.RUNNING, instances=copies)


def failing(service: services.Service) -> services.Service:
    """A service whose copies do not start."""
    return msgspec.structs.replace(
        service,
        status=services.ServiceStatus.FAILED,
        status_reason="CrashLoop",
        status_message="exit code 127: no such file: /nope",
    )


def pending(service: services.Service) -> services.Service:
    """A service that never gets anywhere."""
    return msgspec.structs.replace(service, status=services.ServiceStatus.PENDING)


def _register(plane: Plane) -> None:
    _instances(plane)
    _namespaces(plane)
    _configmaps(plane)
    _streams(plane)
    _others(plane)


def _instances(plane: Plane) -> None:
    handles = plane.dispatcher.handles

    @handles(instances.list_)
    async def list_(call: Call, ask: instances.ListInstancesRequest) -> instances.ListInstancesResponse:
        found = [
            i
            for i in plane.all(instances.Instance, call.namespace)
            if ask.service_name in ("", i.service_name)
        ]
        return instances.ListInstancesResponse(instances=found, revision=plane.revision)

    @handles(instances.get)
    async def get(call: Call, ask: instances.GetInstanceRequest) -> instances.InstanceResponse:
        for value in plane.all(instances.Instance, call.namespace):
            if value.id == ask.id:
                return instances.InstanceResponse(instance=value)
        raise NotFound(f"instance {ask.id!r} was not found in namespace {call.namespace!r}")


def _namespaces(plane: Plane) -> None:
    handles = plane.dispatcher.handles

    @handles(namespaces.create)
    async def create(
        call: Call, ask: namespaces.CreateNamespaceRequest
    ) -> namespaces.CreateNamespaceResponse:
        plane.asked.append(("namespace", ask))
        if ask.namespace.key in plane.kept:
            raise AlreadyExists("it exists")
        return namespaces.CreateNamespaceResponse(namespace=plane.put(ask.namespace, EventType.ADDED))

    @handles(namespaces.list_)
    async def list_(call: Call, ask: namespaces.ListNamespacesRequest) -> namespaces.ListNamespacesResponse:
        return namespaces.ListNamespacesResponse(
            namespaces=plane.all(namespaces.Namespace, "*"), revision=plane.revision
        )


def _configmaps(plane: Plane) -> None:
    handles = plane.dispatcher.handles

    @handles(configmaps.create)
    async def create(call: Call, ask: configmaps.CreateConfigmapRequest) -> configmaps.ConfigmapResponse:
        plane.asked.append(("configmap", ask))
        if ask.configmap.key in plane.kept:
            raise AlreadyExists("it exists")
        return configmaps.ConfigmapResponse(configmap=plane.put(ask.configmap, EventType.ADDED))

    @handles(configmaps.update)
    async def update(call: Call, ask: configmaps.UpdateConfigmapRequest) -> configmaps.ConfigmapResponse:
        return configmaps.ConfigmapResponse(configmap=plane.put(ask.configmap))


def _streams(plane: Plane) -> None:
    handles = plane.dispatcher.handles

    @handles(logs.get)
    async def get_logs(call: Call, ask: logs.LogRequest) -> AsyncIterator[logs.LogResponse]:
        plane.asked.append(("logs", ask))
        plane.find(services.Service, call.namespace, ask.resource_target.removeprefix("service/"))
        for line in plane.lines:
            yield logs.LogResponse(
                service_name=ask.resource_target,
                instance_id="api-instance-00000000",
                instance_name="api-0",
                timestamp=BORN,
                content=line,
                stream="stdout",
                log_level="info",
            )

    @handles(exec_api.stream)
    async def run(
        call: Call, ask: exec_api.ExecRequest, more: AsyncIterator[exec_api.ExecRequest]
    ) -> AsyncIterator[exec_api.ExecResponse]:
        plane.asked.append(("exec", ask))
        assert ask.init
        command = ask.init.command
        code = 0
        if command[:1] == ["cat"]:
            async for item in more:
                if item.stdin:
                    yield exec_api.ExecResponse(stdout=item.stdin)
        elif command[:1] == ["exit"]:
            code = int(command[1])
        else:
            yield exec_api.ExecResponse(stdout=" ".join(command).encode() + b"\n")
            yield exec_api.ExecResponse(stderr=b"warned\n")
        yield exec_api.ExecResponse(exit=exec_api.ExitInfo(code=code))


def _others(plane: Plane) -> None:
    handles = plane.dispatcher.handles

    @handles(auth.whoami)
    async def whoami(call: Call, ask: auth.WhoAmIRequest) -> auth.WhoAmIResponse:
        return auth.WhoAmIResponse(subject_id="1", subject_name="root", policies=["root"])

    @handles(health.version)
    async def version(call: Call, ask: health.GetServerVersionRequest) -> health.GetServerVersionResponse:
        return health.GetServerVersionResponse(version="9.9.9", os="linux", arch="x86_64", ready=True)

    @handles(health.get)
    async def get_health(call: Call, ask: health.GetHealthRequest) -> health.GetHealthResponse:
        return health.GetHealthResponse(
            components=[
                health.ComponentHealth(
                    component_type="service",
                    name=s.name,
                    namespace=s.namespace,
                    status=health.HealthStatus.HEALTHY,
                )
                for s in plane.all(services.Service, call.namespace)
            ]
        )

    @handles(admin.list_users)
    async def users(call: Call, ask: admin.UserListRequest) -> admin.UserListResponse:
        return admin.UserListResponse(
            users=[admin.Subject(id="1", name="root", kind="user", policies=["root"])]
        )

    @handles(admin.create_user)
    async def create_user(call: Call, ask: admin.UserCreateRequest) -> admin.UserCreateResponse:
        return admin.UserCreateResponse(
            user=admin.Subject(id="2", name=ask.name, email=ask.email, policies=list(ask.policies))
        )

    @handles(admin.bootstrap)
    async def bootstrap(call: Call, ask: admin.AdminBootstrapRequest) -> admin.AdminBootstrapResponse:
        return admin.AdminBootstrapResponse(token_id="t", token_secret=TOKEN, subject_id="1")

    @handles(secrets.create)
    async def create_secret(call: Call, ask: secrets.CreateSecretRequest) -> secrets.SecretResponse:
        return secrets.SecretResponse()
