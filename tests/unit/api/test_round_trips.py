"""What goes over a wire comes back as it was, for every operation's request and answer."""

from __future__ import annotations

from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rune.api import OPERATIONS, codec, validate, wirejson
from rune.api.fields import Message
from rune.api.orchestrator import services
from rune.api.shape import Field, fields
from unit.api.strategies import messages

MODELS = sorted(
    {model for row in OPERATIONS for model in (row.request, row.response)}, key=lambda m: m.__name__
)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_message_comes_back_as_it_was_and_is_the_same_part_by_part(
    model: type[Message], data: st.DataObject
) -> None:
    message = data.draw(messages(model))
    assert codec.decode(model, codec.encode(message)) == message
    assert codec.read(model, codec.encode(message)) == message
    assert wirejson.decode(model, wirejson.encode(message)) == message
    assert wirejson.from_plain(model, snaked(message)) == wirejson.from_plain(
        model, wirejson.to_plain(message)
    )
    plain = msgspec.to_builtins(message)
    assert validate.assemble(model, plain) == validate.build(model, plain)


def snaked(message: Message) -> dict[str, Any]:
    """The message's plain data in the other spelling."""
    plain = wirejson.to_plain(message)
    return {item.wire: plain[item.json] for item in fields(type(message)) if item.json in plain}


SCALARS = (int, bool, float, str, bytes)
PRESENT = [
    (model, item)
    for model in MODELS
    for item in fields(model)
    if (item.presence or item.oneof) and item.python in (int, bool, float, bytes)
]


@pytest.mark.parametrize("model", [each for each in MODELS if ".security." not in each.__module__])
def test_a_scalar_that_is_absent_is_zero(model: type[Message]) -> None:
    defaults = {item.name: item.default for item in fields(model) if is_plain(item)}
    assert defaults == {item.name: item.python() for item in fields(model) if is_plain(item)}


def is_plain(item: Field) -> bool:
    """A scalar of the published contract: it has no presence, so its absence is a zero."""
    several = item.repeated or item.mapping or item.required
    return item.python in SCALARS and not (several or item.presence or item.oneof)


@pytest.mark.parametrize("model, item", PRESENT, ids=lambda each: getattr(each, "name", each))
@pytest.mark.parametrize("wire", [codec, wirejson], ids=["protobuf", "json"])
def test_a_zero_is_told_from_nothing_where_that_counts(
    model: type[Message], item: Field, wire: ModuleType
) -> None:
    for value in (item.python(), None):
        message = model(**{item.name: value})
        assert getattr(wire.decode(model, wire.encode(message)), item.name) == value


def test_a_service_that_is_scaled_to_zero_arrives_so() -> None:
    ask = services.ScaleServiceRequest(name="api", scale=0)
    assert codec.decode(services.ScaleServiceRequest, codec.encode(ask)).scale == 0
    assert wirejson.to_plain(ask)["scale"] == 0


def test_times_keep_their_microseconds() -> None:
    at = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=UTC)
    assert (
        wirejson.to_plain(services.ServiceMetadata(created_at=at))["createdAt"]
        == "2026-03-04T05:06:07.000089Z"
    )
