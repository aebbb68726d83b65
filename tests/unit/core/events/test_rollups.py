"""Cells add up, whatever the order, and a time falls into cells without overlap or gap."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rune.core.events.rollups import HOURS, MINUTES, UNIT, WINDOW, Share, cells, stretches, weight

shares = st.dictionaries(
    st.tuples(
        *[st.integers(1, 2)] * 2, *[st.integers(1, 3)] * 2, *[st.integers(0, 2)] * 2, st.integers(0, 1)
    ),
    st.tuples(st.integers(1, 5), st.integers(0, 500)),
    max_size=8,
)


@given(shares)
def test_every_event_counts_once_for_its_agent_and_twice_for_its_organization_at_each_grain(
    counted: dict[Share, tuple[int, int]],
) -> None:
    total = sum(events for events, _ in counted.values())
    blocked = sum(events for share, (events, _) in counted.items() if share[6])
    for grain in (MINUTES, HOURS):
        for is_agent, has_type in ((True, grain == HOURS), (False, True), (False, False)):
            sums = [
                value
                for cell, value in cells(counted, 1).items()
                if (cell[1], bool(cell[3]), bool(cell[4])) == (grain, is_agent, has_type)
            ]
            assert sum(value[0] for value in sums) == total
            assert sum(value[1] for value in sums) == blocked


@given(shares)
def test_taking_away_what_was_added_leaves_nothing(counted: dict[Share, tuple[int, int]]) -> None:
    added, taken = cells(counted, 1), cells(counted, -1)
    assert added.keys() == taken.keys()
    assert all(
        one + other == 0 for cell in added for one, other in zip(added[cell], taken[cell], strict=True)
    )


@given(st.integers(0, 500), st.integers(0, 500))
def test_stretches_cover_a_time_exactly_once(since: int, until: int) -> None:
    minutes: list[int] = []
    for part in stretches(since, until):
        size = 60 if part.grain == HOURS else 1
        minutes += range(part.first * size, part.end * size)
    assert minutes == list(range(since, until))


@given(st.integers(0, 100_000), st.integers(0, 100_000))
def test_a_long_time_takes_few_minutes(since: int, until: int) -> None:
    assert sum(part.end - part.first for part in stretches(since, until) if part.grain == MINUTES) <= 118


def test_a_weight_halves_in_ten_minutes_and_ends_with_the_window() -> None:
    assert [weight(age) for age in (-3, 0, 10, 20)] == [UNIT, UNIT, UNIT // 2, UNIT // 4]
    assert weight(WINDOW - 1) > 0
    assert weight(WINDOW) == 0
