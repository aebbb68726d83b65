"""Tables fit where they are shown, whatever stands in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rune.cli.table import GAP, NARROWEST, clean, columns, cut, fitted, render

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
