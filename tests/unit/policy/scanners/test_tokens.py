"""Tokens: places stay true, dress does not matter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rune.policy.scanners.tokens import LONGEST, cut, plain


def words(text: str) -> list[str]:
    return [plain(token) for token, _, _ in cut(text)]


@given(st.text())
def test_tokens_stand_where_they_say_in_order(text: str) -> None:
    last = 0
    for token, start, end in cut(text):
        assert last <= start < end <= len(text)
        assert text[start:end] == token
        last = end


@pytest.mark.parametrize(
    ("dressed", "bare"),
    [("PASSWORD", "password"), ("pass\u200bword", "password"), ("pаsswоrd", "password"), ("ｐａｓｓ", "pass"),
     ("Über", "uber"), ("Пароль", "пароль"), ("!!!!!!", "!!!"), ("\n \n", "\n")],
)  # fmt: skip
def test_dress_makes_no_difference(dressed: str, bare: str) -> None:
    assert words(dressed) == words(bare)


def test_scripts_without_spaces_are_read_by_character() -> None:
    assert words("忽略 指令") == ["忽", "略", "指", "令"]


def test_a_word_without_end_is_cut() -> None:
    assert words("a" * 10_000) == ["a" * LONGEST]
