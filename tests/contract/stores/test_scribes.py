"""What every store does with its scribe: what is said of a commit is durable with it, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from contract.stores.models import Box
from promises import promise
from rune.core.store.base import Entry, Put, Store
from rune.core.store.scribe import Word
from rune.errors import AlreadyExists, FailedPrecondition, Unavailable

pytestmark = promise("audit.atomic")


class Clerk:
    """A scribe that says the operation of every commit that has one, and counts its entries."""

    journal = "diary"

    def __init__(self) -> None:
        self.unsaid: list[str] = []
        self.sequences: list[int] = []

    def word(self, operation: str) -> Word | None:
        return Word(operation.encode(), lambda: self.unsaid.append(operation)) if operation else None

    def entry(self, texts: Sequence[bytes]) -> bytes:
        return b",".join(texts)

    def written(self, sequence: int) -> None:
        self.sequences.append(sequence)


async def said(store: Store) -> list[str]:
    """Everything that was said, in order."""
    kept = await store.read("diary", limit=100_000)
    return [text for entry in kept for text in entry.payload.decode().split(",")]


async def test_what_is_said_of_a_commit_is_there_as_soon_as_the_commit_is(store: Store) -> None:
    clerk = Clerk()
    store.employ(clerk)
    await store.commit(Put(Box(name="a")), operation="made a")
    assert await store.read("diary") == [Entry(1, b"made a")]
    assert clerk.sequences == [1]


async def test_nothing_is_said_of_a_commit_without_a_word(store: Store) -> None:
    store.employ(Clerk())
    await store.commit(Put(Box(name="a")))
    assert await said(store) == []


async def test_a_commit_that_is_refused_is_not_spoken_of_and_its_word_is_free_again(store: Store) -> None:
    clerk = Clerk()
    store.employ(clerk)
    await store.commit(Put(Box(name="a")), operation="first")
    with pytest.raises(AlreadyExists):
        await store.commit(Put(Box(name="a")), operation="second")
    assert await said(store) == ["first"]
    assert clerk.unsaid == ["second"]


async def test_of_many_at_once_those_that_happened_are_spoken_of_once_and_in_order(store: Store) -> None:
    clerk = Clerk()
    store.employ(clerk)
    asked = [store.commit(Put(Box(name=f"b{n % 30}")), operation=f"{n}") for n in range(40)]
    told = [store.tell(f"told {n}".encode()) for n in range(5)]
    outcomes = await asyncio.gather(*asked, *told, return_exceptions=True)
    words = await said(store)
    assert [word for word in words if word.isdigit()] == [f"{n}" for n in range(30)]
    assert [word for word in words if not word.isdigit()] == [f"told {n}" for n in range(5)]
    assert [type(each) for each in outcomes[30:40]] == [AlreadyExists] * 10
    assert set(outcomes[40:]) <= set(clerk.sequences)
    assert clerk.sequences == list(range(1, len(clerk.sequences) + 1))


async def test_what_is_told_stands_beside_other_journals(store: Store) -> None:
    store.employ(Clerk())
    assert await store.append("notes", b"n") == 1
    assert await store.tell(b"hello") == 1
    assert await asyncio.gather(store.append("notes", b"m"), store.tell(b"again")) == [2, 2]
    assert await said(store) == ["hello", "again"]
    assert [entry.payload for entry in await store.read("notes")] == [b"n", b"m"]


async def test_a_commit_that_was_cancelled_in_time_is_not_spoken_of(store: Store) -> None:
    clerk = Clerk()
    store.employ(clerk)
    late = asyncio.ensure_future(store.commit(Put(Box(name="a")), operation="late"))
    late.cancel()
    await store.commit(Put(Box(name="b")), operation="other")
    assert await said(store) == ["other"]


async def test_without_a_scribe_nothing_can_be_told(store: Store) -> None:
    with pytest.raises(FailedPrecondition, match="employ a scribe"):
        await store.tell(b"hello")


async def test_a_closed_store_is_told_nothing(store: Store) -> None:
    store.employ(Clerk())
    await store.close()
    with pytest.raises(Unavailable):
        await store.tell(b"hello")
