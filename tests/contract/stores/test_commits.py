"""What every store does with a commit."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from contract.stores.models import Box, Node, Stray, at
from promises import promise
from rune.core.store.base import Delete, Key, Put, Resource, Store, Write
from rune.errors import AlreadyExists, Conflict, InvalidArgument, NotFound, RuneError

pytestmark = promise("stores.commits")

A = Key("boxes", "prod", "a")


async def test_every_commit_takes_the_next_revision_whatever_kinds_it_touches(store: Store) -> None:
    assert await store.commit(Put(Box(name="a"))) == 1
    assert await store.commit(Put(Node(name="n")), Put(Box(name="b"))) == 2
    assert await store.commit(Delete(A)) == 3
    assert store.revision == 3


async def test_all_writes_of_a_commit_share_its_revision(store: Store) -> None:
    revision = await store.commit(Put(Box(name="a")), Put(Node(name="n")))
    assert store.get(Box, "prod", "a").revision == store.get(Node, "", "n").revision == revision


async def test_a_commit_without_writes_does_nothing(store: Store) -> None:
    await store.commit(Put(Box(name="a")))
    assert await store.commit() == 1
    assert store.revision == 1


async def test_a_write_that_names_the_stored_revision_replaces_the_value(store: Store) -> None:
    await store.commit(Put(Box(name="a")))
    await store.commit(Put(at(store.get(Box, "prod", "a"), size=7)))
    assert store.get(Box, "prod", "a") == Box(name="a", size=7, revision=2)


async def test_a_name_may_be_used_again_after_its_deletion(store: Store) -> None:
    await store.commit(Put(Box(name="a")))
    await store.commit(Delete(A, revision=1))
    assert await store.commit(Put(Box(name="a"))) == 3


@pytest.mark.parametrize(
    ("write", "failure", "message"),
    [
        (Put(Box(name="a")), AlreadyExists, "boxes prod/a exists already, since revision 2"),
        (Put(Box(name="a", revision=1)), Conflict, "boxes prod/a was read at revision 1 and is at 2 by now"),
        (Put(Box(name="a", revision=9)), Conflict, "boxes prod/a was read at revision 9 and is at 2 by now"),
        (Put(Box(name="b", revision=1)), NotFound, "boxes prod/b does not exist"),
        (Delete(A, revision=1), Conflict, "boxes prod/a was read at revision 1 and is at 2 by now"),
        (Delete(Key("boxes", "prod", "b")), NotFound, "boxes prod/b does not exist"),
        (Delete(Key("boxes", "prod", "b"), revision=1), NotFound, "boxes prod/b does not exist"),
        (Delete(Key("ghosts", "", "b")), NotFound, "ghosts b does not exist"),
    ],
)
async def test_a_write_that_names_another_revision_is_refused(
    store: Store, write: Write, failure: type[RuneError], message: str
) -> None:
    await store.commit(Put(Box(name="a")))
    await store.commit(Put(Box(name="a", size=2, revision=1)))
    with pytest.raises(failure, match=message):
        await store.commit(write)
    assert list(store.list(Box)) == [Box(name="a", size=2, revision=2)]
    assert store.revision == 2


async def test_a_delete_at_revision_zero_removes_whatever_is_there(store: Store) -> None:
    await store.commit(Put(Box(name="a")))
    await store.commit(Put(Box(name="a", size=2, revision=1)))
    await store.commit(Delete(A))
    assert store.find(Box, "prod", "a") is None


async def test_one_refused_write_undoes_its_whole_commit(store: Store) -> None:
    await store.commit(Put(Box(name="a")))
    with pytest.raises(AlreadyExists):
        await store.commit(Put(Box(name="b")), Put(Node(name="n")), Put(Box(name="a")))
    assert list(store.list(Box)) == [Box(name="a", revision=1)]
    assert list(store.list(Node)) == []
    assert store.revision == 1


async def test_the_first_failing_write_names_the_failure(store: Store) -> None:
    await store.commit(Put(Box(name="a")))
    with pytest.raises(NotFound):
        await store.commit(Put(Box(name="b")), Delete(Key("boxes", "", "x")), Put(Box(name="a")))


async def test_a_refused_commit_leaves_the_next_ones_alone(store: Store) -> None:
    outcomes = await asyncio.gather(
        store.commit(Put(Box(name="a"))),
        store.commit(Put(Box(name="a", revision=5))),
        store.commit(Put(Box(name="b"))),
        return_exceptions=True,
    )
    assert outcomes[0] == 1
    assert isinstance(outcomes[1], Conflict)
    assert outcomes[2] == 2


async def test_a_key_may_appear_once_in_a_commit(store: Store) -> None:
    with pytest.raises(InvalidArgument, match="a commit writes each key once: boxes prod/a, boxes prod/a"):
        await store.commit(Put(Box(name="a")), Delete(A))
    assert store.revision == 0


async def test_of_many_creations_of_a_key_the_first_call_wins(store: Store) -> None:
    commits = (store.commit(Put(Box(name="a", size=size))) for size in range(20))
    outcomes = await asyncio.gather(*commits, return_exceptions=True)
    assert outcomes[0] == 1
    assert all(isinstance(outcome, AlreadyExists) for outcome in outcomes[1:])
    assert store.get(Box, "prod", "a").size == 0


async def test_commits_of_a_key_are_judged_in_the_order_of_their_calls(store: Store) -> None:
    outcomes = await asyncio.gather(
        store.commit(Put(Box(name="a", size=1))),
        store.commit(Put(Box(name="a", size=2, revision=1))),
        store.commit(Delete(A, revision=2)),
        store.commit(Put(Box(name="a", size=4))),
    )
    assert outcomes == [1, 2, 3, 4]
    assert store.get(Box, "prod", "a") == Box(name="a", size=4, revision=4)


async def test_concurrent_read_change_write_loops_lose_no_update(store: Store) -> None:
    async def add_one() -> None:
        while True:
            box = store.get(Box, "prod", "a")
            try:
                await store.commit(Put(at(box, size=box.size + 1)))
            except Conflict:
                continue
            return

    await store.commit(Put(Box(name="a")))
    await asyncio.gather(*(add_one() for _ in range(12)))
    assert store.get(Box, "prod", "a").size == 12


async def test_a_commit_shows_in_reads_when_it_returns(store: Store) -> None:
    async def put(name: str) -> bool:
        revision = await store.commit(Put(Box(name=name)))
        return store.get(Box, "prod", name).revision == revision <= store.revision

    assert all(await asyncio.gather(*(put(f"b{number}") for number in range(50))))


async def test_a_cancelled_commit_happens_whole_or_not_at_all(store: Store) -> None:
    for number in range(10):
        writes = (Put(Box(name=f"a{number}")), Put(Box(name=f"b{number}")))
        commit = asyncio.ensure_future(store.commit(*writes))
        for _ in range(number):
            await asyncio.sleep(0)
        commit.cancel()
        await asyncio.wait([commit])
        await store.commit(Put(Node(name=f"n{number}")))
        found = [store.find(Box, "prod", f"{letter}{number}") is None for letter in "ab"]
        assert found[0] == found[1]


async def test_a_cancelled_commit_does_not_hold_up_the_others(store: Store) -> None:
    commits = [asyncio.ensure_future(store.commit(Put(Box(name=f"b{each}")))) for each in range(30)]
    await asyncio.sleep(0)
    for commit in commits[::3]:
        commit.cancel()
    outcomes = await asyncio.gather(*commits, return_exceptions=True)
    kept = [f"b{each}" for each, outcome in enumerate(outcomes) if isinstance(outcome, int)]
    assert len(kept) >= 20
    assert all(store.find(Box, "prod", name) for name in kept)


def box(**fields: Any) -> Box:
    """A box of whatever fields, also those that it should not have."""
    return Box(**fields)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Stray(), "Stray .kind 'strays'. is not a resource of this store"),
        (Box(name="a", size=math.nan), "boxes cannot be stored: Expected `float`, got `null`"),
        (box(name=7), "boxes cannot be stored: Expected `str`, got `int`"),
        (Box(name="\ud800"), "boxes cannot be stored: .* surrogates not allowed"),
        (box(name="a", size=object()), "boxes cannot be stored: Encoding objects of type"),
    ],
)
async def test_a_value_that_would_not_load_again_is_refused(
    store: Store, value: Resource, message: str
) -> None:
    with pytest.raises(InvalidArgument, match=message):
        await store.commit(Put(Box(name="ok")), Put(value))
    assert store.revision == 0
