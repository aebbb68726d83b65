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
        ({"image": "busybox", "process": None}, "service.image"),
        (
            {"expose": ServiceExpose(port="80", path="/a"), "ports": [ServicePort(port=80)]},
            "service.expose.path",
        ),
        ({"runtime": "docker"}, "service.runtime"),
    ],
)
async def test_what_is_not_supported_yet_is_refused_by_name(
    here: World, fields: dict[str, Any], named: str
) -> None:
    with pytest.raises(Unimplemented, match=rf"{named}.* is not supported"):
        await here.cast("api", **fields)
