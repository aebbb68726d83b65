"""Log-ins: what passwords, refresh tokens and codes are good for, and what ends a session."""

from __future__ import annotations

from datetime import timedelta

import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from planes import Plane, caller, outcomes, plane
from promises import promise
from rune.api.orchestrator import admin, auth, sessions, users
from rune.core.clock import ManualClock
from rune.core.passwords import Hashes, Password
from rune.core.sessions import Birth, Session, Terms, Verdict, begun, digest, judged, renewed
from rune.core.store.base import Put
from rune.core.tokens import SYSTEM
from rune.core.upkeep import tidy
from rune.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
)

WORD = "correct horse battery"


async def user(p: Plane, name: str = "ann", *, word: str = WORD) -> str:
    """A user with a password; returns the root token."""
    root = await p.bootstrap()
    await p.call(admin.create_user, admin.UserCreateRequest(name=name), by=root)
    await p.call(sessions.set_password, sessions.SetPasswordRequest(name=name, password=word), by=root)
    return root


async def log_in(p: Plane, name: str = "ann", word: str = WORD, **more: str) -> sessions.LogInResponse:
    """A log-in with a password."""
    return await p.call(sessions.log_in, sessions.LogInRequest(name=name, password=word), **more)


async def refresh(p: Plane, text: str) -> auth.RefreshResponse:
    """One trade."""
    return await p.call(auth.refresh, auth.RefreshRequest(refresh_token=text))


async def me(p: Plane, text: str) -> str:
    """Whom a token stands for."""
    return (await p.call(auth.whoami, auth.WhoAmIRequest(), by=text)).subject_name


@promise("login.password")
async def test_a_password_begins_a_session_whose_token_stands_for_the_user() -> None:
    async with plane() as p:
        await user(p)
        made = await log_in(p)
        assert await me(p, made.access_token) == "ann"
        assert made.session_id == made.access_token.partition(".")[0]


@promise("login.stored")
async def test_neither_password_nor_tokens_are_stored_or_printed() -> None:
    async with plane() as p:
        await user(p)
        made = await log_in(p)
        stored = p.store.get(Password, SYSTEM, "ann")
        session = p.store.get(Session, SYSTEM, made.session_id)
        assert stored.hash.startswith("$argon2id$")
        assert stored.hash not in repr(stored)
        kept = repr([getattr(session, name) for name in session.__struct_fields__])
        for secret in (*made.access_token.split(".")[1:], *made.refresh_token.split(".")[1:]):
            assert secret not in kept
        assert session.access not in repr(session)
        assert all(WORD not in str(record) for record in p.heard.records)
        assert made.access_token not in repr(made)


@pytest.mark.parametrize(("name", "word"), [("ann", "wrong horse battery"), ("nobody", WORD), ("ann", "")])
async def test_who_is_wrong_is_told_the_same_whatever_is_wrong(name: str, word: str) -> None:
    async with plane() as p:
        await user(p)
        with pytest.raises(Unauthenticated, match=r"^wrong user name or password$"):
            await log_in(p, name, word)


async def test_nobodys_password_is_hashed_as_somebodys_is(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    verify = PasswordHasher.verify

    def spy(self: PasswordHasher, stored: str, password: str) -> bool:
        checked.append(stored)
        return verify(self, stored, password)

    monkeypatch.setattr(PasswordHasher, "verify", spy)
    async with plane() as p:
        await user(p)
        assert await outcomes(log_in(p, "nobody"), log_in(p, "ann", "x")) == ["UNAUTHENTICATED"] * 2
        assert len(checked) == 2
        assert {stored.rpartition("$")[0].rpartition("$")[0] for stored in checked} == {
            "$argon2id$v=19$m=64,t=1,p=1"
        }


@promise("login.slowed")
async def test_even_the_right_password_is_not_heard_from_who_guessed_too_often() -> None:
    clock = ManualClock()
    async with plane(clock) as p:
        await user(p)
        for _ in range(20):
            with pytest.raises(Unauthenticated):
                await log_in(p, word="guess", address="10.0.0.9")
        with pytest.raises(ResourceExhausted) as refused:
            await log_in(p, address="10.0.0.9")
        assert (await log_in(p, address="10.0.0.8")).access_token
        clock.advance(refused.value.retry_after)
        assert (await log_in(p, address="10.0.0.9")).access_token


async def test_guesses_from_everywhere_at_one_user_are_slowed_and_a_right_one_costs_nothing() -> None:
    async with plane() as p:
        await user(p)
        for number in range(60):
            assert (await log_in(p, address=f"10.2.{number}.1")).access_token
        for number in range(60):
            with pytest.raises(Unauthenticated):
                await log_in(p, word="guess", address=f"10.1.{number}.1")
        with pytest.raises(ResourceExhausted):
            await log_in(p, address="10.3.0.1")


async def test_a_hash_of_weaker_parameters_is_made_anew_at_the_next_log_in() -> None:
    async with plane() as p:
        await user(p)
        old = PasswordHasher(time_cost=2, memory_cost=32, parallelism=1).hash(WORD)
        stored = p.store.get(Password, SYSTEM, "ann")
        await p.store.commit(Put(replace(stored, hash=old)))
        await log_in(p)
        assert "m=64,t=1,p=1" in p.store.get(Password, SYSTEM, "ann").hash
        assert (await log_in(p)).access_token


@pytest.mark.parametrize("word", ["short", "aaaaaaaaaaaaaaaa", "x" * 300, "annannannann"])
async def test_a_weak_password_is_refused_without_being_repeated(word: str) -> None:
    async with plane() as p:
        with pytest.raises(InvalidArgument) as refused:
            await user(p, word=word)
        assert word not in refused.value.message


async def test_a_new_password_ends_the_sessions_of_the_old_one_and_none_lets_nobody_in() -> None:
    async with plane() as p:
        root = await user(p)
        made = await log_in(p)
        ask = sessions.SetPasswordRequest(name="ann", password="another long secret")
        assert (await p.call(sessions.set_password, ask, by=root)).sessions == 1
        assert await outcomes(me(p, made.access_token), log_in(p)) == ["UNAUTHENTICATED"] * 2
        await p.call(sessions.set_password, sessions.SetPasswordRequest(name="ann"), by=root)
        with pytest.raises(Unauthenticated):
            await log_in(p, word="another long secret")


async def test_services_have_no_passwords_and_nobody_sets_that_of_who_may_do_more() -> None:
    async with plane() as p:
        root = await user(p)
        ask = auth.CreateTokenRequest(subject_name="robot", subject_type="service")
        await p.call(auth.create_token, ask, by=root)
        with pytest.raises(FailedPrecondition, match="tokens, not passwords"):
            await p.call(
                sessions.set_password, sessions.SetPasswordRequest(name="robot", password=WORD), by=root
            )
        rule = admin.PolicyRule(resource="admin", verbs=["*"])
        await p.grant(root, "desk", rule)
        desk = await p.token(root, "clerk", "desk")
        with pytest.raises(PermissionDenied, match="more rights than your own"):
            await p.call(
                sessions.set_password,
                sessions.SetPasswordRequest(name="root", password=WORD),
                by=desk.secret,
            )


@promise("session.rotates")
async def test_a_refresh_gives_new_tokens_and_the_old_access_token_ends_after_the_grace() -> None:
    clock = ManualClock()
    async with plane(clock) as p:
        await user(p)
        first = await log_in(p)
        second = await refresh(p, first.refresh_token)
        assert {second.access_token, second.refresh_token}.isdisjoint(
            (first.access_token, first.refresh_token)
        )
        assert await outcomes(me(p, first.access_token), me(p, second.access_token)) == ["ok", "ok"]
        clock.advance(30)
        assert await outcomes(me(p, first.access_token), me(p, second.access_token)) == [
            "UNAUTHENTICATED",
            "ok",
        ]


@promise("session.reuse")
async def test_an_old_refresh_token_ends_the_session_for_whoever_has_it() -> None:
    clock = ManualClock()
    async with plane(clock) as p:
        await user(p)
        stolen = await log_in(p)
        thief = await refresh(p, stolen.refresh_token)
        clock.advance(31)
        with pytest.raises(Unauthenticated, match="reuse detected; session revoked"):
            await refresh(p, stolen.refresh_token)
        assert (
            await outcomes(me(p, thief.access_token), refresh(p, thief.refresh_token))
            == ["UNAUTHENTICATED"] * 2
        )


async def test_however_often_a_thief_trades_the_first_token_is_still_known_as_stolen() -> None:
    clock = ManualClock()
    async with plane(clock) as p:
        await user(p)
        stolen = await log_in(p)
        text = stolen.refresh_token
        for _ in range(200):
            text = (await refresh(p, text)).refresh_token
        with pytest.raises(Unauthenticated, match="reuse detected"):
            await refresh(p, stolen.refresh_token)
        with pytest.raises(Unauthenticated):
            await refresh(p, text)


async def test_two_that_refresh_at_the_same_moment_get_the_same_and_both_go_on() -> None:
    async with plane() as p:
        await user(p)
        first = await log_in(p)
        one, two = await refresh(p, first.refresh_token), await refresh(p, first.refresh_token)
        assert one == two
        assert (await refresh(p, one.refresh_token)).access_token


async def test_a_stranger_who_knows_the_sessions_id_ends_nothing() -> None:
    async with plane() as p:
        await user(p)
        made = await log_in(p)
        family = made.refresh_token.split(".")[1]
        for text in (made.session_id, f"{made.session_id}.{'0' * 32}.{'0' * 64}", made.access_token, "", "."):
            with pytest.raises(Unauthenticated, match="invalid refresh token"):
                await refresh(p, text)
        assert await me(p, made.access_token) == "ann"
        assert family
        with pytest.raises(Unauthenticated):
            await me(p, made.refresh_token)


async def test_an_access_token_lasts_a_quarter_of_an_hour_and_a_session_thirty_days_after_its_last_use() -> (
    None
):
    clock = ManualClock()
    async with plane(clock) as p:
        await user(p)
        made = await log_in(p)
        clock.advance(900)
        with pytest.raises(Unauthenticated):
            await me(p, made.access_token)
        for _ in range(3):
            clock.advance(timedelta(days=29).total_seconds())
            made = await refresh(p, made.refresh_token)
        clock.advance(timedelta(days=30).total_seconds())
        with pytest.raises(Unauthenticated):
            await refresh(p, made.refresh_token)


@promise("session.ends")
@pytest.mark.parametrize("how", ["revoked", "logged out", "user deleted"])
async def test_what_ends_a_session_ends_its_streams_at_once(how: str) -> None:
    async with plane() as p:
        root = await user(p)
        made = await log_in(p)
        async with p.following():
            lost = p.identity.lost(p.identity.authenticate(caller(made.access_token)))
            match how:
                case "revoked":
                    await p.call(sessions.revoke, sessions.RevokeSessionRequest(id=made.session_id), by=root)
                case "logged out":
                    await p.call(sessions.log_out, sessions.LogOutRequest(), by=made.access_token)
                case _:
                    await p.call(users.delete, users.UserDeleteRequest(name="ann"), by=root)
            await lost.wait()
        assert not p.store.list(Session, SYSTEM)


async def test_a_stream_outlives_the_access_token_that_opened_it_as_long_as_its_session_goes_on() -> None:
    clock = ManualClock()
    async with plane(clock) as p:
        await user(p)
        made = await log_in(p)
        async with p.following():
            principal = p.identity.authenticate(caller(made.access_token))
            lost = p.identity.lost(principal)
            clock.advance(1000)
            later = await refresh(p, made.refresh_token)
            again = p.identity.lost(p.identity.authenticate(caller(later.access_token)))
            assert again is lost
            assert not lost.is_set()


async def test_a_session_of_a_token_ends_with_the_token() -> None:
    async with plane() as p:
        root = await p.bootstrap()
        made = await p.token(root, "ann")
        begun_ = await p.call(sessions.begin, sessions.BeginSessionRequest(), by=made.secret)
        child = await p.call(sessions.begin, sessions.BeginSessionRequest(), by=begun_.access_token)
        assert await me(p, child.access_token) == "ann"
        await p.call(auth.revoke_token, auth.RevokeTokenRequest(id=made.id), by=root)
        texts = (begun_.access_token, child.access_token)
        assert await outcomes(*(me(p, text) for text in texts)) == ["UNAUTHENTICATED"] * 2
        assert await outcomes(refresh(p, begun_.refresh_token)) == ["UNAUTHENTICATED"]
        await tidy(p.store, p.identity, p.clock)
        assert not p.store.list(Session, SYSTEM)


async def test_a_session_of_a_session_ends_with_it() -> None:
    async with plane() as p:
        await user(p)
        first = await log_in(p)
        child = await p.call(sessions.begin, sessions.BeginSessionRequest(), by=first.access_token)
        await p.call(sessions.log_out, sessions.LogOutRequest(), by=first.access_token)
        with pytest.raises(Unauthenticated):
            await me(p, child.access_token)


async def test_people_see_and_end_their_own_sessions_and_administrators_everybodys() -> None:
    async with plane() as p:
        root = await user(p)
        await log_in(p)
        mine = await log_in(p)
        bob = await p.token(root, "bob")
        own = await p.call(sessions.list_, sessions.ListSessionsRequest(), by=mine.access_token)
        assert [each.current for each in own.sessions].count(True) == 1
        assert {each.subject_name for each in own.sessions} == {"ann"}
        assert not (await p.call(sessions.list_, sessions.ListSessionsRequest(), by=bob.secret)).sessions
        everybody = sessions.ListSessionsRequest(everybody=True)
        assert len((await p.call(sessions.list_, everybody, by=root)).sessions) == 2
        with pytest.raises(PermissionDenied):
            await p.call(sessions.list_, everybody, by=bob.secret)
        with pytest.raises(NotFound):
            ask = sessions.RevokeSessionRequest(id=mine.session_id)
            await p.call(sessions.revoke, ask, by=bob.secret)


async def test_whoever_logs_in_too_often_ends_their_own_oldest_session() -> None:
    clock = ManualClock()
    async with plane(clock) as p:
        await user(p)
        first = await log_in(p)
        for _ in range(50):
            clock.advance(1)
            await log_in(p)
        assert len(p.store.list(Session, SYSTEM)) == 50
        with pytest.raises(Unauthenticated):
            await me(p, first.access_token)


async def test_an_enrollment_code_is_good_once_and_for_its_time() -> None:
    clock = ManualClock()
    async with plane(clock) as p:
        root = await p.bootstrap()
        ask = auth.EnrollRequest(subject_name="robot", subject_type="service", policies=["readwrite"])
        made = await p.call(auth.enroll, ask, by=root)
        redeem = auth.RedeemEnrollmentRequest(code=made.code)
        found = await p.call(auth.redeem_enrollment, redeem)
        assert await me(p, found.access_token) == "robot"
        late = await p.call(auth.enroll, auth.EnrollRequest(subject_name="robot", ttl_seconds=60), by=root)
        clock.advance(60)
        for code in (made.code, late.code, "x.y", ""):
            with pytest.raises(Unauthenticated, match="wrong, used or too old"):
                await p.call(auth.redeem_enrollment, auth.RedeemEnrollmentRequest(code=code))


async def test_one_code_of_many_that_are_redeemed_at_once_begins_one_session() -> None:
    async with plane() as p:
        root = await p.bootstrap()
        made = await p.call(auth.enroll, auth.EnrollRequest(subject_name="robot"), by=root)
        redeem = auth.RedeemEnrollmentRequest(code=made.code)
        ends = await outcomes(*(p.call(auth.redeem_enrollment, redeem) for _ in range(5)))
        assert sorted(ends) == ["UNAUTHENTICATED"] * 4 + ["ok"]


async def test_a_browsers_session_ends_after_two_idle_hours_and_twelve_in_any_case() -> None:
    clock, terms = ManualClock(), Terms()
    subject = admin.Subject(id="1", name="ann")
    pair = begun(subject, Birth(way="password", edge="dashboard"), clock.now(), terms=terms)
    clock.advance(7201)
    assert not pair.session.is_good(clock.now())
    pair = begun(subject, Birth(way="password", edge="dashboard"), clock.now(), terms=terms)
    for _ in range(11):
        clock.advance(3600)
        pair = renewed(pair.session, pair.refresh, clock.now(), terms=terms)
    clock.advance(3600)
    assert not pair.session.is_good(clock.now())


@given(st.text(max_size=200))
def test_no_text_but_a_refresh_token_is_one(text: str) -> None:
    clock = ManualClock()
    pair = begun(admin.Subject(id="1", name="ann"), Birth(way="password"), clock.now(), terms=Terms())
    assert judged(pair.session, text, clock.now(), terms=Terms()) is Verdict.STRANGE
    assert digest(text) != pair.session.access


async def test_hashing_takes_turns_and_a_flood_is_refused() -> None:
    hashes = Hashes(PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
    ends = await outcomes(*(hashes.check("", "x") for _ in range(100)))
    assert ends.count("RESOURCE_EXHAUSTED") >= 60
    assert "ok" in ends
