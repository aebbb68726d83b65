"""What is kept in memory of the newest events: so many, so many bytes, and never with a hole."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from contract.events.samples import event
from rune.core.events.base import Stored
from rune.core.events.follow import Recent


def stored(first: int, count: int = 1) -> Sequence[Stored]:
    """Events at these positions."""
    return [Stored(position, event(f"e{position}")) for position in range(first, first + count)]


def seen(recent: Recent, organization: str, after: int) -> list[int] | None:
    """The positions behind one, or None where the disk has to be asked."""
    found = recent.behind(organization, after)
    return None if found is None else [each.position for each in found]


@pytest.mark.parametrize("size, most", [(1, 4), (25, 1000)], ids=["many", "large"])
def test_the_oldest_are_forgotten_where_there_are_too_many_or_they_are_too_large(
    size: int, most: int
) -> None:
    recent = Recent(most, 100)
    for position in range(1, 9):
        recent.add("default", stored(position), size)
    assert seen(recent, "default", 4) == [5, 6, 7, 8]
    assert seen(recent, "default", 3) is None


def test_a_batch_larger_than_all_that_is_kept_is_read_from_the_disk() -> None:
    recent = Recent(10, 100)
    recent.add("default", stored(1), 10)
    recent.add("default", stored(2), 101)
    assert seen(recent, "default", 1) is None
    recent.add("default", stored(3), 100)
    assert seen(recent, "default", 2) == [3]


def test_what_was_forgotten_leaves_its_room_to_others() -> None:
    recent = Recent(10, 100)
    recent.add("one", stored(1), 90)
    recent.clear()
    recent.add("one", stored(2), 50)
    recent.add("other", stored(1), 50)
    assert (seen(recent, "one", 1), seen(recent, "other", 0)) == ([2], [1])
