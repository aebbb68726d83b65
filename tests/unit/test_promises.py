"""Every promise has a test, every mark names a promise, and what is planned is not yet claimed."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

from promises import PLANNED, PROMISES

TESTS = Path(__file__).parents[1]
EVERY = [*PROMISES, *(promise for promises in PLANNED.values() for promise in promises)]
PLANNED_IDS = {promise.id: feature for feature, promises in PLANNED.items() for promise in promises}


def marks(source: str) -> set[str]:
    """The ids given to `promise(…)` in a module; read, not run, so that a selection of tests sees all."""
    return {
        ast.literal_eval(argument)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "promise"
        for argument in node.args
    }


MARKED = {
    mark: path.relative_to(TESTS).as_posix()
    for path in sorted(TESTS.rglob("test_*.py"))
    for mark in marks(path.read_text(encoding="utf-8"))
}


def test_marks_are_found_on_functions_and_in_parameters() -> None:
    source = "@promise('a', 'b')\ndef test_x(): ...\nCASES = [pytest.param(1, marks=promise('c'))]"
    assert marks(source) == {"a", "b", "c"}


def test_every_promise_has_a_test() -> None:
    assert not {promise.id for promise in PROMISES} - MARKED.keys()


def test_every_mark_names_a_promise() -> None:
    assert not MARKED.keys() - {promise.id for promise in PROMISES} - PLANNED_IDS.keys()


def test_what_has_a_test_is_no_longer_planned() -> None:
    early = {mark: PLANNED_IDS[mark] for mark in PLANNED_IDS.keys() & MARKED.keys()}
    assert not early, "move these from PLANNED to PROMISES"


def test_every_promise_is_made_once() -> None:
    made: Counter[str] = Counter(promise.id for promise in EVERY)
    assert not [name for name, times in made.items() if times > 1]


def test_every_promise_is_a_sentence_with_a_source() -> None:
    everything = [*PROMISES, *(promise for promises in PLANNED.values() for promise in promises)]
    assert not [
        promise.id for promise in everything if not (promise.sentence.endswith(".") and promise.source)
    ]
