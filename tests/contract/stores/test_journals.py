"""What every store does with its append-only journals, and how it closes."""

from __future__ import annotations

import asyncio

import pytest

from contract.stores.models import Box
from promises import promise
from rune.core.store.base import Entry, Put, Span, Store
from rune.errors import InvalidArgument, Unavailable

pytestmark = promise("stores.journals")


async def test_a_journal_counts_from_one(store: Store) -> None:
    assert [await store.append("audit", payload) for payload in (b"a", b"b", b"c")] == [1, 2, 3]


async def test_journals_count_on_their_own(store: Store) -> None:
    await store.append("audit", b"a")
    assert await store.append("notes", b"n") == 1
    assert list(await store.read("notes")) == [Entry(1, b"n")]


async def test_a_journal_is_read_oldest_first_after_a_sequence_up_to_a_limit(store: Store) -> None:
    for number in range(1, 8):
        await store.append("audit", b"%d" % number)
    assert list(await store.read("audit", 2, 3)) == [Entry(3, b"3"), Entry(4, b"4"), Entry(5, b"5")]
    assert [entry.sequence for entry in await store.read("audit", after=5)] == [6, 7]
    assert [entry.sequence for entry in await store.read("audit")] == [1, 2, 3, 4, 5, 6, 7]
    assert list(await store.read("audit", after=7)) == []
    assert list(await store.read("audit", limit=0)) == []


async def test_a_journal_that_nobody_wrote_is_empty(store: Store) -> None:
    assert list(await store.read("audit")) == []


async def test_any_bytes_come_back_as_they_were(store: Store) -> None:
    payload = bytes(range(256)) + b"\x00" * 10
    await store.append("audit", payload)
    await store.append("audit", b"")
    assert [entry.payload for entry in await store.read("audit")] == [payload, b""]


async def test_many_appends_at_once_leave_no_gap(store: Store) -> None:
    appends = (store.append("audit", b"%d" % number) for number in range(100))
    sequences = await asyncio.gather(*appends, *(store.commit(Put(Box(name=f"b{n}"))) for n in range(9)))
    assert sequences[:100] == list(range(1, 101))
    assert [entry.payload for entry in await store.read("audit")] == [b"%d" % number for number in range(100)]


async def test_an_append_is_no_change_of_the_log(store: Store) -> None:
    await store.append("audit", b"a")
    assert store.revision == 0


async def test_a_journal_whose_name_is_not_unicode_is_refused(store: Store) -> None:
    with pytest.raises(InvalidArgument, match="journal"):
        await store.append("\ud800", b"a")


async def test_a_closed_store_refuses_everything(store: Store) -> None:
    await store.commit(Put(Box(name="a")))
    await store.close()
    for use in (
        lambda: store.find(Box, "prod", "a"),
        lambda: store.get(Box, "prod", "a"),
        lambda: store.list(Box),
        lambda: store.watch(0),
    ):
        with pytest.raises(Unavailable, match="the store is closed"):
            use()
    for start in (
        lambda: store.commit(Put(Box(name="b"))),
        store.commit,
        lambda: store.append("audit", b"a"),
        lambda: store.read("audit"),
        lambda: store.span("audit"),
        lambda: store.prune("audit", 1),
        store.probe,
    ):
        with pytest.raises(Unavailable, match="the store is closed"):
            await start()


async def test_closing_twice_does_nothing(store: Store) -> None:
    await asyncio.gather(store.close(), store.close())
    await store.close()


async def test_closing_finishes_what_was_accepted(store: Store) -> None:
    commits = [asyncio.ensure_future(store.commit(Put(Box(name=f"b{n}")))) for n in range(20)]
    append = asyncio.ensure_future(store.append("audit", b"a"))
    await asyncio.sleep(0)
    await store.close()
    assert await asyncio.gather(*commits) == list(range(1, 21))
    assert await append == 1


async def test_a_journal_says_where_it_begins_and_ends(store: Store) -> None:
    assert await store.span("audit") == Span(0, 0)
    for _ in range(5):
        await store.append("audit", b"a")
    assert await store.span("audit") == Span(1, 5)
    await store.prune("audit", 3)
    assert await store.span("audit") == Span(4, 5)
    assert [entry.sequence for entry in await store.read("audit")] == [4, 5]
    assert [entry.sequence for entry in await store.read("audit", 4)] == [5]
    assert await store.span("notes") == Span(0, 0)


async def test_the_newest_record_is_never_dropped_so_that_no_number_comes_twice(store: Store) -> None:
    await store.prune("audit", 10)
    for _ in range(3):
        await store.append("audit", b"a")
    await store.prune("audit", 10)
    assert await store.span("audit") == Span(3, 3)
    assert await store.append("audit", b"b") == 4
    await store.prune("audit", 1)
    assert await store.span("audit") == Span(3, 4)


async def test_a_store_that_is_well_says_so(store: Store) -> None:
    await store.commit(Put(Box(name="a")))
    await store.probe()
    assert store.revision == 1
