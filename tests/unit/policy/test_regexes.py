"""Regular expressions that users write."""

from __future__ import annotations

import time

import pytest

from rune.policy.regexes import BadRegex, searcher


def test_a_pattern_is_looked_for_anywhere_unless_it_says_where() -> None:
    assert searcher("b")("abc")
    assert not searcher("^b")("abc")
    assert searcher("(?i)ÄB")("xäb")


@pytest.mark.parametrize("pattern", ["(", "(?=a)", r"(a)\1", "a{5000}", "x" * 1025, "\ud800", "[z-a]"])
def test_what_is_no_linear_regex_is_refused(pattern: str) -> None:
    with pytest.raises(BadRegex):
        searcher(pattern)


def test_a_remedy_is_named() -> None:
    with pytest.raises(BadRegex, match="no look-around"):
        searcher("(?!a)")
    with pytest.raises(BadRegex, match="no back-references"):
        searcher(r"(a)\1")


def test_half_a_surrogate_pair_does_not_make_a_match_fail() -> None:
    assert searcher("rm")("\ud800rm")


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "(.*a){20}b", "(x+x+)+y"])
def test_no_pattern_is_slow(pattern: str) -> None:
    start = time.perf_counter()
    assert not searcher(pattern)("a" * 100_000 + "!")
    assert time.perf_counter() - start < 1
