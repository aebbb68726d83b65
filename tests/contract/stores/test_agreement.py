"""Both stores do the same, whatever is asked of them, across restarts of the one on disk."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from contract.stores.models import KINDS, Box, Node
from promises import promise
from rune.core.store.base import Change, Delete, Key, Put, Store, Write
from rune.core.store.memory import MemoryStore
from rune.core.store.sqlite import SqliteStore
from rune.errors import OutOfRange, RuneError

pytestmark = promise("watch.resume")

HISTORY = 5
"""Short, so that watches fall out of it."""

names = st.sampled_from(["a", "b", "c"])
namespaces = st.sampled_from(["", "prod", "prod-eu"])
keys = st.one_of(
    st.builds(Key, st.just("boxes"), namespaces, names), st.builds(Key, st.just("nodes"), st.just(""), names)
)


class Ask(msgspec.Struct, frozen=True):
    """A write before it is known which revision its key is at: `lag` is how far off the caller is."""

    key: Key
    creates: bool
    deletes: bool
    lag: int
    size: int

    def against(self, store: Store) -> Write:
        kind = Box if self.key.kind == "boxes" else Node
        there = store.find(kind, self.key.namespace, self.key.name)
        revision = 0 if there is None or self.creates else max(there.revision - self.lag, 0)
        if self.deletes:
            return Delete(self.key, revision)
        if self.key.kind == "nodes":
            return Put(Node(name=self.key.name, revision=revision))
        return Put(Box(namespace=self.key.namespace, name=self.key.name, size=self.size, revision=revision))


mostly_right = st.sampled_from([0, 0, 0, 0, 1])
asks = st.builds(Ask, keys, st.booleans(), st.booleans(), mostly_right, st.integers(0, 9))


async def outcome(work: Awaitable[object]) -> object:
    """What came of it, in a form that can be compared."""
    try:
        return await work
    except RuneError as error:
        return type(error), error.message


class Reader:
    """A watch of each store from the same revision, and what both have shown."""

    def __init__(self, stores: Sequence[Store], after: int) -> None:
        self.position = after
        self.watches = [store.watch(after) for store in stores]

    async def catch_up(self, newest: int) -> None:
        """Read both to the end, or to the same failure, without a gap."""
        while self.position < newest:
            first, second = [await outcome(anext(watch)) for watch in self.watches]
            assert first == second
            if not isinstance(first, Change):
                self.position = newest
                return
            assert first.revision == self.position + 1
            self.position = first.revision


class Agreement(RuleBasedStateMachine):
    """Drives a store in memory and one on disk side by side."""

    @initialize()
    def start(self) -> None:
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.memory = MemoryStore(KINDS, history=HISTORY)
        self.sqlite = self.runner.run(self.opened())
        self.readers: list[Reader] = []

    async def opened(self) -> SqliteStore:
        return await SqliteStore(Path(self.folder.name) / "state.db", KINDS, history=HISTORY).__aenter__()

    async def both(self, work: Callable[[Store], Awaitable[object]]) -> None:
        assert await outcome(work(self.sqlite)) == await outcome(work(self.memory))

    @rule(writes=st.lists(asks, max_size=3))
    def commit(self, writes: list[Ask]) -> None:
        drafts = [ask.against(self.memory) for ask in writes]
        self.runner.run(self.both(lambda store: store.commit(*drafts, operation="test")))

    @rule(many=st.lists(st.lists(asks, min_size=1, max_size=2), min_size=2, max_size=8))
    def commit_at_once(self, many: list[list[Ask]]) -> None:
        drafts = [[ask.against(self.memory) for ask in each] for each in many]

        def all_of_them(store: Store) -> Awaitable[object]:
            return asyncio.gather(*(outcome(store.commit(*each)) for each in drafts))

        self.runner.run(self.both(all_of_them))

    @rule(journal=st.sampled_from(["audit", "notes"]), payload=st.binary(max_size=8))
    def append(self, journal: str, payload: bytes) -> None:
        self.runner.run(self.both(lambda store: store.append(journal, payload)))

    @rule(journal=st.sampled_from(["audit", "none"]), after=st.integers(-1, 9), limit=st.integers(-1, 9))
    def read(self, journal: str, after: int, limit: int) -> None:
        async def records(store: Store) -> object:
            return list(await store.read(journal, after, limit))

        self.runner.run(self.both(records))

    @rule(back=st.integers(-1, HISTORY + 1))
    def watch(self, back: int) -> None:
        after = self.memory.revision - back
        try:
            reader = Reader([self.memory], after)
        except OutOfRange as error:
            with pytest.raises(OutOfRange, match=re.escape(error.message)):
                self.sqlite.watch(after)
        else:
            reader.watches.append(self.sqlite.watch(after))
            self.readers.append(reader)

    @rule()
    def catch_up(self) -> None:
        for reader in self.readers:
            self.runner.run(reader.catch_up(self.memory.revision))

    @rule()
    def reopen(self) -> None:
        self.catch_up()
        self.readers.clear()
        self.runner.run(self.sqlite.close())
        self.sqlite = self.runner.run(self.opened())

    @invariant()
    def agree(self) -> None:
        assert (self.sqlite.revision, self.sqlite.oldest) == (self.memory.revision, self.memory.oldest)
        assert self.sqlite.list(Node) == self.memory.list(Node)
        assert self.sqlite.list(Box) == self.memory.list(Box)
        assert self.sqlite.list(Box, "prod") == self.memory.list(Box, "prod")

    def teardown(self) -> None:
        if not hasattr(self, "runner"):
            return
        self.catch_up()
        self.runner.run(self.sqlite.close())
        self.runner.close()
        self.folder.cleanup()


TestAgreement = Agreement.TestCase
TestAgreement.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 6), max_size=12),
    starts=st.lists(st.integers(0, 60), min_size=1, max_size=6),
)
@pytest.mark.parametrize("in_memory", [True, False])
def test_a_watch_from_any_revision_sees_each_later_change_once_and_in_order(
    sizes: list[int], starts: list[int], *, in_memory: bool
) -> None:
    total = sum(sizes)

    async def seen(store: Store, after: int) -> list[int]:
        """The revisions a watch shows that begins as soon as its starting point is there."""
        begin = store.watch(0)
        for _ in range(after):
            await anext(begin)
        watch = store.watch(after)
        return [(await anext(watch)).revision for _ in range(total - after)]

    async def world(store: Store) -> None:
        async with store, asyncio.timeout(10):
            watching = [asyncio.ensure_future(seen(store, min(start, total))) for start in starts]
            for burst, size in enumerate(sizes):
                await asyncio.gather(*(store.commit(Put(Box(name=f"{burst}-{n}"))) for n in range(size)))
            for start, revisions in zip(starts, await asyncio.gather(*watching), strict=True):
                assert revisions == list(range(min(start, total) + 1, total + 1))

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.db"
        asyncio.run(world(MemoryStore(KINDS) if in_memory else SqliteStore(path, KINDS)))
