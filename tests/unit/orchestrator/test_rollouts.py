"""Rollouts in virtual time: those that work, those that are undone, and those that must not happen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from promises import promise
from rune.api.orchestrator import revisions
from rune.api.orchestrator import services as api
from rune.api.orchestrator.instances import Instance
from rune.api.orchestrator.revisions import RevisionState
from rune.api.orchestrator.rollout import Rollout
from rune.api.orchestrator.services import Service, ServiceStatus
from rune.api.orchestrator.specs import (
    HealthCheck,
    Probe,
    ProbeType,
    ProcessSpec,
    RestartPolicy,
    SecretMount,
    ServicePort,
    UpdateStrategy,
)
from rune.core.store.base import Put
from rune.core.store.kinds import Kinds
from rune.errors import FailedPrecondition, InvalidArgument, NotFound
from rune.orchestrator.runners.fake import Script
from rune.orchestrator.same import is_same
from rune.orchestrator.spec import TEMPLATE, Template, spec_of
from world import World, world

pytestmark = pytest.mark.looptime
READINESS = HealthCheck(readiness=Probe(type=ProbeType.EXEC, command=["true"]))


@pytest.fixture
async def here() -> AsyncIterator[World]:
    async with world() as made:
        made.runner.scripts["crash"] = Script(exits=1)
        made.runner.scripts["nope"] = Script(refused="command 'nope' not found in PATH")
        yield made


def runs(here: World, name: str = "api") -> bool:
    service = here.service(name)
    metadata = service.metadata
    return bool(
        metadata
        and metadata.observed_generation == metadata.generation
        and service.status is ServiceStatus.RUNNING
    )


def is_proven(here: World, name: str = "api") -> bool:
    kept = [item for item in here.store.list(Template, "default") if item.spec.name == name]
    return runs(here, name) and kept[-1].proven


def spec(command: str = "sleep", **fields: Any) -> Service:
    given: dict[str, Any] = {"name": "api", "scale": 2, **fields}
    return Service(process=ProcessSpec(command=command), **given)


async def cast(here: World, wanted: Service, **more: Any) -> None:
    await here.call(api.update, api.UpdateServiceRequest(service=wanted, **more))


async def settled(here: World, **fields: Any) -> list[str]:
    """A service whose template is known to work; returns the ids of its copies."""
    await here.cast("api", **{"scale": 2, **fields})
    await here.until(lambda: is_proven(here))
    return ids(here)


def ids(here: World, name: str = "api") -> list[str]:
    return [copy.id for copy in here.copies(name)]


async def listed(here: World) -> list[revisions.Revision]:
    answer = await here.call(revisions.list_, revisions.ListRevisionsRequest(name="api"))
    return answer.revisions


@promise("rollout.undone")
@pytest.mark.parametrize(
    "command, why", [("crash", "exited with code 1"), ("nope", "command 'nope' not found in PATH")]
)
async def test_a_rollout_whose_copies_fail_is_undone_and_keeps_the_old_copies(
    here: World, command: str, why: str
) -> None:
    old = await settled(here)
    await cast(here, spec(command))
    await here.until(lambda: here.service("api").status_reason == "RolledBack")
    service = here.service("api")
    assert ids(here) == old
    assert service.status is ServiceStatus.RUNNING
    assert service.process == ProcessSpec(command="sleep")
    assert "revision 2 was undone, revision 1 is back: api-instance-" in service.status_message
    assert why in service.status_message
    assert service.metadata
    assert (service.metadata.generation, service.metadata.rolled_back_generation) == (3, 2)
    third, second, first = await listed(here)
    assert [item.state for item in (first, second, third)] == [
        RevisionState.GOOD,
        RevisionState.FAILED,
        RevisionState.CURRENT,
    ]
    assert why in second.note
    assert (third.number, third.same_as, third.instances) == (3, 1, 2)


async def test_copies_that_never_become_ready_fail_the_rollout_at_its_deadline(here: World) -> None:
    await here.cast("api", health=READINESS, rollout=Rollout(progress_seconds=60))
    await here.until(lambda: len(ids(here)) == 1)
    (old,) = ids(here)
    here.doctor.says_ready[old] = True
    here.control.look_at(old)
    await here.until(lambda: is_proven(here))
    began = here.clock.monotonic()
    wanted = spec(scale=1, env={"A": "1"}, health=READINESS, rollout=Rollout(progress_seconds=60))
    await cast(here, wanted)
    await here.until(lambda: here.service("api").status_reason == "RolledBack")
    assert 60 <= here.clock.monotonic() - began < 62
    assert "0 of 1 copies became available, and none more within 60 s" in here.service("api").status_message
    assert ids(here) == [old]


async def test_every_new_copy_that_becomes_available_gives_the_others_time(here: World) -> None:
    await settled(here, scale=4, rollout=Rollout(progress_seconds=8))
    await cast(here, spec(scale=4, env={"A": "1"}, rollout=Rollout(progress_seconds=8)))
    await here.until(lambda: is_proven(here))
    assert here.clock.monotonic() > 20  # four copies, one after another, five seconds each
    assert here.service("api").status_reason == ""


async def test_a_first_rollout_that_fails_is_left_for_people_to_look_at(here: World) -> None:
    await here.cast("api", health=READINESS, rollout=Rollout(progress_seconds=30))
    await here.until(lambda: here.service("api").status is ServiceStatus.FAILED)
    assert here.service("api").status_reason == "ProgressDeadlineExceeded"
    (copy,) = ids(here)
    here.doctor.says_ready[copy] = True
    here.control.look_at(copy)
    await here.until(lambda: is_proven(here))


async def test_a_rollback_can_be_switched_off(here: World) -> None:
    old = await settled(here)
    await cast(here, spec("crash", rollout=Rollout(rollback=False)))
    await here.until(lambda: here.service("api").status_reason == "CrashLoop")
    assert set(old) <= set(ids(here))
    assert here.service("api").status is ServiceStatus.FAILED


async def test_a_way_back_that_fails_as_well_comes_to_rest(here: World) -> None:
    await settled(here)
    here.runner.scripts["sleep"] = Script(exits=1)  # from now on nothing works
    here.runner.exit(ids(here)[0], 1)
    await cast(here, spec("crash", update_strategy=UpdateStrategy(type="recreate")))
    await here.until(lambda: here.clock.monotonic() > 100)
    assert here.service("api").status is ServiceStatus.FAILED
    assert len(await listed(here)) == 3


async def test_a_job_that_fails_for_good_fails_its_rollout(here: World) -> None:
    here.runner.scripts["job"] = Script(exits=0)
    never = {"restart_policy": RestartPolicy.NEVER, "scale": 1}
    await here.cast("api", process=ProcessSpec(command="job"), **never)
    await here.until(lambda: is_proven(here))
    await cast(here, spec("crash", **never))
    await here.until(lambda: here.service("api").status_reason == "RolledBack")


@promise("rollout.same")
async def test_what_was_cast_before_finds_its_copies_again(here: World) -> None:
    old = await settled(here)
    slow = Rollout(min_ready_seconds=100)
    await cast(here, spec(env={"A": "1"}, rollout=slow))
    await here.until(lambda: len(ids(here)) == 3)
    await cast(here, spec())
    await here.until(lambda: ids(here) == old and runs(here))
    assert {copy.metadata.generation for copy in here.copies("api") if copy.metadata} == {3}


@promise("rollout.same")
async def test_an_unchanged_cast_touches_nothing_whatever_words_it_is_said_in(here: World) -> None:
    probe = Probe(type=ProbeType.TCP, port=80)
    await settled(here, ports=[ServicePort(port=80)], health=HealthCheck(liveness=probe))
    before = here.store.revision
    spelled = Probe(
        type=ProbeType.TCP,
        port=80,
        period_seconds=10,
        timeout_seconds=1,
        success_threshold=1,
        failure_threshold=3,
    )
    port = ServicePort(port=80, protocol="tcp", target_port=80)
    same = spec(ports=[port], health=HealthCheck(liveness=spelled), restart_policy=RestartPolicy.ALWAYS)
    await cast(here, same)
    assert here.store.revision == before


def test_the_order_of_mounts_says_nothing() -> None:
    mounts = [SecretMount(mount_path=path, secret_name="s") for path in ("/a", "/b")]
    one, other = spec(secret_mounts=mounts), spec(secret_mounts=mounts[::-1])
    assert is_same(one, other)


@promise("rollout.same")
def test_a_template_that_an_older_server_stored_says_the_same_as_its_spec_does_now() -> None:
    """What was stored before fields with defaults came does not know them."""
    now = spec_of(spec(env={"A": "1"}, health=HealthCheck(liveness=Probe(type=ProbeType.TCP, port=80))))
    kinds = Kinds([Service, Template])
    older = msgspec.json.decode(kinds.encode(now))
    for name in ("rollout", "scaling", "update_strategy", "drain_seconds", "image_pull"):
        older.pop(name)
    for name in ("scheme", "headers", "host"):
        older["health"]["liveness"].pop(name)
    older["health"].pop("startup")
    loaded = kinds.decode("service", msgspec.json.encode(older))
    assert isinstance(loaded, Service)
    assert is_same(loaded, now)
    template = {"name": "api.1", "namespace": "default", "generation": 1, "spec": older}
    kept = kinds.decode("template", msgspec.json.encode(template))
    assert isinstance(kept, Template)
    assert is_same(kept.spec, now, TEMPLATE)
    assert (kept.lineage, kept.proven) == (1, False)


async def test_templates_of_an_older_server_are_taken_as_they_are(here: World) -> None:
    old = await settled(here)
    template = here.store.list(Template, "default")[0]
    plain = msgspec.structs.replace(template, proven=False, alike=0, created_at=None, of_generation=0)
    await here.store.commit(Put(plain))
    await cast(here, spec())
    assert ids(here) == old
    await cast(here, spec(labels={"a": "b"}))
    await here.until(lambda: is_proven(here))
    assert ids(here) == old


async def test_a_forced_cast_ends_the_old_copies_before_new_ones_start(here: World) -> None:
    old = set(await settled(here))
    await cast(here, spec(), force=True)
    most = 0

    def renewed() -> bool:
        nonlocal most
        most = max(most, len(ids(here)))
        return is_proven(here) and not old & set(ids(here))

    await here.until(renewed)
    assert most == 2


@promise("rollout.surge")
async def test_all_rollouts_together_add_only_so_many_copies(here: World) -> None:
    names = [f"s{number}" for number in range(20)]
    for name in names:
        await here.cast(name)
    await here.until(lambda: all(is_proven(here, name) for name in names))
    for name in names:
        await cast(here, spec(name=name, scale=1, env={"A": "1"}))
    most = 0

    def done() -> bool:
        nonlocal most
        most = max(most, len(here.store.list(Instance)))
        return all(is_proven(here, name) and generation(here, name) == 2 for name in names)

    await here.until(done)
    assert 20 < most <= 28


async def test_rollback_by_hand_goes_to_the_last_good_revision_or_the_one_that_is_named(here: World) -> None:
    await settled(here)
    for text in "BC":
        await cast(here, spec(env={"V": text}))
        await here.until(lambda: is_proven(here))
    answer = await here.call(revisions.rollback, revisions.RollbackServiceRequest(name="api"))
    assert (answer.from_revision, answer.to_revision, answer.revision) == (3, 2, 4)
    await here.until(lambda: is_proven(here))
    assert here.service("api").env == {"V": "B"}
    await here.call(api.scale, api.ScaleServiceRequest(name="api", scale=3))
    answer = await here.call(revisions.rollback, revisions.RollbackServiceRequest(name="api", to=1))
    assert answer.service
    assert (answer.service.env, answer.service.scale) == ({}, 3)
    again = await here.call(revisions.rollback, revisions.RollbackServiceRequest(name="api", to=1))
    assert again.revision == answer.revision == 5
    assert (await listed(here))[0].note == "rolled back to revision 1"


async def test_rollback_to_what_is_not_there_is_refused(here: World) -> None:
    await settled(here)
    with pytest.raises(FailedPrecondition, match="no older revision that is known to work"):
        await here.call(revisions.rollback, revisions.RollbackServiceRequest(name="api"))
    with pytest.raises(NotFound, match="has no revision 7; there are 1"):
        await here.call(revisions.rollback, revisions.RollbackServiceRequest(name="api", to=7))


async def test_the_revisions_that_are_kept_are_bounded_and_the_good_one_stays(here: World) -> None:
    await settled(here, rollout=Rollout(rollback=False))
    for number in range(15):
        await cast(here, spec("crash", env={"N": str(number)}, rollout=Rollout(rollback=False)))
        await here.until(lambda: here.service("api").status_reason == "CrashLoop")
    kept = await listed(here)
    assert len(kept) <= 14
    assert kept[-1].number == 1


async def test_scale_labels_and_drain_time_come_along_without_a_new_revision(here: World) -> None:
    old = await settled(here)
    await cast(here, spec(labels={"team": "a"}, drain_seconds=3))
    await cast(here, spec("crash", labels={"team": "a"}, drain_seconds=3))
    await here.until(lambda: here.service("api").status_reason == "RolledBack")
    assert here.service("api").labels == {"team": "a"}
    assert ids(here) == old


@pytest.mark.parametrize(
    "fields, field",
    [
        ({"update_strategy": UpdateStrategy(type="blue")}, "service.update_strategy.type"),
        ({"rollout": Rollout(max_surge=0, max_unavailable=0)}, "service.rollout.max_unavailable"),
        (
            {"update_strategy": UpdateStrategy(type="recreate", min_serving=1)},
            "service.update_strategy.min_serving",
        ),
        ({"health": HealthCheck(startup=Probe(type=ProbeType.EXEC))}, "service.health.startup.command"),
    ],
)
async def test_a_rollout_that_cannot_go_on_is_refused_by_field(
    here: World, fields: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidArgument, match=f"^{field}: "):
        await here.cast("api", **fields)


def generation(here: World, name: str) -> int:
    metadata = here.service(name).metadata
    return metadata.template_generation if metadata else 0
