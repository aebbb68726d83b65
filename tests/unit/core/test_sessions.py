"""Sessions: how long they last, and which texts are their tokens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rune.api.orchestrator import admin
from rune.core.clock import ManualClock
from rune.core.sessions import Birth, Terms, Verdict, begun, digest, given_again, judged, lasting, renewed


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


def test_a_browser_comes_back_with_what_stays_of_its_refresh_token_and_nobody_else_does() -> None:
    clock, terms = ManualClock(), Terms()
    subject = admin.Subject(id="1", name="ann")
    pair = begun(subject, Birth(way="password", edge="dashboard"), clock.now(), terms=terms)
    cookie = lasting(pair.refresh)
    clock.advance(600)
    pair = renewed(pair.session, pair.refresh, clock.now(), terms=terms)
    assert lasting(pair.refresh) == cookie
    assert judged(pair.session, cookie, clock.now(), terms=terms, edge="dashboard") is Verdict.GOOD
    assert judged(pair.session, cookie, clock.now(), terms=terms, edge="http") is Verdict.REUSED
    assert judged(pair.session, f"{cookie}0", clock.now(), terms=terms, edge="dashboard") is Verdict.STRANGE
    other = begun(subject, Birth(way="password", edge="http"), clock.now(), terms=terms)
    shown = judged(other.session, lasting(other.refresh), clock.now(), terms=terms, edge="dashboard")
    assert shown is Verdict.REUSED
    clock.advance(7201)
    assert judged(pair.session, cookie, clock.now(), terms=terms, edge="dashboard") is Verdict.STRANGE


def test_what_the_store_holds_does_not_tell_the_tokens_of_a_browser_that_came_back() -> None:
    clock, terms = ManualClock(), Terms()
    first = begun(
        admin.Subject(id="1", name="ann"), Birth(way="password", edge="dashboard"), clock.now(), terms=terms
    )
    back = renewed(first.session, lasting(first.refresh), clock.now(), terms=terms)
    assert back.session.lets_in(back.access, clock.now(), terms.grace)
    assert judged(back.session, back.refresh, clock.now(), terms=terms) is Verdict.GOOD
    guessed = given_again(back.session, f"{back.session.id}..")
    assert not back.session.lets_in(guessed.access, clock.now(), terms.grace)
