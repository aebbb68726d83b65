"""Rollouts, scalings and deletions against a real runed with real processes."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import pytest

from rune.api.orchestrator import deletions, revisions, services
from rune.api.orchestrator.instances import Instance
from rune.api.orchestrator.revisions import RevisionState
from rune.api.orchestrator.rollout import Rollout
from rune.api.orchestrator.scaling import ScalingMode
from rune.api.orchestrator.services import Service
from runed import Runed, runed

pytestmark = [pytest.mark.system, pytest.mark.timeout(60)]
SLEEP = ["sleep", "1000"]
QUICK = Rollout(min_ready_seconds=1)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[Runed]:
    async with runed(tmp_path / "data") as started:
        yield started


async def proven(server: Runed, name: str, number: int = 1) -> None:
    """Wait until a revision is one to go back to."""
    await server.until(
        name, lambda seen: bool(seen.update and seen.update.peak >= seen.scale and not seen.update.outdated)
    )
    answer = await server.call(revisions.list_, revisions.ListRevisionsRequest(name=name))
    assert answer.revisions[0].number == number


@pytest.mark.parametrize(
    "bad, why",
    [
        (["sh", "-c", "echo no database >&2; exit 3"], "exited with code 3"),
        (["/no/such/program"], "/no/such/program"),
    ],
)
async def test_a_bad_command_is_undone_and_the_old_processes_never_stop(
    server: Runed, bad: list[str], why: str
) -> None:
    await server.cast("api", SLEEP, scale=2, rollout=QUICK)
    await proven(server, "api")
    before = {copy.id: copy.pid for copy in await server.copies("api")}
    await server.update("api", bad, scale=2, rollout=QUICK)
    service = await server.until("api", lambda seen: seen.status_reason == "RolledBack")
    assert {copy.id: copy.pid for copy in service.instances if copy.ready} == before
    assert why in service.status_message
    answer = await server.call(revisions.list_, revisions.ListRevisionsRequest(name="api"))
    assert [item.state for item in answer.revisions] == [
        RevisionState.CURRENT,
        RevisionState.FAILED,
        RevisionState.GOOD,
    ]


async def test_a_rollout_goes_on_after_a_crash_of_runed(server: Runed) -> None:
    await server.cast("api", SLEEP, scale=3, rollout=QUICK)
    await proven(server, "api")
    await server.update("api", SLEEP, scale=3, rollout=QUICK, env={"A": "1"})
    await server.until("api", lambda seen: len(seen.instances) > 3)
    await server.end(signal.SIGKILL)
    await server.start("--dev")
    service = await server.until("api", lambda seen: len(renewed(seen)) == 3 and not seen.status_reason)
    assert all(Path(f"/proc/{copy.pid}").exists() for copy in renewed(service))


def renewed(service: Service) -> list[Instance]:
    """The copies of the second revision that are ready."""
    return [
        item for item in service.instances if item.ready and item.metadata and item.metadata.generation == 2
    ]


async def test_a_gradual_scaling_brings_copies_one_by_one(server: Runed) -> None:
    await server.cast("api", SLEEP, rollout=QUICK)
    await server.until_running("api")
    ask = services.ScaleServiceRequest(
        name="api", scale=3, mode=ScalingMode.GRADUAL, step_size=1, interval_seconds=2
    )
    await server.call(services.scale, ask)
    steps: list[int] = []
    follow = services.WatchScalingRequest(service_name="api")
    async with aclosing(server.client.stream(services.watch_scaling, follow)) as items:
        async for item in items:
            assert item.scaling
            assert item.current_scale <= item.scaling.step_scale
            steps.append(item.scaling.step_scale)
    assert sorted(set(steps)) == [2, 3]
    assert len([copy for copy in await server.copies("api") if copy.ready]) == 3


async def test_a_stuck_deletion_is_cleared_by_force_and_its_processes_go_as_well(server: Runed) -> None:
    stubborn = ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]
    await server.cast("api", stubborn, drain_seconds=3000)
    (old,) = (await server.until_running("api")).instances
    await server.call(services.delete, services.DeleteServiceRequest(name="api", detach=True))
    await server.cast("api", SLEEP)  # the name is free at once
    await server.until("api", lambda seen: any(copy.ready for copy in seen.instances))
    answer = await server.call(deletions.force, deletions.ForceDeletionRequest(name="api"))
    assert answer.operation
    assert answer.operation.failure_reason == "cleared by force: 1 copies were not seen to end"
    assert old.id not in [copy.id for copy in await server.copies("api")]
    await gone(old.pid)


async def gone(pid: int) -> None:
    """Wait for the end of a process that is not our child."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        async with asyncio.timeout(10):
            await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
