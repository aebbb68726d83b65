"""What a request can be made of to keep the reader busy, or to break it: refused, briefly and at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from rune.api import codec, wirejson
from rune.api.descriptors import proto_class
from rune.api.fields import Message
from rune.api.orchestrator.namespaces import CreateNamespaceRequest
from rune.api.orchestrator.sessions import LogInRequest
from rune.api.security.events import IngestEventsRequest
from rune.api.validate import MOST_VIOLATIONS
from rune.errors import InvalidArgument

MANY = 40_000
SECONDS = 5.0
"""Of the processor; what is refused here takes a small part of one."""


def refused(read: Callable[[type[Any], bytes], Message], model: type[Any], data: bytes) -> InvalidArgument:
    """The refusal, which took no time worth mentioning."""
    began = time.process_time()
    with pytest.raises(InvalidArgument) as refusal:
        read(model, data)
    assert time.process_time() - began < SECONDS
    return refusal.value


def test_the_one_name_that_comes_twice_is_found_among_very_many() -> None:
    names = ",".join(f'"{number:x}":0' for number in range(MANY))
    failure = refused(wirejson.decode, LogInRequest, f'{{{names},"{MANY - 1:x}":0}}'.encode())
    assert [each.field for each in failure.details] == [f"{MANY - 1:x}"]


def test_of_very_many_unknown_names_some_are_told() -> None:
    names = ",".join(f'"{number:x}":0' for number in range(MANY))
    failure = refused(wirejson.decode, LogInRequest, f"{{{names}}}".encode())
    assert len(failure.details) == MOST_VIOLATIONS


def test_an_unknown_name_without_end_is_not_repeated_whole() -> None:
    failure = refused(wirejson.decode, LogInRequest, b'{"%b":0}' % (b"x" * 100_000))
    assert len(failure.message) < 1000


def test_of_very_many_unknown_fields_some_are_told() -> None:
    failure = refused(codec.decode, LogInRequest, b"\xf8\x01\x00" * MANY)
    assert len(failure.details) == MOST_VIOLATIONS


def test_of_very_many_items_that_are_none_some_are_told() -> None:
    failure = refused(wirejson.decode, IngestEventsRequest, b'{"events":[%b0]}' % (b"{},0," * MANY))
    assert len(failure.details) == MOST_VIOLATIONS


@pytest.mark.parametrize("seconds", [1 << 62, -(1 << 62), 253_402_300_800, -62_135_596_801])
def test_a_moment_that_no_calendar_has_is_refused_by_name(seconds: int) -> None:
    request: Any = proto_class(CreateNamespaceRequest)()
    request.namespace.created_at = seconds
    failure = refused(codec.decode, CreateNamespaceRequest, request.SerializeToString())
    assert [each.field for each in failure.details] == ["created_at"]
