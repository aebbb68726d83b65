"""Logs of many instances, merged in time: nothing lost, each in its order, never more held than a batch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rune.api.orchestrator.instances import Instance
from rune.core.clock import EPOCH
from rune.orchestrator.merge import PATIENCE, Batch, Merge
from rune.orchestrator.runners.base import LogLine

SECOND = timedelta(seconds=1)


def line(second: float, text: str = "") -> LogLine:
    return LogLine(instance="", at=EPOCH + second * SECOND, stream="stdout", text=text or f"{second:g}")


async def merged(*sources: Sequence[Batch]) -> list[str]:
    async def read(instance: Instance, is_new: bool) -> AsyncGenerator[Batch]:
        for batch in sources[int(instance.id)]:
            yield batch

    merge = Merge(read, follow=False)
    for number in range(len(sources)):
        merge.add(Instance(id=str(number)))
    return [row[2].text async for rows in merge.rows() for row in rows]


async def test_batches_of_any_size_are_merged() -> None:
    odd = [[line(1), line(3)], [line(5)], [], [line(7), line(9), line(11)]]
    even = [[line(2)], [line(4), line(6), line(8)], [line(10)]]
    assert await merged(odd, even, []) == [str(number) for number in range(1, 12)]


async def test_a_clock_that_was_set_back_does_not_turn_lines_around() -> None:
    stepped = [[line(5, "a"), line(1, "b")], [line(2, "c")]]
    assert await merged(stepped, [[line(3, "x"), line(9, "y")]]) == ["x", "a", "b", "c", "y"]


SOURCES = st.lists(
    st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=5), max_size=5), min_size=1, max_size=5
)


@given(SOURCES)
async def test_a_merge_loses_nothing_and_keeps_the_order_of_each(sources: list[list[list[int]]]) -> None:
    given: list[list[Batch]] = [
        [[line(second, f"{number}:{second}") for second in batch] for batch in batches]
        for number, batches in enumerate(sources)
    ]
    texts = await merged(*given)
    for number, batches in enumerate(sources):
        own = [text for text in texts if text.startswith(f"{number}:")]
        assert own == [f"{number}:{second}" for batch in batches for second in batch]
    if all(list(flat) == sorted(flat) for flat in ([s for b in each for s in b] for each in sources)):
        seconds = [int(text.partition(":")[2]) for text in texts]
        assert seconds == sorted(seconds)


async def test_a_slow_reader_holds_two_batches_of_each_at_most() -> None:
    given = [0, 0]

    async def endless(instance: Instance, is_new: bool) -> AsyncGenerator[Batch]:
        while True:
            given[int(instance.id)] += 1
            yield [line(given[int(instance.id)])] * 10

    merge = Merge(endless, follow=True)
    merge.add(Instance(id="0"))
    merge.add(Instance(id="1"))
    rows = merge.rows()
    await anext(rows)
    for _ in range(100):
        await asyncio.sleep(0)  # noqa: TID251 - turns of the loop, in which nothing may be read ahead
    assert max(given) <= 2
    await rows.aclose()


@pytest.mark.looptime
async def test_a_silent_instance_holds_up_the_others_for_a_moment_only() -> None:
    loop = asyncio.get_running_loop()

    async def read(instance: Instance, is_new: bool) -> AsyncGenerator[Batch]:
        if instance.id == "0":
            yield [line(1)]
        await asyncio.sleep(1000)  # noqa: TID251 - virtual time

    merge = Merge(read, follow=True)
    merge.add(Instance(id="0"))
    merge.add(Instance(id="1"))
    rows = merge.rows()
    start = loop.time()
    assert len(await anext(rows)) == 1
    assert loop.time() - start == pytest.approx(PATIENCE, abs=0.01)
    await rows.aclose()


@pytest.mark.looptime
async def test_what_many_wrote_once_is_given_out_at_once() -> None:
    async def once(instance: Instance, _: bool) -> AsyncGenerator[Batch]:
        yield [
            LogLine(instance=instance.id, at=EPOCH + int(instance.id) * SECOND, stream="stdout", text="up")
        ]
        await asyncio.Event().wait()

    merge = Merge(once, follow=True)
    for number in range(200):
        merge.add(Instance(id=str(number)))
    loop = asyncio.get_running_loop()
    start, seen = loop.time(), list[str]()
    async with aclosing(merge.rows()) as batches:
        async for rows in batches:
            seen += [line.instance for _, _, line in rows]
            if len(seen) == 200:
                break
    assert seen == [str(number) for number in range(200)]
    assert loop.time() - start <= 2 * PATIENCE
