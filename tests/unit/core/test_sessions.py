"""Sessions: how long they last, and which texts are their tokens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rune.api.orchestrator import admin
from rune.core.clock import ManualClock
from rune.core.sessions import Birth, Terms, Verdict, begun, digest, judged, renewed


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
