"""What a stream holds back: nothing goes before what follows it was scanned, and all of it goes at last."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks import KEY
from rune import Shield, ShieldBlockedError
from rune.integrations.checkpoint import Checkpoint
from rune.integrations.held import HOLD, CallPart, CallWhole, End, Held, Part, Text, Whole, passing

SHIELD = Shield(events_enabled=False)
WORDS = "the weather is fine today and so are we "


def read(event: Part | tuple[Part, ...]) -> Iterable[Part]:
    """Here an event is what it tells."""
    return event if type(event) is tuple else (event,)  # pyright: ignore[reportReturnType] - parts are tuples too


def held(**more: Any) -> Held[Any]:
    return Held(Checkpoint(SHIELD, "test"), read, **more)


def pieces(text: str, sizes: list[int]) -> list[Text]:
    found: list[Text] = []
    while text:
        size = sizes[len(found) % len(sizes)]
        found.append(Text(("t",), text[:size]))
        text = text[size:]
    return found


SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=6)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 900), st.integers(0, 900), SIZES)
def test_however_a_text_is_cut_no_letter_of_a_key_slips_out(
    before: int, after: int, sizes: list[int]
) -> None:
    text = (WORDS * 30)[:before] + " " + KEY + " " + (WORDS * 30)[:after]
    seen: list[Text] = []
    with pytest.raises(ShieldBlockedError):
        seen.extend(passing(held(), iter(pieces(text, sizes))))
    assert len("".join(piece.text for piece in seen)) <= before + 1


@settings(max_examples=40, deadline=None)
@given(st.text(alphabet="abc de\n", max_size=1_500), SIZES)
def test_a_clean_stream_goes_whole_and_in_order(text: str, sizes: list[int]) -> None:
    events = pieces(text, sizes)
    assert list(passing(held(), iter(events))) == events


def test_what_is_held_is_bounded() -> None:
    keeper = held()
    let_go = 0
    for number, event in enumerate(pieces(WORDS * 100, [4])):
        if keeper.take(event):
            keeper.work()
        let_go += sum(len(each.text) for each in keeper.free())
        assert (number + 1) * 4 - let_go <= HOLD + 64 + 16


def test_a_long_key_is_held_from_its_first_letter() -> None:
    # A key of 1,500 letters is recognized by its end alone.
    token = "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0" * 50 + ".c2lnbmF0dXJlLXNpZ25hdHVyZS0xMjM0"
    seen: list[Text] = []
    with pytest.raises(ShieldBlockedError):
        seen.extend(passing(held(), iter(pieces(f"{WORDS} {token} end", [5]))))
    assert "eyJ" not in "".join(piece.text for piece in seen)


def test_a_call_is_held_until_it_is_whole_and_everything_after_it_too() -> None:
    keeper = held()
    parts = [
        CallPart(("c",), "search"),
        CallPart(("c",), arguments='{"q": '),
        Text(("t",), "hi"),
        End(("t",)),
    ]
    for part in parts:
        if keeper.take(part):
            keeper.work()
        assert not list(keeper.free())
    keeper.take(CallPart(("c",), arguments='"x"}'))
    assert keeper.take(End(("c",)))
    keeper.work()
    assert len(list(keeper.free())) == 6


def test_calls_that_run_side_by_side_are_told_apart() -> None:
    before = SHIELD.stats["decisions_total"]
    events: list[Any] = [
        CallPart(("c", 0), "one"), CallPart(("c", 1), "two"), CallPart(("c", 0), arguments="{}"),
        CallPart(("c", 1), arguments="{}"), End(("c", 1)), End(("c", 0)),
    ]  # fmt: skip
    assert list(passing(held(), iter(events))) == events
    assert SHIELD.stats["decisions_total"] == before + 2  # pyright: ignore[reportOperatorIssue] - a number


def test_a_call_that_is_told_twice_is_judged_once() -> None:
    before = SHIELD.stats["decisions_total"]
    call = CallWhole(("c",), "one", {}, "id-1")
    list(passing(held(), iter([call, call])))
    assert SHIELD.stats["decisions_total"] == before + 1  # pyright: ignore[reportOperatorIssue] - a number


LISTING = '{"command": "ls"}'


@pytest.mark.parametrize(
    "events",
    [
        [CallPart(("c",), "read", "{}", "one"), CallPart(("c",), "shell", LISTING, "two")],
        [CallPart(("c",), "read", "{}"), CallPart(("c",), "shell", LISTING)],
        [CallWhole(("c", 1), "read", "{}", "same"), CallWhole(("c", 2), "shell", LISTING, "same")],
    ],
    ids=["one channel, two ids", "one channel, two names", "one id"],
)
def test_a_call_does_not_hide_behind_another(tmp_path: Path, events: list[Part]) -> None:
    rule = "  - {name: no, type: tool_denylist, tools: [shell], action: block}\n"
    (tmp_path / "p.yaml").write_text(f'version: "1.0"\nrules:\n{rule}', encoding="utf-8")
    shield = Shield(events_enabled=False, local_policies_path=tmp_path)
    with pytest.raises(ShieldBlockedError):
        list(passing(Held(Checkpoint(shield, "test"), read), iter(events)))


def test_a_text_that_is_told_again_as_a_whole_is_not_scanned_again() -> None:
    events: list[Any] = [*pieces(WORDS * 10, [7]), End(("t",)), Whole(WORDS * 10), Whole(WORDS * 10)]
    before = SHIELD.stats["scans_total"]
    keeper = held()
    list(passing(keeper, iter(events[:-2])))
    scanned = SHIELD.stats["scans_total"]
    list(passing(keeper, iter(events[-2:])))
    assert SHIELD.stats["scans_total"] == scanned != before


def test_a_secret_that_is_told_only_as_a_whole_is_stopped() -> None:
    with pytest.raises(ShieldBlockedError):
        list(passing(held(), iter([Text(("t",), "hello"), End(("t",)), Whole(f"the key is {KEY}")])))


def test_channels_do_not_mix() -> None:
    half = len(KEY) // 2
    events: list[Any] = []
    for place in range(0, half, 4):
        events += [Text(("a",), KEY[place : place + 4]), Text(("b",), WORDS[place : place + 4])]
    assert list(passing(held(), iter(events))) == events


def test_a_source_that_is_left_or_stopped_is_closed() -> None:
    closed: list[bool] = []

    def source() -> Iterable[Text]:
        try:
            yield from pieces(WORDS * 100, [10])
        finally:
            closed.append(True)

    stream = passing(held(), iter(source()))
    next(stream)
    stream.close()
    assert closed == [True]


def test_arguments_without_end_are_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rune.integrations.held.MOST_HELD", 1_000)
    events = [CallPart(("c",), "write", "x" * 100) for _ in range(20)]
    with pytest.raises(ShieldBlockedError, match="more than 1000 characters"):
        list(passing(held(), iter([*events, End(())])))
