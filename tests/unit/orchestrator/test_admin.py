"""Admin over the real road: the first token, users, grants, tokens; nobody gives more than they have."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from planes import attach, detach, outcomes, plane, policies
from promises import promise
from rune.api import Operation
from rune.api.fields import Message
from rune.api.orchestrator import admin, auth
from rune.core.clock import ManualClock
from rune.core.rights import KINDS, MOST, Rights
from rune.core.roles import BUILT_IN
from rune.core.store.memory import MemoryStore
from rune.core.tokens import SYSTEM, Token
from rune.errors import (
    AlreadyExists,
    Conflict,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    RuneError,
)

READ = admin.PolicyRule(resource="services", verbs=["get"])
EVERYTHING = admin.PolicyRule(resource="*", verbs=["*"])


# --- bootstrap


@promise("bootstrap.once")
async def test_bootstrap_works_once() -> None:
    async with plane() as p:
        answer = await p.call(admin.bootstrap, admin.AdminBootstrapRequest())
        me = await p.call(auth.whoami, auth.WhoAmIRequest(), by=answer.token_secret)
        assert (me.subject_name, me.subject_id, me.policies) == ("root", answer.subject_id, ["root"])
        assert answer.token_secret.startswith(answer.token_id)
        with pytest.raises(FailedPrecondition, match="bootstrapped at 2026-01-01T00:00Z already"):
            await p.bootstrap()


@pytest.mark.parametrize("daemons", [1, 5])
async def test_of_fifty_bootstraps_at_once_one_works(daemons: int) -> None:
    clock = ManualClock()
    async with MemoryStore(KINDS) as store, plane(clock, store) as p:
        several = [Rights(p.store, clock) for _ in range(daemons)]
        found = await outcomes(*(several[n % daemons].bootstrap() for n in range(50)))
        assert sorted(found) == ["FAILED_PRECONDITION"] * 49 + ["ok"]
        assert len(p.store.list(Token)) == len(p.store.list(admin.Subject)) == 1


@promise("bootstrap.loopback")
async def test_admin_is_refused_from_another_machine() -> None:
    async with plane() as p:
        with pytest.raises(PermissionDenied, match=r"only from localhost unless auth\.allow_remote_admin"):
            await p.call(admin.bootstrap, admin.AdminBootstrapRequest(), address="192.0.2.1")
        root = await p.bootstrap()
        with pytest.raises(PermissionDenied, match="only from localhost"):
            await p.call(admin.list_users, admin.UserListRequest(), by=root, address="192.0.2.1")


# --- tokens


async def test_a_token_makes_its_user_with_readonly_when_nothing_is_said() -> None:
    async with plane() as p:
        root = await p.bootstrap()
        made = await p.token(root, "ann")
        me = await p.call(auth.whoami, auth.WhoAmIRequest(), by=made.secret)
        assert (me.subject_name, me.policies) == ("ann", ["readonly"])


async def test_a_new_subject_may_be_a_service_and_is_named_by_the_token_when_not_itself() -> None:
    async with plane() as p:
        root = await p.bootstrap()
        ask = auth.CreateTokenRequest(name="robot", subject_type="service", policies=["readwrite"])
        made = await p.call(auth.create_token, ask, by=root)
        subject = p.store.get(admin.Subject, SYSTEM, "robot")
        assert (subject.kind, subject.policies, made.name) == ("service", ["readwrite"], "robot")
        users = await p.call(admin.list_users, admin.UserListRequest(), by=root)
        assert [each.name for each in users.users] == ["root"]


async def test_unknown_policies_are_refused_by_name_and_make_nothing() -> None:
    async with plane() as p:
        root = await p.bootstrap()
        with pytest.raises(NotFound, match="unknown policies: 'nope', 'neither'"):
            await p.token(root, "ann", "readonly", "nope", "neither")
        assert p.store.find(admin.Subject, SYSTEM, "ann") is None


async def test_a_token_does_not_change_the_policies_of_a_subject_there_is() -> None:
    async with plane() as p:
        root = await p.bootstrap()
        await p.token(root, "ann", "readonly", "readwrite")
        await p.token(root, "ann", "readwrite", "readonly")
        with pytest.raises(FailedPrecondition, match="user 'ann' has other policies"):
            await p.token(root, "ann", "readonly")
        assert policies(p, "ann") == ["readonly", "readwrite"]


@pytest.mark.parametrize(
    "ask, failure, words",
    [
        ({}, InvalidArgument, "name"),
        ({"subject_name": "Ann!"}, InvalidArgument, "subject_name: a new subject"),
        ({"subject_name": "ann\n"}, InvalidArgument, "subject_name"),
        ({"subject_name": "ann", "subject_type": "group"}, InvalidArgument, "invalid subject-type: 'group'"),
        ({"subject_name": "root", "subject_type": "service"}, NotFound, "is a user, not a service"),
        ({"subject_id": "nobody"}, NotFound, "'nobody' does not exist"),
        ({"subject_id": "nobody", "subject_name": "root"}, InvalidArgument, "has another id"),
    ],
)
async def test_a_token_for_nobody_is_refused(
    ask: dict[str, Any], failure: type[RuneError], words: str
) -> None:
    async with plane() as p:
        root = await p.bootstrap()
        with pytest.raises(failure, match=words):
            await p.call(auth.create_token, auth.CreateTokenRequest(**ask), by=root)


async def test_nobody_makes_a_token_with_more_rights_than_their_own() -> None:
    async with plane() as p:
        root = await p.bootstrap()
        await p.grant(root, "minter", admin.PolicyRule(resource="auth", verbs=["*"]), READ)
        minter = (await p.token(root, "minter", "minter")).secret
        await p.grant(root, "reader", READ)
        await p.token(minter, "small", "reader")
        for name, given in (("root", ()), ("new", ("readonly",)), ("newer", ("root",))):
            with pytest.raises(PermissionDenied, match="more rights than your own"):
                await p.token(minter, name, *given)
        assert p.store.find(admin.Subject, SYSTEM, "new") is None


async def test_a_token_is_revoked_once_and_a_second_time_is_fine() -> None:
    async with plane() as p:
        root = await p.bootstrap()
        made = await p.token(root, "ann")
        for _ in range(2):
            answer = await p.call(auth.revoke_token, auth.RevokeTokenRequest(id=made.id), by=root)
            assert answer.revoked
        with pytest.raises(NotFound, match="no token with this id"):
            await p.call(auth.revoke_token, auth.RevokeTokenRequest(id="none"), by=root)


async def test_tokens_are_listed_newest_first_and_without_secrets() -> None:
    clock = ManualClock()
    async with plane(clock) as p:
        root = await p.bootstrap()
        clock.advance(10)
        made = await p.token(root, "ann", ttl=60)
        answer = await p.call(admin.list_tokens, admin.TokenListRequest(), by=root)
        newest, oldest = answer.tokens
        assert (newest.id, newest.subject_type, oldest.name) == (made.id, "user", "bootstrap")
        assert newest.expires_at is not None
        assert newest.issued_at is not None
        assert (newest.expires_at - newest.issued_at).total_seconds() == 60
        assert (newest.last_used_at, oldest.last_used_at) == (None, clock.now())
        text = msgspec.json.encode(answer).decode()
        for secret in (made.secret, root):
            assert secret.partition(".")[2] not in text
            assert p.store.get(Token, SYSTEM, secret[:36]).hash not in text


async def test_tokens_of_fifty_new_users_are_made_at_once() -> None:
    async with plane() as p:
        root = await p.bootstrap()
        assert await outcomes(*(p.token(root, f"user-{n}") for n in range(50))) == ["ok"] * 50


async def test_there_may_only_be_so_many_subjects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MOST, admin.Subject, 2)
    async with plane() as p:
        root = await p.bootstrap()
        await p.token(root, "ann")
        with pytest.raises(ResourceExhausted, match="there are 2"):
            await p.token(root, "bob")


# --- users


async def test_a_user_is_created_once_with_readonly_when_nothing_is_said() -> None:
    async with plane() as p:
        root = await p.bootstrap()
        ask = admin.UserCreateRequest(name="ann", email="ann@example.org")
        answer = await p.call(admin.create_user, ask, by=root)
        assert answer.user is not None
        assert (answer.user.policies, answer.user.email) == (["readonly"], "ann@example.org")
        with pytest.raises(AlreadyExists, match="'ann'"):
            await p.call(admin.create_user, ask, by=root)


# --- grants


@promise("access.built-in")
@pytest.mark.parametrize("name", [each.name for each in BUILT_IN])
async def test_the_built_in_grants_can_be_neither_changed_nor_deleted(name: str) -> None:
    async with plane() as p:
        root = await p.bootstrap()
        before = p.store.get(admin.Grant, SYSTEM, name)
        changed = admin.PolicyUpdateRequest(policy=admin.Grant(name=name, rules=[READ]))
        with pytest.raises(FailedPrecondition, match="built in"):
            await p.call(admin.update_grant, changed, by=root)
        with pytest.raises(FailedPrecondition, match="built in"):
            await p.call(admin.delete_grant, admin.PolicyDeleteRequest(name=name), by=root)
        with pytest.raises(AlreadyExists):
            await p.grant(root, name, READ)
        assert p.store.get(admin.Grant, SYSTEM, name) is before


async def test_a_grant_is_created_changed_and_found_by_name_or_id() -> None:
    async with plane() as p:
        root = await p.bootstrap()
        made = await p.grant(root, "reader", READ)
        assert made is not None
        wanted = msgspec.structs.replace(made, description="reads", rules=[READ, READ])
        answer = await p.call(admin.update_grant, admin.PolicyUpdateRequest(policy=wanted), by=root)
        for ask in (admin.PolicyGetRequest(name="reader"), admin.PolicyGetRequest(id=made.id)):
            assert (await p.call(admin.get_grant, ask, by=root)).policy == answer.policy
        with pytest.raises(Conflict, match="is at revision"):
            await p.call(admin.update_grant, admin.PolicyUpdateRequest(policy=wanted), by=root)
        listed = await p.call(admin.list_grants, admin.PolicyListRequest(), by=root)
        assert [each.name for each in listed.policies] == ["admin", "reader", "readonly", "readwrite", "root"]


@pytest.mark.parametrize(
    "grant, words",
    [
        (
            {"rules": [{"resource": "service", "verbs": ["get"]}]},
            "rules.0..resource: .*did you mean 'services'",
        ),
        ({"rules": [{"resource": "logs", "verbs": ["get", "gte"]}]}, "verbs.1.: .*did you mean 'get'"),
        ({"rules": [{"resource": "logs", "verbs": ["get"], "namespace": "Prod"}]}, "namespace"),
        ({"builtin": True}, "policy.builtin: is set by the server alone"),
    ],
)
async def test_a_grant_that_could_never_mean_anything_is_refused(grant: dict[str, Any], words: str) -> None:
    async with plane() as p:
        root = await p.bootstrap()
        wanted = msgspec.convert({"name": "odd", **grant}, admin.Grant)
        with pytest.raises(InvalidArgument, match=words):
            await p.call(admin.create_grant, admin.PolicyCreateRequest(policy=wanted), by=root)


async def test_a_deleted_grant_is_taken_off_everybody_in_the_same_commit() -> None:
    async with plane() as p:
        root = await p.bootstrap()
        await p.grant(root, "reader", READ)
        for name in ("ann", "bob"):
            await p.token(root, name, "reader", "readonly")
        revision = p.store.revision
        await p.call(admin.delete_grant, admin.PolicyDeleteRequest(name="reader"), by=root)
        assert p.store.revision == revision + 1
        assert policies(p, "ann") == policies(p, "bob") == ["readonly"]
        with pytest.raises(NotFound, match="policy 'reader' does not exist"):
            await p.call(admin.delete_grant, admin.PolicyDeleteRequest(name="reader"), by=root)


async def test_attaching_and_detaching_twice_is_as_once() -> None:
    async with plane() as p:
        root = await p.bootstrap()
        await p.token(root, "ann")
        for _ in range(2):
            assert (await p.call(admin.attach_grant, attach("readwrite", "ann"), by=root)).attached
        assert policies(p, "ann") == ["readonly", "readwrite"]
        for _ in range(2):
            assert (await p.call(admin.detach_grant, detach("readonly", "ann"), by=root)).detached
        assert policies(p, "ann") == ["readwrite"]


@pytest.mark.parametrize(
    "ask, failure",
    [
        ({"policy_name": "nope", "subject_name": "root"}, NotFound),
        ({"policy_name": "root", "subject_name": "nope"}, NotFound),
        ({"policy_name": "root", "subject_name": "root", "subject_kind": "service"}, NotFound),
        ({"policy_name": "root"}, InvalidArgument),
        ({"subject_name": "root"}, InvalidArgument),
    ],
)
async def test_attaching_what_is_not_there_is_refused(ask: dict[str, str], failure: type[RuneError]) -> None:
    async with plane() as p:
        root = await p.bootstrap()
        with pytest.raises(failure):
            await p.call(admin.attach_grant, admin.PolicyAttachToSubjectRequest(**ask), by=root)
        with pytest.raises(failure):
            await p.call(admin.detach_grant, admin.PolicyDetachFromSubjectRequest(**ask), by=root)


async def test_who_manages_rights_without_having_all_gives_none_they_lack() -> None:
    async with plane() as p:
        root = await p.bootstrap()
        await p.grant(root, "clerk", admin.PolicyRule(resource="admin", verbs=["*"]))
        clerk = (await p.token(root, "clerk", "clerk")).secret
        wider = admin.PolicyUpdateRequest(policy=admin.Grant(name="clerk", rules=[EVERYTHING]))
        tries: list[tuple[Operation[Any, Any], Message]] = [
            (admin.attach_grant, attach("root", "clerk")),
            (
                admin.create_grant,
                admin.PolicyCreateRequest(policy=admin.Grant(name="all", rules=[EVERYTHING])),
            ),
            (admin.update_grant, wider),
            (admin.create_user, admin.UserCreateRequest(name="puppet", policies=["root"])),
        ]
        for operation, ask in tries:
            with pytest.raises(PermissionDenied, match="more rights than your own"):
                await p.call(operation, ask, by=clerk)


async def test_readwrite_and_readonly_reach_no_admin_operation() -> None:
    async with plane() as p:
        root = await p.bootstrap()
        for role in ("readwrite", "readonly"):
            token = (await p.token(root, role, role)).secret
            found = await outcomes(
                p.call(admin.list_users, admin.UserListRequest(), by=token),
                p.call(admin.create_user, admin.UserCreateRequest(name="x"), by=token),
                p.call(admin.attach_grant, attach("root", role), by=token),
                p.token(token, "x"),
                p.call(auth.revoke_token, auth.RevokeTokenRequest(id=root[:36]), by=token),
            )
            assert found == ["PERMISSION_DENIED"] * 5
