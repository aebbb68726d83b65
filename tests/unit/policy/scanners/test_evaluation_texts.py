"""The harmless sets of our own that only measure: many, the same each time, not trained on."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[4]
sys.path.insert(0, str(ROOT / "benchmarks"))
texts: Any = importlib.import_module("scans.texts")  # of the benchmarks, which are no package


@pytest.mark.parametrize("name", ["quoting", "roles"])
def test_a_set_has_two_hundred_different_texts_and_is_the_same_each_time(name: str) -> None:
    rows = texts.own(name)
    assert len({row["text"] for row in rows}) >= 200
    assert rows == texts.own(name)
    assert not any(row["attack"] for row in rows)


def test_nothing_that_measures_stands_in_the_training() -> None:
    trained = {
        line
        for path in (ROOT / "training" / "corpus").glob("*.txt")
        for line in path.read_text("utf-8").splitlines()
    }
    for name in texts.OWN:
        lines = (ROOT / "training" / "evaluation" / f"{name}.txt").read_text("utf-8").splitlines()
        sentences = {line for line in lines if line and not line.startswith(("#", "=="))}
        assert sentences.isdisjoint(trained)
