"""Handlers of health: how services, instances and the node are, seen from what the reconcilers wrote down."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from typing import Final

import msgspec

from rune import __version__
from rune.api.common import OK
from rune.api.orchestrator import health as api
from rune.api.orchestrator.health import ComponentHealth, HealthCheckResult, HealthStatus
from rune.api.orchestrator.instances import DesiredState, Instance, InstanceStatus
from rune.api.orchestrator.services import Service, ServiceStatus
from rune.core.call import Call
from rune.core.clock import Clock
from rune.core.dispatch import Dispatcher
from rune.core.store.base import R, Store
from rune.errors import InvalidArgument, NotFound
from rune.orchestrator.copies import copies_of
from rune.orchestrator.machine import Probes
from rune.orchestrator.node import Node

SERVICE, INSTANCE, NODE = "service", "instance", "node"
TYPES: Final = {"": "", SERVICE: SERVICE, "svc": SERVICE, INSTANCE: INSTANCE, "inst": INSTANCE, NODE: NODE}
"""The words for a type of component, and what each means."""


class Health:
    """What can be asked about health."""

    def __init__(
        self, store: Store, probes: Probes, node: Node, *, is_ready: Callable[[], bool], clock: Clock
    ) -> None:
        self._store = store
        self._probes = probes
        self._node = node
        self._is_ready = is_ready
        self._clock = clock

    def register(self, dispatcher: Dispatcher) -> None:
        """Make these the handlers of the operations."""
        dispatcher.handles(api.get)(self.get)
        dispatcher.handles(api.version)(self.version)

    async def get(self, call: Call, ask: api.GetHealthRequest) -> api.GetHealthResponse:
        """The components that are asked for."""
        kind = TYPES.get(ask.component_type.lower())
        if kind is None:
            known = f"it is one of {SERVICE}, {INSTANCE}, {NODE}"
            raise InvalidArgument(f"unknown component type: {ask.component_type}; {known}")
        return api.GetHealthResponse(components=list(self._components(call, ask, kind)), status=OK)

    async def version(self, call: Call, ask: api.GetServerVersionRequest) -> api.GetServerVersionResponse:
        """What runs here."""
        return api.GetServerVersionResponse(
            version=__version__,
            commit=commit(),
            go_version=f"python {platform.python_version()}",
            os=sys.platform,
            arch=platform.machine(),
            ready=self._is_ready(),
        )

    def _components(self, call: Call, ask: api.GetHealthRequest, kind: str) -> Iterator[ComponentHealth]:
        if kind in ("", SERVICE):
            for service in self._chosen(call, ask, Service, optional=not kind):
                yield self._of_service(service, with_checks=ask.include_checks)
        if kind == INSTANCE:
            for instance in self._chosen(call, ask, Instance):
                yield self._of_instance(instance, with_checks=ask.include_checks)
        if kind == NODE and ask.name not in ("", self._node.name):
            raise NotFound(f"node not found: {ask.name}")
        if kind == NODE or (not kind and ask.name in ("", self._node.name)):
            yield self._of_node(with_checks=ask.include_checks)

    def _chosen(
        self, call: Call, ask: api.GetHealthRequest, kind: type[R], *, optional: bool = False
    ) -> Sequence[R]:
        """What the caller may see; raises NotFound when a name was given that nothing has."""
        namespace = None if call.namespace == "*" else call.namespace
        found = [
            item
            for item in self._store.list(kind, namespace)
            if ask.name in ("", item.key.name) and call.sees(item.key.namespace)
        ]
        is_node = optional and ask.name == self._node.name
        if ask.name and not found and not is_node:
            raise NotFound(f"{kind.KIND} not found: {ask.name}")
        return found

    def _of_service(self, service: Service, *, with_checks: bool) -> ComponentHealth:
        copies = [
            item
            for item in copies_of(self._store, service.namespace, service.name)
            if item.desired is not DesiredState.DELETED
        ]
        ready = sum(item.ready for item in copies)
        return ComponentHealth(
            component_type=SERVICE,
            id=service.id,
            name=service.name,
            namespace=service.namespace,
            status=service_health(service.status, ready=ready, scale=service.scale),
            message=service.status_message or f"{ready} of {service.scale} copies are ready",
            timestamp=self._clock.now(),
            check_results=[check for item in copies for check in self._named(item)] if with_checks else [],
        )

    def _named(self, instance: Instance) -> Iterator[HealthCheckResult]:
        """The results of one copy among those of others."""
        for check in self._probes.results(instance.id):
            said = check.message or "well"
            yield msgspec.structs.replace(check, message=f"{instance.id}: {said}")

    def _of_instance(self, instance: Instance, *, with_checks: bool) -> ComponentHealth:
        word = instance.status.value.rpartition("STATUS_")[2].lower()
        return ComponentHealth(
            component_type=INSTANCE,
            id=instance.id,
            name=instance.name,
            namespace=instance.namespace,
            status=instance_health(instance),
            message=f"{word}: {instance.status_message}" if instance.status_message else word,
            timestamp=self._clock.now(),
            check_results=self._probes.results(instance.id) if with_checks else [],
        )

    def _of_node(self, *, with_checks: bool) -> ComponentHealth:
        try:
            resources, why = self._node.resources(), ""
        except OSError as error:
            resources, why = None, f"its resources cannot be read: {error}"
        return ComponentHealth(
            component_type=NODE,
            id=self._node.name,
            name=self._node.name,
            status=HealthStatus.HEALTHY if self._is_ready() else HealthStatus.DEGRADED,
            message=why or ("ready" if self._is_ready() else "the reconcilers do not run yet"),
            timestamp=self._clock.now(),
            check_results=self._node.checks() if with_checks else [],
            resources=resources,
        )


@cache
def commit() -> str:
    """The commit that this package was installed from, where its installer wrote that down; else empty.

    Nothing writes down when a package was built, so the answer leaves that out.
    """
    try:
        told = distribution("runesec").read_text("direct_url.json")
        found = msgspec.json.decode(told or "{}", type=_Origin)
    except (PackageNotFoundError, msgspec.MsgspecError):
        return ""
    return found.vcs_info.commit_id


class _Vcs(msgspec.Struct, frozen=True):
    """The part of a package's origin that names a commit."""

    commit_id: str = ""


class _Origin(msgspec.Struct):
    """Where a package came from, as installers write it down (PEP 610)."""

    vcs_info: _Vcs = _Vcs()


def service_health(status: ServiceStatus, *, ready: int, scale: int) -> HealthStatus:
    """Healthy with every copy ready, degraded with some; without any it depends on what was seen so far."""
    if status is ServiceStatus.RUNNING or (ready >= scale and status is not ServiceStatus.FAILED):
        return HealthStatus.HEALTHY
    if ready:
        return HealthStatus.DEGRADED
    return HealthStatus.UNKNOWN if status is ServiceStatus.PENDING else HealthStatus.UNHEALTHY


def instance_health(instance: Instance) -> HealthStatus:
    """Unknown for one that is not meant to run, or has not been asked yet."""
    if instance.ready:
        return HealthStatus.HEALTHY
    if instance.status in (InstanceStatus.FAILED, InstanceStatus.RUNNING):
        return HealthStatus.UNHEALTHY
    return HealthStatus.UNKNOWN
