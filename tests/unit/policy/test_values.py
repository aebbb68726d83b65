"""Arguments become plain JSON."""

from __future__ import annotations

import datetime as dt
from collections import UserDict, deque
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rune.policy.values import Opaque, as_text, keys, leaves, plain_arguments, texts, values_at


@dataclass
class Mail:
    """A value that is not JSON."""

    to: str
    body: str


class Order(msgspec.Struct):
    """A value that is not JSON."""

    amount: int


class Colour(Enum):
    """A value that is not JSON."""

    RED = "red"


class Word(StrEnum):
    """A value that is not JSON."""

    YES = "yes"


class Shout(str):
    """A value that is not JSON."""

    __slots__ = ()

    def __str__(self) -> str:
        return "harmless"


class Model:
    """A value that is not JSON."""

    model_fields = {"a": None, "b": None}

    def __init__(self) -> None:
        self.a = 1


class Attrs:
    """A value that is not JSON."""

    class _Field:
        name = "x"

    __attrs_attrs__ = (_Field(),)
    x = "value"


@pytest.mark.parametrize(
    "value, plain",
    [
        (Mail("a", "b"), {"to": "a", "body": "b"}),
        (Order(3), {"amount": 3}),
        (Colour.RED, "red"),
        (Word.YES, "yes"),
        (Shout("rm -rf"), "rm -rf"),
        (Model(), {"a": 1}),
        (Attrs(), {"x": "value"}),
        (Path("/etc"), "/etc"),
        (b"\xff", "\ufffd"),
        (dt.date(2026, 1, 2), "2026-01-02"),
        (Decimal("1.5"), "1.5"),
        (UUID(int=0), "00000000-0000-0000-0000-000000000000"),
        ((1, {2}), [1, [2]]),
        (UserDict({"a": (1,)}), {"a": [1]}),
        ({1: 2}, {"1": 2}),
        (bytearray(b"x"), "x"),
    ],
)
def test_values_become_json(value: object, plain: object) -> None:
    assert plain_arguments({"v": value, "list": []})["v"] == plain
    assert type(plain_arguments({"v": value, "list": []})["v"]) is type(plain)


@pytest.mark.parametrize("value", [object(), print, 1j, int])
def test_what_cannot_become_json_is_opaque_and_named(value: object) -> None:
    found = plain_arguments({"v": value})["v"]
    assert isinstance(found, Opaque)
    assert found.reason.startswith("a ")


def test_arguments_that_are_json_already_are_not_copied() -> None:
    arguments = {"a": "x", "b": 1, "c": None}
    assert plain_arguments(arguments) is arguments


def test_depth_and_number_of_values_are_bounded() -> None:
    deep: Any = "x"
    for _ in range(100):
        deep = [deep]
    assert any(isinstance(leaf.value, Opaque) for leaf in leaves(plain_arguments({"v": deep})))
    for many in ([0] * 100_000, {str(n): 0 for n in range(100_000)}):
        assert len(list(leaves(plain_arguments({"v": many})))) <= 20_001


def test_leaves_know_the_last_name_on_the_way() -> None:
    found = list(leaves({"a": [{"b": 1}, 2], "c": {}}))
    assert [(leaf.name, leaf.value) for leaf in found] == [("b", 1), ("a", 2)]
    assert list(keys({"a": [{"b": 1}], "c": {}})) == ["a", "c", "b"]


def test_a_path_is_a_key_and_a_way() -> None:
    assert values_at({"a": {"b": 1}, "a.b": 2}, "a.b") == [2, 1]
    assert values_at({"a": 1}, "a") == [1]
    assert values_at({"a": 1}, "a.b") == []


def test_text_of_a_leaf() -> None:
    assert [as_text(v) for v in ("x", True, 1, None, Opaque("?"))] == ["x", "true", "1", "null", None]


nested = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=4)
    | st.binary(max_size=4)
    | st.just(object()),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
)


@given(nested)
def test_texts_are_the_leaves_that_are_text(value: object) -> None:
    plain = plain_arguments(value)
    told = [leaf.value for leaf in leaves(plain) if isinstance(leaf.value, str)]
    assert [text for text in texts(plain) if text not in set(keys(plain))] == [
        text for text in told if text not in set(keys(plain))
    ]


@pytest.mark.parametrize(
    "text",
    [
        '{"path": "/etc", "x": NaN}',
        '{"path": "/etc", "x": "\\ud800"}',
        '{"path": "/etc", "x": 1e999}',
        '{"path": "/etc", "x": "a\nb"}',
        '{"path": "/etc"}'.encode("utf-16"),
        b'\xef\xbb\xbf{"path": "/etc"}',
    ],
)
def test_json_that_only_pythons_own_reader_takes_is_read_as_the_tool_will_read_it(text: str | bytes) -> None:
    assert plain_arguments(text)["path"] == "/etc"


def test_no_text_hides_deep_inside_behind_many_values_or_in_a_name() -> None:
    deep: Any = "deep"
    for _ in range(5_000):
        deep = {"a": [deep]}
    assert texts([deep, [1] * 100_000, "late"]) == ["deep", "late"]
    assert texts({"an order in a name": 1, "plain_name": 2}) == ["an order in a name"]
    assert texts([deque(["a"]), {"k": "b"}.values(), b"c", Mail("d", "e")]) == ["a", "b", "c", "d", "e"]


def test_what_holds_itself_is_read_once() -> None:
    ring: list[Any] = ["a"]
    ring += [ring, {"again": ring}]
    bomb: Any = ["b"]
    for _ in range(60):
        bomb = [bomb, bomb]
    assert texts([ring, bomb]) == ["a", "b"]


def test_a_number_of_thousands_of_digits_cannot_be_judged() -> None:
    assert as_text(10**5_000) is None
