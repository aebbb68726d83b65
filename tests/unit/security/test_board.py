"""The board stands in the order that sorting everything would give, whatever changed meanwhile."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from promises import promise
from rune.core.clock import EPOCH
from rune.core.store.base import Delete, Put
from rune.core.store.memory import MemoryStore
from rune.security.board import Board, id_of
from rune.security.kinds import KINDS, Alert, space
from rune.security.pages import newest_first

STATUSES = ("open", "resolved")
AGENTS = ("a", "b")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "delete", "look"]),
        st.integers(0, 12),
        st.sampled_from(STATUSES),
        st.sampled_from(AGENTS),
    ),
    max_size=40,
)


def expected(store: MemoryStore, **wanted: str) -> list[str]:
    """By sorting everything."""
    every = [
        each
        for each in store.list(Alert, space("acme"))
        if all(value in ("all", getattr(each, name)) for name, value in wanted.items())
    ]
    return [each.id for each in sorted(every, key=lambda each: newest_first(each.first_seen, each.id))]


async def agrees(board: Board, store: MemoryStore) -> None:
    """Every view is as it would be sorted."""
    for status in (*STATUSES, "all"):
        found = await board.order("acme", status=status, agent="")
        assert list(map(id_of, found)) == expected(store, status=status)
    for agent in AGENTS:
        found = await board.order("acme", status="all", agent=agent)
        assert list(map(id_of, found)) == expected(store, agent_id=agent)
    assert not await board.order("other", status="all", agent="")


@promise("dashboard.order")
@settings(max_examples=60, deadline=None)
@given(STEPS, st.sampled_from([1, 3, 1000]))
def test_the_board_agrees_with_sorting_everything(steps: list[tuple[Any, ...]], history: int) -> None:
    async def go() -> None:
        async with MemoryStore(KINDS, history=history) as store:
            board = Board(store)
            for verb, number, status, agent in steps:
                await _do(store, board, verb, number=number, status=status, agent=agent)
            await agrees(board, store)

    asyncio.run(go())


async def _do(store: MemoryStore, board: Board, verb: str, *, number: int, status: str, agent: str) -> None:
    before = store.find(Alert, space("acme"), f"x.{number}")
    if verb == "look":
        await agrees(board, store)
    elif verb == "delete" and before is not None:
        await store.commit(Delete(before.key))
    elif verb == "put" and before is not None:
        await store.commit(Put(replace(before, status=status)))
    elif verb == "put":
        at = EPOCH + timedelta(seconds=number % 5)
        made = Alert(
            organization="acme", id=f"x.{number}", severity="high", alert_type="t", title="t",
            status=status, agent_id=agent, first_seen=at,
        )  # fmt: skip
        await store.commit(Put(made))


async def test_many_that_ask_at_once_count_no_change_twice() -> None:
    async with MemoryStore(KINDS) as store:
        board = Board(store)
        await board.order("acme", status="all", agent="")
        for number in range(600):
            await _do(store, board, "put", number=number, status="open", agent="a")
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(board.order("acme", status="all", agent="")) for _ in range(5)]
        assert {len(each.result()) for each in asked} == {600}
