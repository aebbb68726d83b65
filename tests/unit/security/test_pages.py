"""Cursors are opaque, and good for one list of one organization."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rune.api import Operation, by_name
from rune.core.access import Principal
from rune.core.call import Call, Caller
from rune.errors import InvalidArgument
from rune.security.pages import Cursors

CURSORS = Cursors("ab" * 32)
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)


def call(organization: str = "red", operation: str = "list_agents") -> Call:
    row: Operation[Any, Any] = by_name(operation)
    principal = Principal(id="k", name="k", organization=organization)
    return Call(operation=row, caller=Caller(edge="http", request_id="r"), principal=principal)


@given(names=st.sets(NAMES, max_size=40), limit=st.integers(1, 7))
def test_pages_give_every_item_once_and_in_order(names: set[str], limit: int) -> None:
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        part, cursor = CURSORS.page(call(), names, str, limit=limit, cursor=cursor)
        assert len(part) <= limit
        seen += part
    assert seen == sorted(names)


@given(position=NAMES)
def test_a_cursor_is_refused_elsewhere(position: str) -> None:
    made = CURSORS.made(call(), position)
    assert CURSORS.read(call(), made) == position
    others = (call("blue"), call(operation="list_alerts"))
    for other in others:
        with pytest.raises(InvalidArgument, match="is not one that this list gave out"):
            CURSORS.read(other, made)
    with pytest.raises(InvalidArgument):
        Cursors("cd" * 32).read(call(), made)


@given(text=st.text(min_size=1, max_size=80))
def test_whatever_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="cursor"):
        CURSORS.read(call(), text)
