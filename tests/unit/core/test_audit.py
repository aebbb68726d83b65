"""The audit log: what is kept of a call, that nobody changes it unseen, and that strangers cannot fill it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planes import caller, plane
from promises import promise
from rune.api import OPERATIONS, Operation
from rune.api.fields import Message
from rune.api.orchestrator import admin, auth, configmaps, secrets, services
from rune.api.orchestrator import audit as api
from rune.core.access import Principal
from rune.core.audit import FOR_ALL, JOURNAL, PER_SOURCE, Audit
from rune.core.call import Call
from rune.core.clock import ManualClock
from rune.core.records import LONGEST_NAME, Record, record_of
from rune.core.rights import KINDS
from rune.core.store.base import Entry
from rune.core.store.memory import MemoryStore
from rune.core.store.sqlite import SqliteStore
from rune.errors import (
    InvalidArgument,
    NotFound,
    PermissionDenied,
    RuneError,
    Unauthenticated,
    Unavailable,
    Violation,
)
from rune.orchestrator.audit import register

ANN = Principal(id="a1", name="ann", credential="t1")


def call(
    operation: Operation[Any, Any] = admin.list_users,
    *,
    by: Principal | None = ANN,
    address: str = "192.0.2.1",
    namespace: str = "",
) -> Call:
    """A call as the dispatcher hands it to the log."""
    who = {} if by is None else {"principal": by}
    return Call(operation=operation, caller=caller("", address), namespace=namespace, **who)


async def everything(audit: Audit) -> list[Record]:
    """All records, newest first."""
    return [record async for _, record in audit.newest()]


class Forged(MemoryStore):
    """A store whose journal somebody edits behind the log's back."""

    def journal(self) -> list[Entry]:
        """The entries themselves."""
        return self._journals[JOURNAL]


@promise("access.audit")
async def test_every_change_and_every_denial_is_in_the_log() -> None:
    clock = ManualClock()
    async with plane(clock) as p:
        audit = Audit(p.store, clock)
        p.heard.record = audit.record
        register(p.dispatcher, audit=audit, clock=clock)
        root = await p.bootstrap()
        ann = (await p.token(root, "ann")).secret
        with pytest.raises(PermissionDenied):
            await p.call(admin.create_user, admin.UserCreateRequest(name="x"), by=ann)
        with pytest.raises(Unauthenticated):
            await p.call(admin.list_users, admin.UserListRequest())
        await p.call(admin.list_users, admin.UserListRequest(), by=root)
        answer = await p.call(api.list_, api.ListAuditEventsRequest(), by=root)
        shown = [(each.action, each.actor, each.outcome) for each in answer.events]
        assert shown == [
            ("list_users", "anonymous", "UNAUTHENTICATED"),
            ("create_user", "ann", "PERMISSION_DENIED"),
            ("create_token", "root", "ok"),
            ("bootstrap", "anonymous", "ok"),
        ]
        assert answer.events[2].resource_ref == "ann"
        assert (await audit.verify()).bad == 0


async def test_nothing_secret_is_in_the_log() -> None:
    clock = ManualClock()
    async with plane(clock) as p:
        audit = Audit(p.store, clock)
        p.heard.record = audit.record
        root = await p.bootstrap()
        made = await p.token(root, "ann")
        for text in (made.secret, f"{made.id}.wrong"):
            with pytest.raises(RuneError):
                await p.call(admin.list_users, admin.UserListRequest(), by=text)
        ask = auth.CreateTokenRequest(subject_name=made.secret, description="hunter2")
        with pytest.raises(RuneError):
            await p.call(auth.create_token, ask, by=root)
        written = b"".join(entry.payload for entry in await p.store.read(JOURNAL)).decode()
        for secret in (root, made.secret):
            assert secret.partition(".")[2] not in written
        assert "hunter2" not in written
        assert "***" in written


SECRET = "s3cr3t-v4lue"


@pytest.mark.parametrize(
    "operation, ask, name",
    [
        (
            secrets.create,
            secrets.CreateSecretRequest(
                secret=secrets.Secret(namespace="prod", name="db", data={"password": SECRET})
            ),
            "db",
        ),
        (
            services.scale,
            services.ScaleServiceRequest(namespace="prod", name="api", scale=3),
            "api",
        ),
        (configmaps.delete, configmaps.DeleteConfigmapRequest(namespace="prod", name="cfg"), "cfg"),
        (
            admin.attach_grant,
            admin.PolicyAttachToSubjectRequest(policy_name="root", subject_name="ann"),
            "root",
        ),
        (auth.revoke_token, auth.RevokeTokenRequest(id="t9"), "t9"),
        (admin.create_grant, admin.PolicyCreateRequest(policy=admin.Grant(name="g")), "g"),
        (admin.create_user, admin.UserCreateRequest(name="bob", email=SECRET), "bob"),
    ],
)
def test_the_target_is_found_by_the_operations_declaration(
    operation: Operation[Any, Any], ask: Message, name: str
) -> None:
    record = record_of(call(operation, namespace="prod"), ask, None, now=ManualClock().now())
    assert (record.name, record.namespace) == (name, "prod")
    assert SECRET not in msgspec.json.encode(record).decode()
    assert SECRET not in repr(record)


def test_every_operation_can_be_recorded() -> None:
    for operation in OPERATIONS:
        record = record_of(call(operation), None, None, now=ManualClock().now())
        assert (record.operation, record.actor) == (operation.name, "ann")


def test_of_a_failure_only_what_cannot_quote_a_value_is_kept() -> None:
    now = ManualClock().now()
    wrong = InvalidArgument.of([Violation("service.env[0]", f"{SECRET} is not a name")])
    assert record_of(call(), None, wrong, now=now).message == "invalid: service.env[0]"
    assert record_of(call(), None, NotFound(SECRET), now=now).message == ""
    denied = PermissionDenied("access denied for resource: x verb: y")
    assert record_of(call(), None, denied, now=now).message == denied.message


@given(st.text(max_size=5000))
def test_a_record_is_small_whatever_is_sent(text: str) -> None:
    ask = admin.PolicyAttachToSubjectRequest(policy_name=text, subject_name=text)
    failure = PermissionDenied(text)
    record = record_of(call(admin.attach_grant), ask, failure, now=ManualClock().now())
    assert all(len(value) <= LONGEST_NAME for value in (record.name, *record.names.values()))
    assert len(record.message) <= 256


async def test_who_changes_drops_or_reorders_entries_is_found_out() -> None:
    async with Forged(KINDS) as store:
        audit = Audit(store, ManualClock())
        for number in range(6):
            await audit.record(call(), admin.UserCreateRequest(name=f"u{number}"), None)
        good = list(store.journal())
        assert (await audit.verify()).entries == 6

        changed = Entry(3, good[2].payload.replace(b"ann", b"bob"))
        again = Entry(3, b"not even json")
        forgeries: list[tuple[list[Entry], int]] = [
            ([*good[:2], changed, *good[3:]], 3),
            ([*good[:2], again, *good[3:]], 3),
            ([*good[:2], Entry(3, good[3].payload), *good[4:]], 3),
            ([Entry(1, good[1].payload), Entry(2, good[0].payload), *good[2:]], 1),
            (good[:4], 5),
        ]
        for entries, bad in forgeries:
            store.journal()[:] = entries
            assert (await audit.verify()).bad == bad
        store.journal()[:] = good
        assert (await audit.verify()).bad == 0


async def test_a_whole_chain_written_anew_is_found_out_while_the_server_runs() -> None:
    async with Forged(KINDS) as store, MemoryStore(KINDS) as other:
        audit, forger = Audit(store, ManualClock()), Audit(other, ManualClock())
        await audit.record(call(), None, None)
        await forger.record(call(by=Principal(id="b", name="bob")), None, None)
        store.journal()[:] = await other.read(JOURNAL)
        assert (await audit.verify()).bad == 1


@pytest.mark.parametrize("entries", [0, 1, 2, 3, 7, 8, 9, 100])
async def test_the_chain_goes_on_after_a_restart(entries: int) -> None:
    async with MemoryStore(KINDS) as store:
        for _ in range(entries):
            await Audit(store, ManualClock()).record(call(), None, None)
        verdict = await Audit(store, ManualClock()).verify()
        assert (verdict.entries, verdict.bad) == (entries, 0)
        assert len(await everything(Audit(store, ManualClock()))) == entries


async def test_records_of_the_same_moment_share_an_entry_and_keep_their_order(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "state.db", KINDS) as store:
        audit = Audit(store, ManualClock())
        asks = [admin.UserCreateRequest(name=f"u{number}") for number in range(1000)]
        await asyncio.gather(*(audit.record(call(admin.create_user), ask, None) for ask in asks))
        names = [record.name for record in await everything(audit)]
        assert names[::-1] == [ask.name for ask in asks]
        verdict = await audit.verify()
        assert verdict.bad == 0
        assert verdict.entries < 20


async def test_a_caller_that_goes_away_leaves_the_chain_whole() -> None:
    async with MemoryStore(KINDS) as store:
        audit = Audit(store, ManualClock())
        async with asyncio.TaskGroup() as group:
            gone = group.create_task(audit.record(call(), None, None))
            stays = group.create_task(audit.record(call(), None, None))
            group.create_task(_cancel(gone))
            await stays
        await audit.record(call(), None, None)
        assert (await audit.verify()).bad == 0


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()


async def test_a_change_that_cannot_be_recorded_is_not_called_done(monkeypatch: pytest.MonkeyPatch) -> None:
    async with MemoryStore(KINDS) as store:
        audit = Audit(store, ManualClock())
        await audit.record(call(), None, None)

        async def full(text: bytes) -> int:
            raise Unavailable("the disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(store, "tell", full)
            with pytest.raises(Unavailable):
                await audit.record(call(), None, None)
        await audit.record(call(), None, None)
        verdict = await audit.verify()
        assert (verdict.entries, verdict.bad) == (2, 0)


async def test_denials_of_one_source_are_added_up_and_none_is_forgotten() -> None:
    clock = ManualClock()
    async with MemoryStore(KINDS) as store:
        audit = Audit(store, clock)
        for _ in range(10_000):
            await audit.record(call(by=None), None, Unauthenticated("invalid bearer token"))
        assert len(await everything(audit)) == PER_SOURCE.full
        clock.advance(60)
        await audit.record(call(by=None), None, Unauthenticated("invalid bearer token"))
        newest, summary, *_ = await everything(audit)
        assert newest.repeated == 0
        assert summary.repeated == 10_000 - PER_SOURCE.full
        assert summary.address == "192.0.2.1"


async def test_denials_of_many_sources_are_bounded_together() -> None:
    async with MemoryStore(KINDS) as store:
        audit = Audit(store, ManualClock())
        total = 5_000
        for number in range(total):
            address = f"2001:db8:{number:x}::1"
            await audit.record(call(by=None, address=address), None, Unauthenticated("no"))
        assert len(await everything(audit)) == FOR_ALL.full
        await audit.flush()
        records = await everything(audit)
        assert len(records) <= FOR_ALL.full + 1_001
        assert sum(record.repeated or 1 for record in records) == total


async def test_changes_and_failures_of_those_who_may_are_always_written() -> None:
    async with MemoryStore(KINDS) as store:
        audit = Audit(store, ManualClock())
        for _ in range(PER_SOURCE.full + 10):
            await audit.record(call(), None, None)
            await audit.record(call(), None, NotFound("x"))
        assert len(await everything(audit)) == 2 * (PER_SOURCE.full + 10)


@pytest.mark.parametrize(
    "filters, names",
    [
        ({}, ["c", "b", "a"]),
        ({"limit": 2}, ["c", "b"]),
        ({"since": "30m"}, ["c"]),
        ({"until": "30m"}, ["b", "a"]),
        ({"since": "2026-01-01T00:30:00Z", "until": "2026-01-01T01:00:00+00:00"}, ["b"]),
        ({"action": "create_user"}, ["c", "b", "a"]),
        ({"action": "scale_service"}, []),
        ({"resource": "admin", "actor": "ann", "resource_ref": "b"}, ["b"]),
        ({"actor": "a1"}, ["c", "b", "a"]),
        ({"namespace": "prod"}, []),
    ],
)
async def test_the_log_is_listed_newest_first_and_filtered(filters: dict[str, Any], names: list[str]) -> None:
    clock = ManualClock()
    async with plane(clock) as p:
        root = await p.bootstrap()
        audit = Audit(p.store, clock)
        register(p.dispatcher, audit=audit, clock=clock)
        for name in "abc":
            await audit.record(call(admin.create_user), admin.UserCreateRequest(name=name), None)
            clock.advance(3600 if name != "c" else 1)
        answer = await p.call(api.list_, api.ListAuditEventsRequest(**filters), by=root)
        assert [each.resource_ref for each in answer.events] == names


@pytest.mark.parametrize("field", ["since", "until"])
async def test_a_time_that_is_none_is_refused_by_field(field: str) -> None:
    clock = ManualClock()
    async with plane(clock) as p:
        root = await p.bootstrap()
        register(p.dispatcher, audit=Audit(p.store, clock), clock=clock)
        with pytest.raises(InvalidArgument, match=f"{field}: 'yesterday' is not a time: write it like"):
            await p.call(
                api.list_, msgspec.convert({field: "yesterday"}, api.ListAuditEventsRequest), by=root
            )
