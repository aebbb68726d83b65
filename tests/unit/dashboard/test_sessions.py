"""Sessions end when they should, and hold on to nothing they should not."""

from __future__ import annotations

from itertools import count

from rune.core.clock import ManualClock
from rune.dashboard.sessions import CODE_SECONDS, IDLE, LONGEST, MOST, MOST_EACH, Sessions, Tokens

NUMBERS = count()


def tokens() -> Tokens:
    """Of another session each time."""
    return Tokens("secret-access", f"session-{next(NUMBERS)}.secret-family.secret-part", 0.0)


def test_a_cookie_leads_to_its_session_and_another_text_to_none() -> None:
    sessions = Sessions(ManualClock())
    session = sessions.find(sessions.begin(tokens(), "ann"))
    assert session
    assert session.name == "ann"
    assert sessions.find("x") is None
    assert sessions.find("") is None


def test_no_repr_shows_a_token_or_a_cookie() -> None:
    sessions = Sessions(ManualClock())
    cookie = sessions.begin(tokens(), "ann")
    session = sessions.find(cookie)
    assert "secret-" not in repr(session)
    assert cookie not in repr(vars(sessions))


def test_a_session_ends_when_nobody_uses_it() -> None:
    clock = ManualClock()
    sessions = Sessions(clock)
    cookie = sessions.begin(tokens(), "ann")
    clock.advance(IDLE - 1)
    assert sessions.find(cookie)
    clock.advance(IDLE + 1)
    assert sessions.find(cookie) is None


def test_a_session_ends_however_busy_it_is() -> None:
    clock = ManualClock()
    sessions = Sessions(clock)
    cookie = sessions.begin(tokens(), "ann")
    session = sessions.find(cookie)
    assert session
    for _ in range(int(LONGEST // 3600)):
        clock.advance(3600)
        assert not sessions.is_over(session)
    clock.advance(1)
    assert sessions.is_over(session)
    assert sessions.find(cookie) is None


def test_logging_out_ends_it_for_every_open_page() -> None:
    sessions = Sessions(ManualClock())
    cookie = sessions.begin(tokens(), "ann")
    session = sessions.find(cookie)
    assert session
    sessions.end(session)
    sessions.end(session)
    assert session.ended.is_set()
    assert sessions.find(cookie) is None


def test_who_begins_too_many_ends_their_own() -> None:
    sessions = Sessions(ManualClock())
    other = sessions.begin(tokens(), "bob")
    cookies = [sessions.begin(tokens(), "ann") for _ in range(MOST_EACH + 1)]
    assert len(sessions) == MOST_EACH + 1
    assert sessions.find(other)
    assert sessions.find(cookies[0]) is None


def test_there_are_only_so_many_and_the_oldest_goes() -> None:
    sessions = Sessions(ManualClock())
    cookies = [sessions.begin(tokens(), f"user-{number}") for number in range(MOST + 1)]
    assert len(sessions) == MOST
    assert sessions.find(cookies[0]) is None
    assert sessions.find(cookies[1])


def test_a_code_is_good_once_and_for_a_minute() -> None:
    clock = ManualClock()
    sessions = Sessions(clock)
    code = sessions.code("t")
    assert sessions.redeem(code) == "t"
    assert sessions.redeem(code) is None
    late = sessions.code("t")
    clock.advance(CODE_SECONDS)
    assert sessions.redeem(late) is None
