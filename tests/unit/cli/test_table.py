"""Tables fit where they are shown, whatever stands in them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rune.cli.table import GAP, NARROWEST, clean, coloured, columns, cut, fitted, render, roomy, safe

HEADERS = ["NAME", "STATUS", "MESSAGE"]
ROWS = [
    ["api", "Running", "a long message about something that happened a while ago on this machine"],
    ["日本語サービス", "失敗", "ポート 8080 は使用中です"],
    ["e\u0301te\u0301", "ok", "family: 👪"],
]


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_line_is_wider_than_the_terminal_and_columns_stand_under_each_other(width: int) -> None:
    lines = list(render(HEADERS, ROWS, width=width))
    assert all(columns(line) <= width for line in lines)
    start = columns(lines[0][: lines[0].index("STATUS")])
    for line, row in zip(lines[1:], ROWS, strict=True):
        before = line[: line.index(row[1])]
        assert columns(before) == start


def test_on_a_pipe_nothing_is_cut() -> None:
    assert ROWS[0][2] in list(render(HEADERS, ROWS, width=None))[1]


def test_what_a_terminal_would_obey_is_not_sent_to_it() -> None:
    assert clean("a\x1b[31mb\nc\x9bd") == "a [31mb c d"


def test_what_names_a_row_is_whole_as_long_as_the_other_columns_can_give() -> None:
    assert fitted([36, 40, 40], 60) == [36, 9, 9]
    assert fitted([36, 40, 40], 40) == [24, 5, 5]


def test_columns_without_room_for_a_word_are_left_out_from_the_right() -> None:
    assert roomy([36, 18, 30, 30], 80) == 3
    assert roomy([36, 18, 30, 30], None) == 4
    assert roomy([36, 8], 20) == 1


def test_a_text_of_several_lines_keeps_them_and_nothing_that_a_terminal_would_obey() -> None:
    assert safe("a\n\tb \x1b]0;title\x07\x9b2J\r\x00c") == "a\n\tb  ]0;title  2J  c"


def test_a_line_keeps_its_colours_ends_them_and_moves_no_cursor() -> None:
    assert coloured("ok \x1b[31;1mred\x1b[0m") == "ok \x1b[31;1mred\x1b[0m"
    assert coloured("\x1b[38:5:1mred") == "\x1b[38:5:1mred\x1b[0m"
    assert coloured("\x1b]52;c;eA==\x07a\rb\x1b[2J\x9b31m\x08\tc") == " ]52;c;eA== a b [2J 31m \tc"


@given(st.text(st.sampled_from("\x1b[]0;m31\x07\r\n\x9b\x9dé \t"), max_size=40))
def test_no_line_tells_a_terminal_more_than_colours(text: str) -> None:
    shown = re.sub(r"\x1b\[[0-9;:]*m", "", coloured(text))
    assert not re.search(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]", shown)


@given(st.lists(st.integers(1, 300), min_size=1, max_size=8), st.integers(10, 250))
def test_columns_give_only_what_they_must(sizes: list[int], width: int) -> None:
    found = fitted(sizes, width)
    assert all(have <= wanted for have, wanted in zip(found, sizes, strict=True))
    total = sum(found) + GAP * (len(found) - 1)
    assert total <= width or max(found) <= NARROWEST
    if sum(sizes) + GAP * (len(sizes) - 1) <= width:
        assert found == sizes


@given(st.text(max_size=30), st.integers(1, 30))
def test_a_cut_text_takes_no_more_columns_than_it_may(text: str, size: int) -> None:
    assert columns(cut(text, size)) <= size
