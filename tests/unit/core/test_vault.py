"""What is sealed opens in its own place alone, and a rotation loses nothing wherever it is cut off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import ClassVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rune.core.clock import ManualClock
from rune.core.store.base import Put, Write
from rune.core.store.memory import MemoryStore
from rune.core.vault import KeyRecord, Place, Rotation, Sealed, SealedResource, Vault
from rune.errors import Conflict, FailedPrecondition, Internal, Unavailable
from vaults import MemoryKeyring, fresh

PLACE = Place("secret", "default", "db", 1)


class Thing(SealedResource):
    """Something with a value."""

    KIND: ClassVar[str] = "thing"

    name: str
    namespace: str = "default"

    @property
    def place(self) -> Place:
        return Place("thing", self.namespace, self.name, 1)


class Fragile(MemoryStore):
    """A store whose commits can be counted, and cut off."""

    def __init__(self) -> None:
        super().__init__([Thing, KeyRecord])
        self.left = 10_000
        self.conflicts = 0
        """So many commits of more than the mark are lost to somebody quicker."""

    async def commit(self, *writes: Write, operation: str = "") -> int:
        self.left -= 1
        if self.left < 0:
            raise Unavailable("the disk is full")
        if self.conflicts and operation == "kek.rotate" and len(writes) > 1:
            self.conflicts -= 1
            raise Conflict("somebody was quicker")
        return await super().commit(*writes, operation=operation)


@pytest.fixture
async def store() -> AsyncIterator[Fragile]:
    async with Fragile() as store:
        yield store


async def fill(store: Fragile, vault: Vault, count: int) -> None:
    for number in range(count):
        thing = Thing(
            name=f"t{number}", sealed=vault.seal(b"v%d" % number, Place("thing", "default", f"t{number}", 1))
        )
        await store.commit(Put(thing))


def values(store: Fragile, vault: Vault) -> list[bytes]:
    return sorted(vault.open(each.sealed, each.place) for each in store.list(Thing))


def rotation(store: Fragile, vault: Vault) -> Rotation:
    return Rotation(store, vault, [Thing], clock=ManualClock())


@given(st.binary(max_size=200))
def test_what_was_sealed_opens_again(value: bytes) -> None:
    vault = Vault(MemoryKeyring())
    sealed = vault.seal(value, PLACE)
    assert vault.open(sealed, PLACE) == value
    assert vault.open(vault.rewrapped(sealed, PLACE), PLACE) == value


@pytest.mark.parametrize(
    "other",
    [
        PLACE._replace(kind="registry"),
        PLACE._replace(namespace="prod"),
        PLACE._replace(name="d"),
        PLACE._replace(version=2),
    ],
)
def test_what_was_moved_does_not_open(other: Place) -> None:
    vault = Vault(MemoryKeyring())
    with pytest.raises(Internal, match="does not open"):
        vault.open(vault.seal(b"x", PLACE), other)


@given(st.data())
def test_what_was_changed_does_not_open(data: st.DataObject) -> None:
    vault = Vault(MemoryKeyring())
    sealed = vault.seal(b"value", PLACE)
    field = data.draw(st.sampled_from(["key", "box"]))
    text = bytearray(getattr(sealed, field))
    text[data.draw(st.integers(0, len(text) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Internal, match="does not open"):
        vault.open(msgspec.structs.replace(sealed, **{field: bytes(text)}), PLACE)


def test_every_value_has_a_key_and_nonces_of_its_own() -> None:
    vault = Vault(MemoryKeyring())
    one, other = vault.seal(b"same", PLACE), vault.seal(b"same", PLACE)
    assert one.box != other.box
    assert one.box[:12] != other.box[:12]
    assert one.key != other.key


def test_what_is_sealed_does_not_print() -> None:
    sealed = Vault(MemoryKeyring()).seal(b"x", PLACE)
    assert f"{sealed}{sealed!r}" == "******"
    assert msgspec.json.decode(msgspec.json.encode(sealed), type=Sealed) == sealed


def test_a_key_that_is_not_there_is_named() -> None:
    sealed = Vault(MemoryKeyring()).seal(b"x", PLACE)
    with pytest.raises(FailedPrecondition, match=f"sealed with KEK {sealed.kek}, which is not in memory"):
        Vault(MemoryKeyring()).open(sealed, PLACE)


async def test_a_rotation_moves_everything_and_forgets_the_old_key(store: Fragile) -> None:
    ring = MemoryKeyring()
    vault, old = Vault(ring), ring.keys[0].id
    await fill(store, vault, 450)
    kek, count = await rotation(store, vault).rotate()
    assert (count, [key.id for key in ring.keys]) == (450, [kek])
    assert kek != old
    assert {each.sealed.kek for each in store.list(Thing)} == {kek}
    assert values(store, vault) == sorted(b"v%d" % number for number in range(450))


@pytest.mark.parametrize("commits", range(5))
async def test_a_crash_at_any_commit_loses_nothing_and_the_next_start_goes_on(
    store: Fragile, commits: int
) -> None:
    ring = MemoryKeyring()
    await fill(store, Vault(ring), 450)
    store.left = commits  # the mark, then three batches
    if commits < 4:
        with pytest.raises(Unavailable):
            await rotation(store, Vault(ring)).rotate()
    store.left = 10_000
    survivor = Vault(MemoryKeyring(ring.keys))  # what the file had at that moment
    assert len(values(store, survivor)) == 450
    await rotation(store, survivor).check()
    assert len(survivor.keyring.keys) == 1
    assert len(values(store, survivor)) == 450


async def test_an_old_key_that_cannot_be_forgotten_stops_nothing(store: Fragile) -> None:
    ring = MemoryKeyring()
    vault = Vault(ring)
    await fill(store, vault, 3)
    ring.extend()
    ring.refuses = FailedPrecondition("read-only")
    await rotation(store, vault).rotate()
    assert len(ring.keys) == 2
    await rotation(store, vault).check()  # a file that cannot be written keeps no server from starting
    ring.refuses = None
    await rotation(store, vault).check()
    assert len(ring.keys) == 1
    assert len(values(store, vault)) == 3


async def test_a_key_that_cannot_be_made_changes_nothing(store: Fragile) -> None:
    ring = MemoryKeyring()
    ring.refuses = FailedPrecondition("the disk is read-only")
    await fill(store, Vault(ring), 1)
    before = store.revision
    with pytest.raises(FailedPrecondition):
        await rotation(store, Vault(ring)).rotate()
    assert store.revision == before


class Watchful(MemoryKeyring):
    """Remembers what was stored when its new key was made."""

    def __init__(self, store: Fragile) -> None:
        super().__init__()
        self._store = store
        self.stored: list[str] = []

    def extend(self) -> None:
        self.stored = [each.name for each in self._store.list(Thing)]
        super().extend()


async def test_a_rotation_waits_for_a_value_that_is_on_its_way(store: Fragile) -> None:
    ring = Watchful(store)
    vault = Vault(ring)
    await fill(store, vault, 2)
    async with asyncio.TaskGroup() as tasks:
        async with vault.writing():
            late = Thing(name="late", sealed=vault.seal(b"late", Place("thing", "default", "late", 1)))
            tasks.create_task(rotation(store, vault).rotate())
            await store.commit(Put(late))
    assert ring.stored == ["late", "t0", "t1"]
    assert values(store, vault) == [b"late", b"v0", b"v1"]


async def test_what_others_change_meanwhile_is_looked_at_again(store: Fragile) -> None:
    vault = Vault(MemoryKeyring())
    await fill(store, vault, 2)
    store.conflicts = 3
    await rotation(store, vault).rotate()
    assert {each.sealed.kek for each in store.list(Thing)} == {vault.keyring.keys[0].id}


async def test_a_start_with_another_key_is_refused_with_the_remedy(store: Fragile) -> None:
    vault = Vault(MemoryKeyring())
    await fill(store, vault, 3)
    other = Vault(MemoryKeyring([fresh()]))
    with pytest.raises(FailedPrecondition, match="3 values are sealed with KEK .* add that key there"):
        await rotation(store, other).check()
