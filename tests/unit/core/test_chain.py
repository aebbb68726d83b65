"""The audit log against forgers: whatever they do to it is found and named, here and without the server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planes import caller
from promises import promise
from rune.api.orchestrator import admin
from rune.core.access import Principal
from rune.core.audit import JOURNAL, Audit, Retention
from rune.core.auditfile import first_line, line_of, of_export, of_store
from rune.core.call import Call
from rune.core.chain import BROKEN, Link, Seal, Signer, Walk, chained, link
from rune.core.clock import ManualClock
from rune.core.rights import KINDS
from rune.core.store.base import Delete, Entry, Put
from rune.core.store.memory import MemoryStore
from rune.core.store.sqlite import SqliteStore
from rune.core.tokens import SYSTEM, Token
from rune.errors import FailedPrecondition, InvalidArgument

ANN = Principal(id="a1", name="ann", credential="t1")
SIGNER = Signer()


class Open(MemoryStore):
    """A store whose journal somebody edits behind the log's back."""

    @property
    def journal(self) -> list[Entry]:
        """The entries themselves."""
        return self._journals[JOURNAL]


@dataclass
class Log:
    """A log and what is under it."""

    store: Open
    audit: Audit
    clock: ManualClock

    async def write(self, count: int) -> None:
        """So many records, each an entry of its own."""
        call = Call(operation=admin.create_user, caller=caller(), principal=ANN)
        for number in range(count):
            await self.audit.record(call, admin.UserCreateRequest(name=f"u{number}"), None)

    def again(self, retention: Retention | None = None, signer: Signer = SIGNER) -> Log:
        """The log after a restart."""
        return Log(self.store, Audit(self.store, self.clock, signer=signer, retention=retention), self.clock)

    async def problem(self) -> str:
        """What verify says."""
        return (await self.audit.verify()).problem


def log(retention: Retention | None = None) -> Log:
    """An empty one."""
    store, clock = Open(KINDS), ManualClock()
    return Log(store, Audit(store, clock, signer=SIGNER, retention=retention), clock)


def chain(count: int) -> tuple[list[Entry], Seal]:
    """Entries as the log writes them, and a seal over all of them."""
    entries: list[Entry] = []
    seal = Seal()
    for number in range(count):
        body = msgspec.json.encode([{"operation": "x", "name": f"u{number}"}])
        seal = msgspec.structs.replace(seal, sequence=number + 1, hash=chained(seal.hash, body))
        entries.append(Entry(number + 1, msgspec.json.encode(Link(seal.hash, msgspec.Raw(body)))))
    return entries, SIGNER.signed(seal, ManualClock().now())


def judged(entries: list[Entry], seal: Seal) -> Walk:
    """A walk over all of them."""
    walk = Walk(seal)
    for entry in entries:
        if not walk.take(entry):
            break
    walk.end()
    return walk


@given(st.integers(0, 12))
def test_a_chain_as_it_was_written_is_intact(count: int) -> None:
    entries, seal = chain(count)
    walk = judged(entries, seal)
    assert (walk.problem, walk.entries, walk.hash) == ("", count, seal.hash)


@promise("audit.tampered")
@given(st.integers(1, 12), st.data())
def test_whatever_is_done_to_a_chain_is_found(count: int, data: st.DataObject) -> None:
    entries, seal = chain(count)
    forged = list(entries)
    for _ in range(data.draw(st.integers(1, 4))):
        where = data.draw(st.integers(0, max(len(forged) - 1, 0)))
        match data.draw(st.sampled_from(["flip", "drop", "swap", "cut", "copy", "renumber"])):
            case "flip" if forged:
                payload = bytearray(forged[where].payload)
                payload[data.draw(st.integers(0, len(payload) - 1))] ^= data.draw(st.integers(1, 255))
                forged[where] = Entry(forged[where].sequence, bytes(payload))
            case "drop" if forged:
                del forged[where]
            case "swap" if forged:
                forged[0], forged[where] = forged[where], forged[0]
            case "cut":
                del forged[where:]
            case "copy" if forged:
                forged.insert(where, forged[-1])
            case _:
                forged = [Entry(number, entry.payload) for number, entry in enumerate(forged, 1)]
    walk = judged(forged, seal)
    same = [_meaning(entry) for entry in forged] == [_meaning(entry) for entry in entries]
    assert bool(walk.problem) is not same


def _meaning(entry: Entry) -> tuple[int, str, bytes]:
    """What an entry says; bytes around that, such as an unknown field's name, are no part of it."""
    try:
        found = link(entry)
    except msgspec.MsgspecError:
        return entry.sequence, "", entry.payload
    return entry.sequence, found.hash, bytes(found.records)


def changed(entry: Entry) -> Entry:
    """The entry with another name in it."""
    return Entry(entry.sequence, entry.payload.replace(b"u2", b"u9"))


def test_what_was_done_is_named() -> None:
    entries, seal = chain(6)
    first, second, third, *rest = entries
    for forged, named in (
        ([first, second, changed(third), *rest], "entry 3 was changed"),
        ([first, second, *rest], "entry 3 is missing"),
        ([first, *rest[1:]], "entries 2 to 4 are missing"),
        (rest, "entries 1 to 3 are missing"),
        ([first, third, second, *rest], "entry 2 is missing"),
        ([*entries, first], "entry 1 stands after entry 6"),
        (entries[:4], "entries 5 to 6 were cut off at the end"),
        ([], "entries 1 to 6 were cut off at the end"),
        ([*entries[:5], Entry(6, b"{")], "entry 6 cannot be read"),
    ):
        assert named in judged(forged, seal).problem


def test_a_whole_new_chain_is_found_out_by_the_seal() -> None:
    _, seal = chain(6)
    body = b'[{"operation":"y"}]'
    forged, head = list[Entry](), Seal().hash
    for number in range(6):
        head = chained(head, body)
        forged.append(Entry(number + 1, msgspec.json.encode(Link(head, msgspec.Raw(body)))))
    assert "the log was rewritten" in judged(forged, seal).problem


def test_a_seal_is_genuine_until_a_fact_of_it_changes() -> None:
    _, seal = chain(3)
    assert seal.is_genuine
    for change in ({"sequence": 2}, {"hash": "0"}, {"anchor": 1}, {"size": 5}, {"signature": "zz"}):
        assert not msgspec.structs.replace(seal, **change).is_genuine
    assert seal.signature not in repr(SIGNER)


async def test_entries_cut_off_while_the_server_was_down_are_missed_and_said_for_good() -> None:
    first = log()
    await first.write(6)
    await first.audit.sealed()
    del first.store.journal[4:]
    second = first.again()
    assert "entries 5 to 6 were cut off" in await second.problem()
    await second.audit.begin()
    await second.write(3)
    await second.audit.sealed()
    assert "entries 5 to 6 were cut off while the server was down" in await second.problem()
    newest = [record.operation async for _, record in second.audit.newest()]
    assert newest[3] == BROKEN


@pytest.mark.parametrize("left", [0, 1, 3])
async def test_a_log_goes_on_whatever_was_taken_from_it(left: int) -> None:
    first = log()
    await first.write(4)
    await first.audit.sealed()
    del first.store.journal[left:]
    second = first.again()
    await second.audit.begin()
    await second.write(2)
    await second.audit.sealed()
    assert len([1 async for _ in second.audit.newest()]) == left + 3


async def test_a_seal_of_another_key_is_found_out() -> None:
    first = log()
    await first.write(3)
    await first.audit.sealed()
    second = first.again(signer=Signer())
    assert "not that of this server" in await second.problem()
    await second.audit.begin()
    await second.audit.sealed()
    assert "signed with another key" in await second.problem()


async def test_a_seal_that_was_taken_away_is_missed() -> None:
    first = log()
    await first.audit.begin()
    await first.write(3)
    await first.audit.sealed()
    await first.store.commit(Delete(Seal().key))
    del first.store.journal[:]
    await first.store.commit(Put(Token(id="t", subject="root", subject_id="s", hash="h")))
    second = first.again()
    await second.audit.begin()
    assert "the seal is gone" in await second.problem()


async def test_a_new_server_is_sealed_before_anything_happens() -> None:
    first = log()
    await first.audit.begin()
    assert first.audit.seal.is_genuine
    assert not first.store.journal
    again = first.again()
    await again.audit.begin()
    assert await again.problem() == ""


async def test_a_log_that_is_pruned_while_it_is_verified_is_not_called_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    it = log(Retention(age=timedelta(days=1)))
    await it.write(4)
    it.clock.advance(2 * 86400)
    await it.write(2)
    read, busy = it.store.read, list[bool]()

    async def read_late(journal: str, after: int = 0, limit: int = 1000) -> Sequence[Entry]:
        if not busy:
            busy.append(True)
            await it.audit.prune()
        return await read(journal, after, limit)

    monkeypatch.setattr(it.store, "read", read_late)
    assert await it.problem() == ""
    assert it.audit.seal.anchor == 4


async def test_an_untouched_log_begins_in_silence() -> None:
    first = log()
    await first.write(3)
    await first.audit.sealed()
    await first.write(2)  # after the last seal, as when the power fails
    second = first.again()
    await second.audit.begin()
    assert await second.problem() == ""
    assert len(second.store.journal) == 5


@promise("audit.retention")
async def test_what_is_too_old_goes_and_the_rest_is_verified_from_the_seal() -> None:
    it = log(Retention(age=timedelta(days=10)))
    await it.write(4)
    it.clock.advance(11 * 86400)
    await it.write(3)
    assert await it.audit.prune() == 4
    await it.audit.sealed()
    assert [entry.sequence for entry in it.store.journal] == [5, 6, 7, 8]
    assert it.audit.seal.anchor == 4
    assert await it.problem() == ""
    assert await it.again().problem() == ""
    newest = [record async for _, record in it.audit.newest()]
    assert (newest[0].operation, newest[0].names) == ("prune_audit", {"from": "1", "to": "4"})
    assert len(newest) == 4
    del it.store.journal[0]
    assert "entry 5 is missing" in await it.problem()


async def test_what_is_too_much_goes_oldest_first_and_never_the_newest() -> None:
    it = log(Retention(size=1500))
    await it.write(20)
    size = sum(len(entry.payload) for entry in it.store.journal)
    dropped = await it.audit.prune()
    left = sum(len(entry.payload) for entry in it.store.journal[:-1])  # the last says what went
    assert left <= 1500 < size
    assert dropped == it.audit.seal.anchor
    tiny = it.again(Retention(size=1))
    await tiny.audit.prune()
    assert await tiny.problem() == ""
    assert tiny.store.journal


async def test_a_prune_that_was_cut_short_leaves_a_log_that_is_intact(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    it = log(Retention(age=timedelta(days=1)))
    await it.write(3)
    it.clock.advance(2 * 86400)
    await it.write(2)

    async def power_cut(journal: str, through: int) -> None:
        raise InvalidArgument("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(it.store, "prune", power_cut)
        with pytest.raises(InvalidArgument):
            await it.audit.prune()
    assert len(it.store.journal) == 5
    assert await it.again().problem() == ""


async def test_an_entry_that_is_known_elsewhere_must_be_there() -> None:
    it = log()
    await it.write(3)
    second = link(it.store.journal[1]).hash
    assert await it.audit.has(2, second)
    assert not await it.audit.has(2, "0" * 64)
    assert not await it.audit.has(9, second)


async def exported(it: Log) -> list[bytes]:
    """The lines of an export."""
    seal = await it.audit.sealed()
    lines = [line_of(each.sequence, each.payload.decode()) async for each in it.audit.entries(seal)]
    return [first_line(seal), *lines]


async def test_an_export_is_verified_by_itself() -> None:
    it = log()
    await it.write(5)
    lines = await exported(it)
    good = of_export(lines, public_key=SIGNER.public_key)
    assert (good.problem, good.entries) == ("", 5)
    assert "entry 3 was changed" in of_export([line.replace(b"u2", b"u9") for line in lines]).problem
    assert "entry 3 is missing" in of_export([*lines[:3], *lines[4:]]).problem
    assert "cut off" in of_export(lines[:-2]).problem
    assert "not with the one that you named" in of_export(lines, public_key="00").problem
    forged = first_line(msgspec.structs.replace(good.seal, sequence=3))
    assert "signature is wrong" in of_export([forged, *lines[1:4]]).problem
    with pytest.raises(InvalidArgument, match="no export"):
        of_export(lines[1:])
    with pytest.raises(FailedPrecondition, match="line 3 cannot be read"):
        of_export([*lines[:2], b"{"])


async def test_a_stores_file_is_verified_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with SqliteStore(path, KINDS) as store:
        audit = Audit(store, ManualClock(), signer=SIGNER)
        call = Call(operation=admin.create_user, caller=caller(), principal=ANN)
        for _ in range(4):
            await audit.record(call, None, None)
        await audit.sealed()
    report = of_store(path, public_key=SIGNER.public_key)
    assert (report.problem, report.entries) == ("", 4)
    async with SqliteStore(path, KINDS) as store:
        seal = store.get(Seal, SYSTEM, Seal.KIND)
        await store.commit(Put(msgspec.structs.replace(seal, sequence=9)))
    assert "the seal was changed" in of_store(path).problem


def test_the_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "audit.key"
    first = Signer.at(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert Signer.at(path).public_key == first.public_key
    path.chmod(0o640)
    with pytest.raises(FailedPrecondition, match="others may read"):
        Signer.at(path)
    path.chmod(0o600)
    path.write_text("nonsense", encoding="utf-8")
    with pytest.raises(FailedPrecondition, match="not a key"):
        Signer.at(path)


async def test_an_entry_that_was_spoiled_shows_as_such_in_the_list() -> None:
    it = log()
    await it.write(3)
    it.store.journal[1] = Entry(2, b"\xff")
    shown = [record.message async for _, record in it.audit.newest()]
    assert shown == ["", "entry 2 cannot be read: somebody changed it", ""]
    assert await it.audit.prune() == 0
