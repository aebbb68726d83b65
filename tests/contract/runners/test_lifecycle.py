"""What every runner promises about starting, stopping and seeing instances."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from contract.runners.lab import Lab
from promises import promise
from rune.errors import FailedPrecondition, InvalidArgument
from rune.orchestrator.runners.base import Observed, State, Workload

pytestmark = promise("runners.life")


async def ended(lab: Lab, instance: str, attempt: int = 0) -> Observed:
    """Wait until this attempt was reported as ended."""
    return await reported(
        lab, lambda seen: (seen.instance, seen.attempt) == (instance, attempt) and over(seen)
    )


def over(seen: Observed) -> bool:
    return seen.state is State.EXITED


async def reported(lab: Lab, wanted: Callable[[Observed], bool]) -> Observed:
    found: asyncio.Future[Observed] = asyncio.get_running_loop().create_future()

    def look(seen: Observed) -> None:
        if wanted(seen) and not found.done():
            found.set_result(seen)

    lab.runner.on_change(look)
    for seen in [*lab.changes, *lab.runner.all()]:
        look(seen)
    async with asyncio.timeout(10):
        return await found


async def test_an_instance_never_seen_is_absent(lab: Lab) -> None:
    assert lab.runner.observe("nobody").state is State.ABSENT
    assert list(lab.runner.all()) == []


async def test_ensure_runs_it_and_says_so(lab: Lab) -> None:
    workload = lab.sleeper(attempt=3)
    seen = await lab.runner.ensure(workload)
    assert (seen.instance, seen.attempt, seen.state) == (workload.instance, 3, State.RUNNING)
    assert seen.pid > 0
    assert seen.started_at is not None
    assert seen.ended_at is None
    assert lab.runner.observe(workload.instance) == seen
    assert list(lab.runner.all()) == [seen]
    assert lab.changes == [seen]


async def test_ensure_twice_starts_it_once(lab: Lab) -> None:
    workload = lab.sleeper()
    first = await lab.runner.ensure(workload)
    assert await lab.runner.ensure(workload) == first
    assert lab.changes == [first]


async def test_ensure_twice_at_the_same_time_starts_it_once(lab: Lab) -> None:
    workload = lab.sleeper()
    first, second = await asyncio.gather(lab.runner.ensure(workload), lab.runner.ensure(workload))
    assert first == second
    assert lab.changes == [first]


async def test_an_end_is_reported_with_its_code_and_ensure_does_not_start_it_again(lab: Lab) -> None:
    workload = lab.ends(7)
    await lab.runner.ensure(workload)
    seen = await ended(lab, workload.instance)
    assert (seen.exit_code, seen.attempt) == (7, 0)
    assert seen.ended_at is not None
    assert seen.started_at is not None
    assert seen.ended_at >= seen.started_at
    assert await lab.runner.ensure(workload) == seen
    assert lab.runner.observe(workload.instance) == seen


async def test_the_next_attempt_starts_after_the_last_has_ended(lab: Lab) -> None:
    workload = lab.ends(1)
    await lab.runner.ensure(workload)
    await ended(lab, workload.instance)
    await lab.runner.ensure(msgspec.structs.replace(workload, attempt=1))
    seen = await ended(lab, workload.instance, attempt=1)
    assert (seen.attempt, seen.exit_code) == (1, 1)


async def test_the_next_attempt_is_refused_while_the_last_still_runs(lab: Lab) -> None:
    workload = lab.sleeper()
    await lab.runner.ensure(workload)
    with pytest.raises(FailedPrecondition, match="still runs"):
        await lab.runner.ensure(msgspec.structs.replace(workload, attempt=1))


async def test_an_attempt_older_than_the_last_is_refused(lab: Lab) -> None:
    workload = lab.ends(0, attempt=5)
    await lab.runner.ensure(workload)
    await ended(lab, workload.instance, attempt=5)
    with pytest.raises(FailedPrecondition, match="the latest is 5"):
        await lab.runner.ensure(msgspec.structs.replace(workload, attempt=4))


async def test_a_command_that_is_not_there_is_refused_and_leaves_no_trace(lab: Lab) -> None:
    workload = lab.missing()
    for _ in range(2):
        with pytest.raises(FailedPrecondition, match="command 'no-such-program' not found in PATH: /bin"):
            await lab.runner.ensure(workload)
    assert lab.runner.observe(workload.instance).state is State.ABSENT
    assert lab.changes == []


async def test_a_refused_attempt_leaves_what_was_known_of_the_last(lab: Lab) -> None:
    workload = lab.ends(2)
    await lab.runner.ensure(workload)
    seen = await ended(lab, workload.instance)
    with pytest.raises(FailedPrecondition, match="not found"):
        await lab.runner.ensure(lab.missing(instance=workload.instance, attempt=1))
    assert lab.runner.observe(workload.instance) == seen


@pytest.mark.parametrize("instance", ["", ".", "..", "a/b", "../../etc", "a\0b", "ä", "-rf", "x" * 129])
async def test_an_id_that_is_no_safe_name_of_a_folder_is_refused(lab: Lab, instance: str) -> None:
    with pytest.raises(InvalidArgument, match="instance"):
        await lab.runner.ensure(Workload(instance=instance, command=["/bin/true"]))


@pytest.mark.parametrize(
    ("workload", "field"),
    [
        (Workload(instance="a", command=[]), "command"),
        (Workload(instance="a", command=["sh", "-c", "\0"]), r"command\[2\]"),
        (Workload(instance="a", command=["sh"], env={"A=B": "c"}), "env"),
        (Workload(instance="a", command=["sh"], env={"A": "\0"}), r"env\.A"),
        (Workload(instance="a", command=["sh"], env={"A": "x" * (2 << 20)}), "env"),
        (Workload(instance="a", command=["sh"], workdir="\0"), "workdir"),
    ],
)
async def test_a_workload_no_machine_could_run_is_refused(lab: Lab, workload: Workload, field: str) -> None:
    with pytest.raises(InvalidArgument, match=field):
        await lab.runner.ensure(workload)


async def test_stop_ends_it_and_returns_what_was_seen(lab: Lab) -> None:
    workload = lab.sleeper()
    await lab.runner.ensure(workload)
    seen = await lab.runner.stop(workload.instance, grace=10)
    assert (seen.state, seen.exit_code) == (State.EXITED, 143)
    assert lab.runner.observe(workload.instance) == seen
    assert lab.changes[-1] == seen


async def test_stop_twice_and_stop_of_nobody_are_fine(lab: Lab) -> None:
    workload = lab.sleeper()
    await lab.runner.ensure(workload)
    first = await lab.runner.stop(workload.instance, grace=10)
    assert await lab.runner.stop(workload.instance, grace=10) == first
    assert (await lab.runner.stop("nobody", grace=1)).state is State.ABSENT


async def test_what_ignores_the_signal_is_killed_after_the_grace(lab: Lab) -> None:
    workload = lab.stubborn()
    await lab.runner.ensure(workload)
    async with asyncio.timeout(5), lab.following(workload.instance) as lines:
        await anext(lines)
    seen = await lab.runner.stop(workload.instance, grace=0.05)
    assert (seen.state, seen.exit_code) == (State.EXITED, 137)


async def test_a_second_stop_may_shorten_the_grace(lab: Lab) -> None:
    workload = lab.stubborn()
    await lab.runner.ensure(workload)
    async with asyncio.timeout(5), lab.following(workload.instance) as lines:
        await anext(lines)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        slow = group.create_task(lab.runner.stop(workload.instance, grace=3600))
        fast = group.create_task(lab.runner.stop(workload.instance, grace=0))
    assert slow.result() == fast.result()
    assert slow.result().exit_code == 137


async def test_remove_ends_it_and_forgets_it(lab: Lab) -> None:
    workload = lab.stubborn()
    await lab.runner.ensure(workload)
    await lab.runner.remove(workload.instance)
    assert lab.runner.observe(workload.instance).state is State.ABSENT
    assert list(lab.runner.all()) == []
    assert over(lab.changes[-1])


async def test_remove_twice_and_remove_of_nobody_are_fine(lab: Lab) -> None:
    workload = lab.ends(0)
    await lab.runner.ensure(workload)
    await lab.runner.remove(workload.instance)
    await lab.runner.remove(workload.instance)
    await lab.runner.remove("nobody")


async def test_a_removed_instance_may_be_started_again(lab: Lab) -> None:
    workload = lab.sleeper(attempt=4)
    await lab.runner.ensure(workload)
    await lab.runner.remove(workload.instance)
    seen = await lab.runner.ensure(msgspec.structs.replace(workload, attempt=0))
    assert (seen.attempt, seen.state) == (0, State.RUNNING)


async def test_start_twice_and_close_twice_are_fine(lab: Lab) -> None:
    await lab.runner.start()
    workload = lab.sleeper()
    seen = await lab.runner.ensure(workload)
    assert lab.runner.observe(workload.instance) == seen
    await lab.runner.close()
    await lab.runner.close()
