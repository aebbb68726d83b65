"""Features of a text: where they begin, that words alone decide them, and that words are told apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rune.policy.scanners.grams import HALF, grams
from rune.policy.scanners.tokens import LONGEST

WORDS = st.lists(st.text(min_size=1, max_size=LONGEST), min_size=1, max_size=30)


@given(WORDS)
def test_every_feature_has_a_token_and_a_number(words: list[str]) -> None:
    owner, number = grams(words)
    assert len(owner) == len(number)
    assert set(owner.tolist()) == set(range(len(words)))
    assert number.max() < 2 * HALF


@given(WORDS, WORDS)
def test_features_of_words_are_the_same_wherever_they_stand(before: list[str], words: list[str]) -> None:
    owner, number = grams([*before, *words])
    later = sorted(number[owner >= len(before)].tolist())
    assert later == sorted(grams(words)[1].tolist())


def test_the_order_of_words_matters() -> None:
    one, two = (set(grams(words)[1].tolist()) for words in (["a", "bc"], ["bc", "a"]))
    assert one != two
    assert len(one & two) == len(one) - 1


@pytest.mark.parametrize("word", ["a", "ab", "abc", "forget", "ignorance", "\n", "!!!", "\ud800", "あ"])
def test_a_word_has_one_number_of_its_own_and_one_for_each_piece(word: str) -> None:
    _, number = grams([word])
    pieces = sum(max(len(word) + 2 - size + 1, 0) for size in (3, 4, 5))
    assert (number < HALF).sum() == 1
    assert (number >= HALF).sum() == pieces


def test_ten_thousand_words_have_nearly_as_many_numbers() -> None:
    _, number = grams([f"w{at}x" for at in range(10_000)])
    singles = number[:10_000]
    assert len(np.unique(singles)) > 9_900


def test_no_words_have_no_features() -> None:
    owner, number = grams([])
    assert not len(owner)
    assert not len(number)
