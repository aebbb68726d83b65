"""What many pages show alike is drawn once, and never for somebody whose rights differ."""

from __future__ import annotations

import asyncio

import pytest

from rune.core.clock import ManualClock
from rune.dashboard.ask import Screen
from rune.dashboard.html import el
from rune.dashboard.shared import FRESH, Shared
from rune.errors import ResourceExhausted


class Pencil:
    """Draws, and counts how often it did."""

    def __init__(self) -> None:
        self.drawn = 0

    async def draw(self) -> Screen:
        """A screen that tells the drawings apart."""
        self.drawn += 1
        count = self.drawn
        await asyncio.to_thread(int)
        return Screen(title="t", body=(el("p", count),))


async def test_fifty_pages_of_the_same_rights_are_drawn_once() -> None:
    shared, pencil = Shared(ManualClock()), Pencil()
    got = await asyncio.gather(*(shared.get("r", "/alerts", pencil.draw, moment=1) for _ in range(50)))
    assert pencil.drawn == 1
    assert len({each.told for each in got}) == 1


@pytest.mark.parametrize(
    ("rights", "path", "moment"),
    [("other", "/alerts", 1), ("r", "/alerts?status=all", 1), ("r", "/alerts", 2)],
)
async def test_other_rights_another_query_and_the_next_moment_are_drawn_for_themselves(
    rights: str, path: str, moment: int
) -> None:
    shared, pencil = Shared(ManualClock()), Pencil()
    first = await shared.get("r", "/alerts", pencil.draw, moment=1)
    second = await shared.get(rights, path, pencil.draw, moment=moment)
    assert pencil.drawn == 2
    assert first.told != second.told


async def test_a_drawing_is_made_anew_after_a_while_because_times_go_on() -> None:
    clock, pencil = ManualClock(), Pencil()
    shared = Shared(clock)
    await shared.get("r", "/", pencil.draw, moment=1)
    clock.advance(FRESH + 0.1)
    await shared.get("r", "/", pencil.draw, moment=1)
    assert pencil.drawn == 2


async def test_what_goes_wrong_for_one_is_not_told_to_another() -> None:
    shared, pencil = Shared(ManualClock()), Pencil()

    async def refused() -> Screen:
        raise ResourceExhausted("slow down")

    with pytest.raises(ResourceExhausted):
        await shared.get("r", "/", refused, moment=1)
    assert "<p>1</p>" in (await shared.get("r", "/", pencil.draw, moment=1)).told


async def test_whoever_leaves_while_drawing_leaves_the_others_their_turn() -> None:
    shared, pencil, begun = Shared(ManualClock()), Pencil(), asyncio.Event()

    async def forever() -> Screen:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with asyncio.TaskGroup() as group:
        leaving = group.create_task(shared.get("r", "/", forever, moment=1))
        await begun.wait()
        staying = group.create_task(shared.get("r", "/", pencil.draw, moment=1))
        leaving.cancel()
        assert "<p>1</p>" in (await staying).told
