"""Users one by one, and the last way in: somebody can always manage the server."""

from __future__ import annotations

import pytest

from planes import attach, caller, plane, policies
from promises import promise
from rune.api.orchestrator import admin, auth, users
from rune.core.clock import ManualClock
from rune.core.tokens import SYSTEM, Token
from rune.errors import Conflict, FailedPrecondition, NotFound, PermissionDenied, Unauthenticated


@promise("auth.last-root")
async def test_the_last_token_that_may_do_everything_stays_unless_forced() -> None:
    async with plane() as p:
        root = await p.bootstrap()
        ask = auth.RevokeTokenRequest(id=root[:36])
        with pytest.raises(FailedPrecondition, match="last good token"):
            await p.call(auth.revoke_token, ask, by=root)
        second = await p.token(root, "root")
        await p.call(auth.revoke_token, ask, by=root)
        forced = auth.RevokeTokenRequest(id=second.id, force=True)
        assert (await p.call(auth.revoke_token, forced, by=second.secret)).revoked
        with pytest.raises(Unauthenticated):
            p.identity.authenticate(caller(second.secret))


async def test_a_token_that_has_ended_is_no_way_in() -> None:
    clock = ManualClock()
    async with plane(clock) as p:
        root = await p.bootstrap()
        await p.token(root, "root", ttl=60)
        clock.advance(61)
        with pytest.raises(FailedPrecondition, match="last good token"):
            await p.call(auth.revoke_token, auth.RevokeTokenRequest(id=root[:36]), by=root)


async def test_other_tokens_are_revoked_freely() -> None:
    async with plane() as p:
        root = await p.bootstrap()
        ann = await p.token(root, "ann")
        assert (await p.call(auth.revoke_token, auth.RevokeTokenRequest(id=ann.id), by=root)).revoked


async def test_a_user_is_read_changed_and_deleted_with_its_tokens() -> None:
    async with plane() as p:
        root = await p.bootstrap()
        made = await p.token(root, "ann")
        found = (await p.call(users.get, users.UserGetRequest(name="ann"), by=root)).user
        assert found
        assert found.policies == ["readonly"]
        ask = users.UserUpdateRequest(name="ann", email="ann@example.com", policies=["readwrite"])
        changed = (await p.call(users.update, ask, by=root)).user
        assert changed
        assert (changed.id, changed.email, changed.policies) == (found.id, "ann@example.com", ["readwrite"])
        only_mail = users.UserUpdateRequest(name="ann", email="a@example.com")
        await p.call(users.update, only_mail, by=root)
        assert policies(p, "ann") == ["readwrite"]
        stale = users.UserUpdateRequest(name="ann", email="x", revision=found.revision)
        with pytest.raises(Conflict):
            await p.call(users.update, stale, by=root)
        gone = await p.call(users.delete, users.UserDeleteRequest(name="ann"), by=root)
        assert (gone.deleted, gone.tokens) == (True, 1)
        assert p.store.find(Token, SYSTEM, made.id) is None
        with pytest.raises(Unauthenticated):
            p.identity.authenticate(caller(made.secret))
        for again in (
            p.call(users.get, users.UserGetRequest(name="ann"), by=root),
            p.call(users.delete, users.UserDeleteRequest(name="ann"), by=root),
            p.call(users.update, users.UserUpdateRequest(name="ann"), by=root),
        ):
            with pytest.raises(NotFound, match="'ann' does not exist"):
                await again


async def test_the_last_root_is_neither_deleted_nor_made_less() -> None:
    async with plane() as p:
        root = await p.bootstrap()
        with pytest.raises(FailedPrecondition, match="would lose the last grant of everything"):
            await p.call(users.delete, users.UserDeleteRequest(name="root"), by=root)
        less = users.UserUpdateRequest(name="root", policies=["readonly"])
        with pytest.raises(FailedPrecondition, match="would lose the last grant of everything"):
            await p.call(users.update, less, by=root)
        await p.token(root, "ann")
        await p.call(admin.attach_grant, attach("admin", "ann"), by=root)
        assert (await p.call(users.delete, users.UserDeleteRequest(name="root"), by=root)).deleted


async def test_a_root_without_a_token_does_not_count_as_a_way_in() -> None:
    async with plane() as p:
        root = await p.bootstrap()
        await p.call(admin.create_user, admin.UserCreateRequest(name="ann", policies=["root"]), by=root)
        with pytest.raises(FailedPrecondition, match="last good token"):
            await p.call(users.delete, users.UserDeleteRequest(name="root"), by=root)


async def test_nobody_gives_a_user_more_than_they_have() -> None:
    async with plane() as p:
        root = await p.bootstrap()
        await p.grant(root, "helper", admin.PolicyRule(resource="admin", verbs=["*"]))
        helper = (await p.token(root, "helper", "helper")).secret
        await p.token(root, "ann")
        with pytest.raises(PermissionDenied, match="more rights than your own"):
            await p.call(users.update, users.UserUpdateRequest(name="ann", policies=["root"]), by=helper)
