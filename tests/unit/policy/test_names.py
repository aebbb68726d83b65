"""Globs and spellings."""

from __future__ import annotations

import fnmatch
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rune.policy.names import Names, folded


@pytest.mark.parametrize(
    "name", ["delete_file", "Delete-File", "ＤＥＬＥＴＥ", "dele\u200dte", " x ", "straße", ""]
)
def test_folding_twice_changes_nothing(name: str) -> None:
    assert folded(folded(name)) == folded(name)


@given(st.lists(st.text(alphabet="ab*?[]!-.", max_size=6), max_size=4), st.text(alphabet="ab-.!", max_size=6))
def test_globs_mean_what_fnmatch_says(globs: list[str], name: str) -> None:
    assert (name in Names(globs, exactly=True)) is any(fnmatch.fnmatchcase(name, glob) for glob in globs)


@given(st.text(max_size=12))
def test_every_name_is_in_a_set_of_itself_however_it_is_spelt(name: str) -> None:
    plain = "".join(c for c in name if c not in "*?[")
    assert folded(plain.upper()) in Names([plain.upper()], exactly=False)


def test_no_glob_is_slow() -> None:
    start = time.perf_counter()
    assert "a" * 5000 + "b" not in Names(["*a" * 100 + "*c"], exactly=True)
    assert time.perf_counter() - start < 0.5
