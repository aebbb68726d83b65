"""What every runner that keeps logs promises about them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import msgspec
import pytest

from contract.runners.lab import Lab
from contract.runners.test_lifecycle import ended
from promises import promise
from rune.errors import NotFound
from rune.orchestrator.runners.base import LogLine

pytestmark = promise("runners.logs")


async def said(lab: Lab, *lines: str, complaints: tuple[str, ...] = ()) -> str:
    """The instance of a workload that said these lines and has ended."""
    workload = lab.speaker(lines, complaints)
    await lab.runner.ensure(workload)
    await ended(lab, workload.instance)
    return workload.instance


async def test_logs_hold_every_line_in_order_with_stream_and_time(lab: Lab) -> None:
    instance = await said(lab, "one", "two", complaints=("bad",))
    lines = await lab.lines(instance)
    assert [line.text for line in lines if line.stream == "stdout"] == ["one", "two"]
    assert [line.text for line in lines if line.stream == "stderr"] == ["bad"]
    assert {line.instance for line in lines} == {instance}
    assert sorted(line.at for line in lines) == [line.at for line in lines]
    assert lines[0].at.utcoffset() == timedelta(0)
    assert not any(line.partial for line in lines)


@pytest.mark.parametrize("tail", [0, 1, 2, 3, 99])
async def test_tail_gives_the_last_lines(lab: Lab, tail: int) -> None:
    instance = await said(lab, "one", "two", "three")
    expected = ["one", "two", "three"][max(3 - tail, 0) :]
    assert await lab.texts(instance, tail=tail) == expected


async def test_since_and_until_choose_by_time_and_tail_counts_within(lab: Lab) -> None:
    instance = await said(lab, "one", "two")
    lines = await lab.lines(instance)
    before, after = lines[0].at, lines[-1].at + timedelta(microseconds=1)
    logs = lab.runner.logs
    assert [b async for b in logs(instance, until=before)] == []
    assert [b async for b in logs(instance, since=after)] == []
    within = [line.text async for b in logs(instance, since=before, until=after, tail=1) for line in b]
    assert within == ["two"]


async def test_logs_of_nobody_are_not_found(lab: Lab) -> None:
    with pytest.raises(NotFound, match="nobody"):
        await lab.lines("nobody")


async def test_logs_end_with_the_instance_when_it_is_removed(lab: Lab) -> None:
    instance = await said(lab, "one")
    await lab.runner.remove(instance)
    with pytest.raises(NotFound):
        await lab.lines(instance)


async def test_a_follower_goes_on_across_a_restart_and_ends_with_a_removal(lab: Lab) -> None:
    workload = lab.speaker(["hello"])
    await lab.runner.ensure(workload)
    async with asyncio.timeout(10), lab.following(workload.instance) as lines:
        assert (await anext(lines)).text == "hello"
        await ended(lab, workload.instance)
        await lab.runner.ensure(msgspec.structs.replace(workload, attempt=1))
        assert (await anext(lines)).text == "hello"
        await ended(lab, workload.instance, attempt=1)
        await lab.runner.remove(workload.instance)
        assert [line async for line in lines] == []


async def test_a_follower_with_tail_zero_sees_only_what_comes(lab: Lab) -> None:
    instance = await said(lab, "old")
    async with asyncio.timeout(10), lab.following(instance, tail=0) as lines, asyncio.TaskGroup() as group:
        first = group.create_task(lab_next(lines))
        await asyncio.sleep(0)
        await lab.runner.ensure(lab.speaker(["new"], instance=instance, attempt=1))
        assert await first == "new"


async def lab_next(lines: AsyncIterator[LogLine]) -> str:
    return (await anext(lines)).text
