"""Wrong credentials: some are free, then each makes the wait longer, and nobody else waits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from promises import promise
from rune.core.clock import ManualClock
from rune.core.guesses import FORGIVEN, LONGEST_WAIT, Guesses
from rune.core.limits import Quota

QUOTA = Quota(count=10, seconds=60, burst=20)


def spent(guesses: Guesses, who: str = "a") -> None:
    """Use up what is free."""
    for _ in range(QUOTA.full):
        assert guesses.take(who) == 0


@promise("auth.slowed")
def test_each_wrong_one_past_the_quota_doubles_the_wait() -> None:
    clock = ManualClock()
    guesses = Guesses(QUOTA, clock)
    spent(guesses)
    waits: list[float] = []
    for _ in range(12):
        waits.append(guesses.take("a"))
        clock.advance(waits[-1])
        assert guesses.take("a") == 0
    assert waits == [min(2.0 ** (number + 1), LONGEST_WAIT) for number in range(12)]


def test_who_waits_is_told_how_long_still_and_does_not_make_it_longer() -> None:
    clock = ManualClock()
    guesses = Guesses(QUOTA, clock)
    spent(guesses)
    for _ in range(50):
        assert guesses.take("a") == 2.0
    clock.advance(1.5)
    assert guesses.take("a") == 0.5


def test_others_are_not_held_up() -> None:
    guesses = Guesses(QUOTA, ManualClock())
    spent(guesses)
    assert guesses.take("a") > 0
    assert guesses.take("b") == 0


def test_an_hour_without_a_wrong_one_is_forgiveness() -> None:
    clock = ManualClock()
    guesses = Guesses(QUOTA, clock)
    spent(guesses)
    clock.advance(FORGIVEN)
    spent(guesses)


def test_slow_mistakes_are_never_held_up() -> None:
    clock = ManualClock()
    guesses = Guesses(QUOTA, clock)
    for _ in range(500):
        assert guesses.take("a") == 0
        clock.advance(6)


@given(st.lists(st.integers(0, 30), max_size=200))
def test_the_table_never_grows_past_its_limit(sources: list[int]) -> None:
    guesses = Guesses(QUOTA, ManualClock(), most=8)
    for source in sources:
        guesses.take(str(source))
        assert len(guesses) <= 8
