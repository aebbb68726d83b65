"""Health of services, instances and the node, for those who may see them."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rune import __version__
from rune.api.orchestrator import health as api
from rune.api.orchestrator.health import (
    ComponentHealth,
    GetHealthRequest,
    HealthCheckResult,
    HealthCheckType,
    HealthStatus,
)
from rune.api.orchestrator.instances import Instance, InstanceStatus
from rune.api.orchestrator.services import ServiceStatus
from rune.core.access import rule
from rune.core.clock import ManualClock
from rune.errors import InvalidArgument, NotFound, PermissionDenied
from rune.orchestrator.health import Health, instance_health, service_health
from rune.orchestrator.node import Node
from unit.orchestrator.plane import NoProbes, Plane, new_plane

MEMORY = "MemTotal:       2000 kB\nMemFree:         100 kB\nMemAvailable:    500 kB\nBuffers: 1 kB\n"


class OneProbe(NoProbes):
    """Everything was alive when it was last asked."""

    def results(self, instance: str) -> list[HealthCheckResult]:
        return [HealthCheckResult(type=HealthCheckType.LIVENESS, status=HealthStatus.HEALTHY)]


class Machine:
    """A /proc of our own."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self._folder = folder
        self.node = Node("here", clock=self.clock, proc=folder)
        self.at(0, 0)

    def at(self, busy: int, idle: int) -> None:
        (self._folder / "stat").write_text(f"cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 1 2 3\n")
        (self._folder / "meminfo").write_text(MEMORY)


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
    plane = await new_plane()
    node = Machine(tmp_path).node
    Health(plane.store, OneProbe(), node, is_ready=lambda: True, clock=plane.clock).register(plane.dispatcher)
    async with asyncio.timeout(10), plane.running():
        await plane.serve("api", scale=2)
        await plane.serve("web", "shop")
        await plane.until(lambda: all(len(ready(plane, *of)) == n for of, n in COPIES))
        yield plane


COPIES = ((("api", "default"), 2), (("web", "shop"), 1))


def ready(plane: Plane, service: str, namespace: str) -> list[Instance]:
    return [item for item in plane.copies(service, namespace) if item.ready]


async def ask(plane: Plane, who: str = "root", **given: object) -> list[ComponentHealth]:
    answer = await plane.call(api.get, GetHealthRequest(**given), who)  # pyright: ignore[reportArgumentType] - fields by name
    return answer.components


def found(components: list[ComponentHealth]) -> list[tuple[str, str]]:
    return [(item.component_type, item.name) for item in components]


async def test_services_and_the_node_are_shown_unless_a_type_is_named(plane: Plane) -> None:
    assert found(await ask(plane)) == [("service", "api"), ("node", "here")]
    assert found(await ask(plane, namespace="*")) == [
        ("service", "api"),
        ("service", "web"),
        ("node", "here"),
    ]
    assert found(await ask(plane, component_type="svc")) == [("service", "api")]
    assert len(await ask(plane, component_type="instance")) == 2
    assert found(await ask(plane, component_type="Node")) == [("node", "here")]


async def test_a_name_picks_one(plane: Plane) -> None:
    copy = plane.copies("api")[0]
    assert found(await ask(plane, name="api")) == [("service", "api")]
    assert found(await ask(plane, name="here")) == [("node", "here")]
    assert found(await ask(plane, name=copy.id, component_type="inst")) == [("instance", copy.id)]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("", "service not found: zzz"),
        ("service", "service not found: zzz"),
        ("instance", "instance not found: zzz"),
        ("node", "node not found: zzz"),
    ],
)
async def test_a_name_that_nothing_has_is_told(plane: Plane, kind: str, message: str) -> None:
    with pytest.raises(NotFound, match=message):
        await ask(plane, component_type=kind, name="zzz")


async def test_an_unknown_type_is_answered_with_those_there_are(plane: Plane) -> None:
    with pytest.raises(InvalidArgument, match="type: gpu; it is one of service, instance, node"):
        await ask(plane, component_type="gpu")


async def test_a_caller_sees_only_their_namespaces(plane: Plane) -> None:
    plane.people.rules["ann"] = (rule("health", ["get"], "shop"),)
    assert found(await ask(plane, "ann", namespace="*", component_type="service")) == [("service", "web")]
    assert len(await ask(plane, "ann", namespace="*", component_type="instance")) == 1
    with pytest.raises(NotFound):
        await ask(plane, "ann", namespace="*", component_type="service", name="api")
    with pytest.raises(PermissionDenied):
        await ask(plane, "ann")


async def test_a_service_says_how_many_copies_are_ready(plane: Plane) -> None:
    service = (await ask(plane, component_type="service"))[0]
    assert (service.status, service.message) == (HealthStatus.HEALTHY, "2 of 2 copies are ready")
    assert service.check_results == []


async def test_checks_are_added_when_asked_for_and_name_their_copy(plane: Plane) -> None:
    service = (await ask(plane, component_type="service", include_checks=True))[0]
    copies = plane.copies("api")
    assert [check.message for check in service.check_results] == [f"{item.id}: well" for item in copies]
    instance = (await ask(plane, component_type="instance", include_checks=True))[0]
    assert [check.status for check in instance.check_results] == [HealthStatus.HEALTHY]


@pytest.mark.parametrize(
    ("status", "copies", "scale", "health"),
    [
        (ServiceStatus.RUNNING, 2, 2, HealthStatus.HEALTHY),
        (ServiceStatus.RUNNING, 0, 0, HealthStatus.HEALTHY),
        (ServiceStatus.UPDATING, 2, 2, HealthStatus.HEALTHY),
        (ServiceStatus.UPDATING, 1, 2, HealthStatus.DEGRADED),
        (ServiceStatus.UPDATING, 0, 2, HealthStatus.UNHEALTHY),
        (ServiceStatus.FAILED, 1, 2, HealthStatus.DEGRADED),
        (ServiceStatus.FAILED, 0, 2, HealthStatus.UNHEALTHY),
        (ServiceStatus.PENDING, 0, 2, HealthStatus.UNKNOWN),
    ],
)
def test_the_health_of_a_service_follows_from_its_copies(
    status: ServiceStatus, copies: int, scale: int, health: HealthStatus
) -> None:
    assert service_health(status, ready=copies, scale=scale) is health


@pytest.mark.parametrize(
    ("status", "is_ready", "health"),
    [
        (InstanceStatus.RUNNING, True, HealthStatus.HEALTHY),
        (InstanceStatus.STARTING, False, HealthStatus.UNKNOWN),
        (InstanceStatus.FAILED, False, HealthStatus.UNHEALTHY),
        (InstanceStatus.STOPPED, False, HealthStatus.UNKNOWN),
    ],
)
def test_the_health_of_an_instance_follows_from_its_state(
    status: InstanceStatus, is_ready: bool, health: HealthStatus
) -> None:
    assert instance_health(Instance(id="a", status=status, ready=is_ready)) is health


def test_the_node_tells_what_it_has_and_uses(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.at(busy=100, idle=300)
    seen = machine.node.resources()
    assert seen.cpu_used_percent == 25.0
    assert (seen.mem_total_bytes, seen.mem_used_bytes) == (2000 * 1024, 1500 * 1024)
    assert seen.cpu_cores >= 1
    machine.at(busy=175, idle=325)
    assert machine.node.resources() is seen  # not read again within a second
    machine.clock.advance(1)
    assert machine.node.resources().cpu_used_percent == 75.0


def test_counters_that_step_back_are_not_believed(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.at(busy=100, idle=300)
    machine.node.resources()
    machine.clock.advance(1)
    machine.at(busy=50, idle=400)
    assert machine.node.resources().cpu_used_percent == 0.0


def test_this_machine_can_be_read() -> None:
    seen = Node("here", clock=ManualClock()).resources()
    assert 0 < seen.mem_used_bytes < seen.mem_total_bytes
    assert 0 <= seen.cpu_used_percent <= 100


async def test_a_node_without_proc_says_so(tmp_path: Path) -> None:
    plane = await new_plane()
    node = Node("here", clock=plane.clock, proc=tmp_path / "none")
    Health(plane.store, NoProbes(), node, is_ready=lambda: False, clock=plane.clock).register(
        plane.dispatcher
    )
    component = (await ask(plane, component_type="node"))[0]
    assert component.status is HealthStatus.DEGRADED
    assert component.message.startswith("its resources cannot be read")
    assert component.resources is None


async def test_the_version_is_told_to_everybody_who_is_known(plane: Plane) -> None:
    plane.people.rules["ann"] = ()
    answer = await plane.call(api.version, api.GetServerVersionRequest(), "ann")
    assert (answer.version, answer.ready, answer.os) == (__version__, True, "linux")
    assert answer.go_version == f"python {platform.python_version()}"
