"""One's own password: changed by whoever knows the old one, and what ends with it."""

from __future__ import annotations

import pytest

from planes import Plane, outcomes, plane
from promises import promise
from rune.api.orchestrator import admin, auth, sessions
from rune.errors import FailedPrecondition, InvalidArgument, Unauthenticated

WORD = "correct horse battery"
NEW_WORD = "battery staple horse"


async def user(p: Plane) -> None:
    """Ann, with a password."""
    root = await p.bootstrap()
    await p.call(admin.create_user, admin.UserCreateRequest(name="ann"), by=root)
    await p.call(sessions.set_password, sessions.SetPasswordRequest(name="ann", password=WORD), by=root)


async def log_in(p: Plane, *, word: str = WORD) -> sessions.LogInResponse:
    """A session of ann's."""
    return await p.call(sessions.log_in, sessions.LogInRequest(name="ann", password=word))


async def me(p: Plane, text: str) -> str:
    """Whom a token stands for."""
    return (await p.call(auth.whoami, auth.WhoAmIRequest(), by=text)).subject_name


async def change(p: Plane, by: str, old: str = WORD, new: str = NEW_WORD) -> int:
    """Change one's own password; returns how many other sessions ended."""
    ask = sessions.ChangePasswordRequest(old_password=old, new_password=new)
    return (await p.call(sessions.change_password, ask, by=by)).sessions


@promise("login.own-password")
async def test_a_user_changes_the_own_password_and_only_the_session_that_asks_goes_on() -> None:
    async with plane() as p:
        await user(p)
        here, other = await log_in(p), await log_in(p)
        child = await p.call(sessions.begin, sessions.BeginSessionRequest(), by=here.access_token)
        assert await change(p, child.access_token) == 1
        assert await me(p, child.access_token) == await me(p, here.access_token) == "ann"
        with pytest.raises(Unauthenticated):
            await me(p, other.access_token)
        with pytest.raises(Unauthenticated):
            await log_in(p)
        assert (await log_in(p, word=NEW_WORD)).subject_name == "ann"


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [("wrong", NEW_WORD, "old_password"), (WORD, "short", "new_password"), (WORD, WORD, "new_password")],
)
async def test_a_password_is_not_changed_without_the_old_one_nor_to_a_weak_or_the_same_one(
    old: str, new: str, field: str
) -> None:
    async with plane() as p:
        await user(p)
        by = (await log_in(p)).access_token
        with pytest.raises(InvalidArgument) as failure:
            await change(p, by, old, new)
        assert [each.field for each in failure.value.details] == [field]
        assert (await log_in(p)).subject_name == "ann"


async def test_whoever_has_no_password_does_not_give_themselves_one() -> None:
    async with plane() as p:
        root = await p.bootstrap()
        with pytest.raises(FailedPrecondition, match="set-password"):
            await change(p, root)


async def test_guessing_the_old_password_is_slowed_like_a_log_in() -> None:
    async with plane() as p:
        await user(p)
        by = (await log_in(p)).access_token
        found = [(await outcomes(change(p, by, "wrong")))[0] for _ in range(80)]
        assert found[0] == "INVALID_ARGUMENT"
        assert found[-1] == "RESOURCE_EXHAUSTED"
