"""Dependencies in virtual time: how far each must have come, and what happens when it does not."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from rune.api.orchestrator import services as api
from rune.api.orchestrator.services import Service, ServiceStatus
from rune.api.orchestrator.specs import (
    DependencyRef,
    HealthCheck,
    Probe,
    ProbeType,
    ProcessSpec,
    ReadyWhen,
)
from rune.errors import InvalidArgument
from world import World, world

pytestmark = pytest.mark.looptime
READINESS = HealthCheck(readiness=Probe(type=ProbeType.EXEC, command=["true"]))


@pytest.fixture
async def here() -> AsyncIterator[World]:
    async with world() as made:
        yield made


def has_copies(here: World, name: str) -> bool:
    return bool(here.copies(name))


@pytest.mark.parametrize("when", [ReadyWhen.STARTED, ReadyWhen.RUNNING])
async def test_a_dependency_that_has_started_or_runs_is_enough_where_that_is_asked_for(
    here: World, when: ReadyWhen
) -> None:
    await here.cast("web", dependencies=[DependencyRef(service="db", ready_when=when)])
    await here.until(lambda: here.service("web").status_reason == "WaitingForDependencies")
    await here.cast("db", health=READINESS)
    await here.until(lambda: has_copies(here, "web"))
    assert not here.copies("db")[0].ready


@pytest.mark.parametrize("when", [ReadyWhen.HEALTHY, ReadyWhen.UNSPECIFIED])
async def test_a_dependency_must_be_healthy_unless_less_is_asked_for(here: World, when: ReadyWhen) -> None:
    await here.cast("db", health=READINESS)
    await here.cast("web", dependencies=[DependencyRef(service="db", ready_when=when)])
    await here.until(lambda: here.service("web").status_message == "service db is not healthy yet")
    (db,) = here.copies("db")
    here.doctor.says_ready[db.id] = True
    here.control.look_at(db.id)
    await here.until(lambda: here.service("web").status is ServiceStatus.RUNNING)


async def test_a_service_that_waited_for_too_long_has_failed_and_still_starts_when_it_can(
    here: World,
) -> None:
    await here.cast("web", dependencies=[DependencyRef(service="db", timeout_seconds=30)])
    await here.until(lambda: here.service("web").status is ServiceStatus.FAILED)
    assert here.clock.monotonic() >= 30
    service = here.service("web")
    assert service.status_reason == "DependencyTimeout"
    assert service.status_message == "service db does not exist, and 30 s are over"
    await here.cast("db")
    await here.until(lambda: here.service("web").status is ServiceStatus.RUNNING)


async def test_an_optional_dependency_is_waited_for_only_so_long(here: World) -> None:
    await here.cast("db", health=READINESS)
    ref = DependencyRef(service="db", optional=True, timeout_seconds=20)
    await here.cast("web", dependencies=[ref])
    await here.until(lambda: here.service("web").status_reason == "WaitingForDependencies")
    await here.until(lambda: here.service("web").status is ServiceStatus.RUNNING)
    assert 20 <= here.clock.monotonic() < 21


async def test_time_that_is_waited_does_not_count_against_a_rollout(here: World) -> None:
    await here.cast("web", dependencies=[DependencyRef(service="db")])
    await here.until(lambda: here.service("web").status_reason == "WaitingForDependencies")
    update = here.service("web").update
    assert update
    assert update.last_progress_at is None


async def test_a_cycle_that_an_update_would_close_is_refused_and_named_with_its_namespaces(
    here: World,
) -> None:
    await here.cast("a")
    await here.cast("b", dependencies=[DependencyRef(service="a")])
    wanted = Service(
        name="a", scale=1, process=ProcessSpec(command="sleep"), dependencies=[DependencyRef(service="b")]
    )
    with pytest.raises(InvalidArgument, match="dependency cycle detected: a -> b -> a"):
        await here.call(api.update, api.UpdateServiceRequest(service=wanted))
