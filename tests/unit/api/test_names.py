"""Names end where they end: a line break is no part of one, and no key leaves its folder."""

from __future__ import annotations

import msgspec
import pytest

from promises import promise
from rune.api import OPERATIONS, proto
from rune.api.fields import Message, Name
from rune.api.orchestrator.configmaps import ConfigKey
from rune.api.schemas import metas
from rune.api.shape import fields

PATTERNS = sorted(
    {
        meta.pattern
        for model in proto.models(OPERATIONS)
        if issubclass(model, Message)
        for field in fields(model)
        for meta in metas(field.hint)
        if meta.pattern
    }
)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_no_pattern_lets_a_line_break_through_at_the_end(pattern: str) -> None:
    assert pattern.endswith(r"$(?!\n)")


@promise("crud.names")
@pytest.mark.parametrize("name", ["api\n", "", "-a", "A", "a" * 64, "a/b", "ä"])
def test_what_is_no_label_is_no_name(name: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(name, Name)


@pytest.mark.parametrize("key", [".", "..", "a/b", "", "a\n"])
def test_a_key_is_the_name_of_a_file(key: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(key, ConfigKey)
