"""Spans and moments, as people write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rune.core.durations import moment, span

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "text, seconds",
    [("90s", 90), ("10m", 600), ("1h30m", 5400), ("7d", 604_800), ("250ms", 0.25), ("1.5h", 5400), ("0s", 0)],
)
def test_a_span_is_the_sum_of_its_parts(text: str, seconds: float) -> None:
    assert span(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "10", "m", "-5m", "10 m", "1y", "1h-5m", "٣m", "1e3s", "5m\n"])
def test_what_is_no_span_is_refused_with_the_way_to_write_it(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration: write it like 90s, 10m"):
        span(text)


def test_a_span_has_an_end() -> None:
    with pytest.raises(ValueError, match="longer than 100 years"):
        span("999999999d")


@pytest.mark.parametrize(
    "text, expected",
    [
        ("10m", NOW - timedelta(minutes=10)),
        ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T12:00:00.25+02:00", datetime(2026, 1, 31, 10, 0, 0, 250_000, tzinfo=UTC)),
    ],
)
def test_a_moment_is_a_time_or_how_long_ago(text: str, expected: datetime) -> None:
    assert moment(text, NOW) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "2026-01-31", "2026-01-31T12:00:00", "12:00", "20260131"])
def test_a_time_that_could_mean_several_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time: write it like 2026-01-31T12:00:00Z"):
        moment(text, NOW)


@given(st.text(max_size=50))
def test_any_text_is_a_moment_or_a_value_error(text: str) -> None:
    try:
        found = moment(text, NOW)
    except ValueError:
        return
    assert found.tzinfo is UTC
