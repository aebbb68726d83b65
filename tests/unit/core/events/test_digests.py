"""A filter never denies what it holds, and seldom claims what it does not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rune.core.events.digests import BITS, GENERATION, SEGMENT, SLICE, Filters, held, slices
from rune.core.events.record import digest, packed_key, unpacked_key

digests = st.integers(0, (1 << 63) - 1)


@given(st.lists(st.tuples(st.integers(0, 3), digests), max_size=40), st.lists(digests, max_size=10))
def test_what_was_added_is_always_suspected(added: list[tuple[int, int]], others: list[int]) -> None:
    filters = Filters(8)
    for generation, mark in added:
        filters.add(generation, [mark])
    suspects = filters.suspects([mark for _, mark in added] + others)
    assert {mark for _, mark in added} <= suspects
    for generation, mark in added:
        assert generation in filters.perhaps(mark)
    assert suspects == {mark for mark in [*suspects, *others] if filters.perhaps(mark)}


def test_a_saved_filter_is_the_same_filter() -> None:
    filters, again = Filters(8), Filters(8)
    filters.add(3, range(0, 900, 7))
    again.load(3, filters.bits(3))
    assert again.suspects(range(900)) == filters.suspects(range(900))
    again.drop(3)
    assert again.suspects(range(900)) == set()


def mark(number: int) -> int:
    return digest(str(number), b"salt")


def test_a_full_filter_seldom_errs() -> None:
    filters = Filters(BITS - 6)
    held = SEGMENT * GENERATION >> 6
    filters.add(0, [mark(number) for number in range(held)])
    wrong = len(filters.suspects([mark(number) for number in range(held, held + 100_000)]))
    assert wrong < 30, "3 in ten thousand; one is expected"


@given(st.sets(digests, min_size=1, max_size=3 * SLICE))
def test_rows_of_digests_hold_each_with_its_id_and_no_other(marks: set[int]) -> None:
    rows = list(slices({mark: place for place, mark in enumerate(marks)}))
    assert [last for last, _, _ in rows] == sorted(last for last, _, _ in rows)

    def find(mark: int) -> list[int]:
        row = next((row for row in rows if row[0] >= mark), None)
        return [] if row is None else held(mark, *row[1:])

    assert [find(mark) for mark in marks] == [[place] for place in range(len(marks))]
    assert find(max(marks) + 1) == []
    assert min(marks) == 0 or find(min(marks) - 1) == []


@given(
    st.text(min_size=1, max_size=40) | st.uuids().map(str) | st.uuids().map(lambda each: str(each).upper())
)
def test_a_key_stands_for_one_id(event_id: str) -> None:
    assert unpacked_key(packed_key(event_id)) == event_id


@given(st.uuids())
def test_a_uuid_takes_sixteen_bytes(event_id: object) -> None:
    assert len(packed_key(str(event_id))) == 16


def test_the_digest_of_an_id_depends_on_the_salt() -> None:
    assert digest("a", b"one") != digest("a", b"two")
