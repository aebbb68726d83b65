"""Specs that cannot work, and those that this release does not support: refused by the field."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from rune.api.orchestrator.services import Service
from rune.api.orchestrator.specs import (
    DependencyRef,
    HealthCheck,
    Probe,
    ProbeType,
    ProcessSpec,
    ResourceLimit,
    Resources,
    SeccompProfile,
    SecurityContext,
    ServiceExpose,
    ServicePort,
)
from rune.errors import (
    InvalidArgument,
    Unimplemented,
)
from world import World, world


@pytest.fixture
async def here() -> AsyncIterator[World]:
    async with world() as made:
        yield made


def container(**fields: Any) -> dict[str, Any]:
    return {"process": None, "image": "web:1", **fields}


def own_profile() -> SecurityContext:
    return SecurityContext(seccomp_profile=SeccompProfile(type="Localhost", localhost_profile="mine.json"))


@pytest.mark.parametrize(
    "fields, field",
    [
        ({"process": None}, "service.process"),
        ({"process": ProcessSpec(command="x", working_dir="tmp")}, "service.process.working_dir"),
        ({"ports": [ServicePort(port=80), ServicePort(port=80)]}, r"service.ports\[1\].port"),
        ({"ports": [ServicePort(port=80, protocol="sctp")]}, r"service.ports\[0\].protocol"),
        ({"health": HealthCheck(liveness=Probe(type=ProbeType.TCP))}, "service.health.liveness.port"),
        (
            {"health": HealthCheck(readiness=Probe(type=ProbeType.HTTP, port=1))},
            "service.health.readiness.path",
        ),
        ({"health": HealthCheck(readiness=Probe(type=ProbeType.EXEC))}, "service.health.readiness.command"),
        ({"dependencies": [DependencyRef(service="api")]}, r"service.dependencies\[0\]"),
        ({"labels": {str(n): "x" for n in range(65)}}, "service.labels"),
        ({"runtime": "docker"}, "service.runtime"),
        ({"image": "web:1"}, "service.process"),
        ({"image_pull": "never"}, "service.image_pull"),
        ({"resources": Resources(cpu=ResourceLimit(limit="lots"))}, "service.resources.cpu.limit"),
        (container(image="Web 1"), "service.image"),
        (container(runtime="process"), "service.runtime"),
        (container(image_pull="sometimes"), "service.image_pull"),
        (container(scale=2, ports=[ServicePort(port=80, host_port=80)]), r"service.ports\[0\].host_port"),
        (
            container(ports=[ServicePort(port=n, host_port=80) for n in (1, 2)]),
            r"service.ports\[1\].host_port",
        ),
        (
            container(resources=Resources(memory=ResourceLimit(limit="1Mi"))),
            "service.resources.memory.limit",
        ),
        (container(resources=Resources(cpu=ResourceLimit(limit="1m"))), "service.resources.cpu.limit"),
        (
            container(security_context=SecurityContext(cap_add=["NET ADMIN"])),
            r"service.security_context.cap_add\[0\]",
        ),
        (
            container(security_context=SecurityContext(seccomp_profile=SeccompProfile(type="Strict"))),
            "service.security_context.seccomp_profile.type",
        ),
    ],
)
async def test_a_spec_that_cannot_work_is_refused_by_field(
    here: World, fields: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidArgument, match=f"^{field}: "):
        await here.cast("api", **fields)
    assert here.store.list(Service) == ()


@pytest.mark.parametrize(
    "fields, named",
    [
        (
            {"expose": ServiceExpose(port="80", path="/a"), "ports": [ServicePort(port=80)]},
            "service.expose.path",
        ),
        ({"ports": [ServicePort(port=80, host_port=8080)]}, r"service.ports\[0\].host_port"),
        ({"image": "web:1", "process": None, "security_context": own_profile()}, "localhost_profile"),
    ],
)
async def test_what_is_not_supported_yet_is_refused_by_name(
    here: World, fields: dict[str, Any], named: str
) -> None:
    with pytest.raises(Unimplemented, match=rf"{named}.* is not supported"):
        await here.cast("api", **fields)
