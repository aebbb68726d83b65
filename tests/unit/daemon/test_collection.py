"""The collector of a server: it looks at what is new, and finds what dies late once a day."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from rune.core.clock import ManualClock
from rune.daemon.collection import THAW, Collection


class Node:
    """Something that can hold itself."""

    me: Node | None = None


@pytest.fixture
def clock() -> Iterator[ManualClock]:
    """Of a collection that has begun."""
    before, made = gc.get_threshold(), ManualClock()
    collection = Collection(made)
    collection.begin()
    yield made
    collection.end()
    gc.set_threshold(*before)


def cycle() -> tuple[Node, weakref.ref[Node]]:
    node = Node()
    node.me = node
    return node, weakref.ref(node)


def test_what_is_kept_is_not_looked_at_again_and_again(clock: ManualClock) -> None:
    kept = [[number] for number in range(300_000)]
    assert len(gc.get_objects()) < 100_000  # the others are frozen, however many there are
    assert len(kept) == 300_000


def test_a_cycle_that_dies_young_is_collected_as_ever(clock: ManualClock) -> None:
    node, seen = cycle()
    del node
    gc.collect()
    assert seen() is None


def test_a_cycle_that_dies_late_is_collected_within_a_day(clock: ManualClock) -> None:
    node, seen = cycle()
    gc.collect()
    del node
    gc.collect()
    assert seen() is not None  # it was frozen
    clock.advance(THAW)
    gc.collect()
    gc.collect()
    assert seen() is None
