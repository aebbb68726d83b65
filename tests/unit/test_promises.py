"""Every promise has a test, every mark names a promise, every test of the surface keeps one."""

from __future__ import annotations

import ast
import functools
from collections import Counter
from pathlib import Path

import pytest

from promises import PLANNED, PROMISES

TESTS = Path(__file__).parents[1]
EVERY = [*PROMISES, *(promise for promises in PLANNED.values() for promise in promises)]
PLANNED_IDS = {promise.id: feature for feature, promises in PLANNED.items() for promise in promises}


OF_THE_SURFACE = ("contract", "surface")
"""Folders whose every test holds Rune to something that somebody may rely on."""


def is_mark(node: ast.AST) -> bool:
    """It is `promise(…)`."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "promise"


def unbound(source: str) -> list[str]:
    """The tests of a module that hold Rune to no promise, by their own marks or by the module's."""
    module = ast.parse(source)
    shared = [node for node in module.body if isinstance(node, ast.Assign) and is_pytestmark(node)]
    if any(is_mark(node) for mark in shared for node in ast.walk(mark)):
        return []
    return [
        test.name
        for test in ast.walk(module)
        if isinstance(test, ast.FunctionDef | ast.AsyncFunctionDef)
        and test.name.startswith("test_")
        and not any(is_mark(node) for mark in test.decorator_list for node in ast.walk(mark))
    ]


def is_pytestmark(node: ast.Assign) -> bool:
    """It marks every test of its module."""
    return any(isinstance(target, ast.Name) and target.id == "pytestmark" for target in node.targets)


def marks(source: str) -> set[str]:
    """The ids given to `promise(…)` in a module; read, not run, so that a selection of tests sees all."""
    return {
        ast.literal_eval(argument)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and is_mark(node)
        for argument in node.args
    }


@functools.cache
def marked() -> dict[str, str]:
    """Every mark, and a module that has it; every worker imports this, and one of them wants to know."""
    return {
        mark: path.relative_to(TESTS).as_posix()
        for path in sorted(TESTS.rglob("test_*.py"))
        for mark in marks(path.read_text(encoding="utf-8"))
    }


def test_marks_are_found_on_functions_and_in_parameters() -> None:
    source = "@promise('a', 'b')\ndef test_x(): ...\nCASES = [pytest.param(1, marks=promise('c'))]"
    assert marks(source) == {"a", "b", "c"}


def test_a_test_without_a_promise_is_found_unless_its_module_has_one() -> None:
    tests = "@promise('a')\ndef test_x(): ...\n@other\nasync def test_y(): ...\ndef helps(): ..."
    assert unbound(tests) == ["test_y"]
    assert unbound(f"pytestmark = [pytest.mark.system, promise('b')]\n{tests}") == []


@pytest.mark.parametrize("folder", OF_THE_SURFACE)
def test_every_test_of_the_surface_holds_rune_to_a_promise(folder: str) -> None:
    found = {
        path.relative_to(TESTS).as_posix(): missing
        for path in sorted((TESTS / folder).rglob("test_*.py"))
        if (missing := unbound(path.read_text(encoding="utf-8")))
    }
    assert not found, "mark these with the promise they keep (tests/promises.py), or make one"


def test_each_of_the_weak_spots_is_a_promise() -> None:
    numbers = [promise.id for promise in PROMISES if promise.id.startswith("weak-spot.")]
    assert numbers == [f"weak-spot.{number:02}" for number in range(1, 27)]


def test_every_promise_has_a_test() -> None:
    assert not {promise.id for promise in PROMISES} - marked().keys()


def test_every_mark_names_a_promise() -> None:
    assert not marked().keys() - {promise.id for promise in PROMISES} - PLANNED_IDS.keys()


def test_what_has_a_test_is_no_longer_planned() -> None:
    early = {mark: PLANNED_IDS[mark] for mark in PLANNED_IDS.keys() & marked().keys()}
    assert not early, "move these from PLANNED to PROMISES"


def test_every_promise_is_made_once() -> None:
    made: Counter[str] = Counter(promise.id for promise in EVERY)
    assert not [name for name, times in made.items() if times > 1]


def test_every_promise_is_a_sentence_with_a_source() -> None:
    everything = [*PROMISES, *(promise for promises in PLANNED.values() for promise in promises)]
    assert not [
        promise.id for promise in everything if not (promise.sentence.endswith(".") and promise.source)
    ]
