"""Amounts of CPU and memory: what they mean, and how a wrong one is refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rune.api.orchestrator.specs import ResourceLimit, Resources
from rune.orchestrator.quantities import cores, limits, size, violations
from rune.orchestrator.runners.base import Limits


@pytest.mark.parametrize(("text", "amount"), [("250m", 0.25), ("1m", 0.001), ("0.5", 0.5), ("2", 2.0)])
def test_cpu_is_given_in_cores_or_thousandths(text: str, amount: float) -> None:
    assert cores(text) == amount


@pytest.mark.parametrize(
    ("text", "amount"),
    [("64Mi", 64 << 20), ("1.5Gi", 3 << 29), ("1Ki", 1024), ("500M", 500_000_000), ("4096", 4096)],
)
def test_memory_is_given_in_bytes_or_their_multiples(text: str, amount: int) -> None:
    assert size(text) == amount


@pytest.mark.parametrize("text", ["", "m", "-1", "0", "0m", "1e3", "1.5.5", " 1", "100000", "٣", "1\n"])
def test_what_is_no_amount_of_cpu_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        cores(text)


@pytest.mark.parametrize("text", ["", "Mi", "-1Mi", "0", "2048Ti", "64 Mi", "0.1"])
def test_what_is_no_amount_of_memory_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        size(text)


@pytest.mark.parametrize("text", ["64MB", "1gi", "3x"])
def test_an_unknown_unit_is_named_together_with_those_that_there_are(text: str) -> None:
    with pytest.raises(ValueError, match=f"unknown unit '{re.sub(r'[0-9]', '', text)}'.*Mi"):
        size(text)


@given(st.integers(1, 10_000_000))
def test_thousandths_of_a_core_are_exact(thousandths: int) -> None:
    assert cores(f"{thousandths}m") == thousandths / 1000


def test_limits_are_what_the_spec_asks_for() -> None:
    asked = Resources(
        cpu=ResourceLimit(request="100m", limit="1"), memory=ResourceLimit(request="32Mi", limit="64Mi")
    )

    assert list(violations(asked)) == []
    assert limits(asked) == Limits(cpu=1.0, cpu_request=0.1, memory=64 << 20, memory_request=32 << 20)


def test_nothing_asked_for_is_no_limit() -> None:
    assert limits(None) == limits(Resources()) == limits(Resources(cpu=ResourceLimit())) == Limits()


def test_every_wrong_amount_is_named_by_its_field() -> None:
    asked = Resources(cpu=ResourceLimit(request="x", limit="1"), memory=ResourceLimit(limit="64MB"))

    assert [found.field for found in violations(asked)] == ["resources.cpu.request", "resources.memory.limit"]


def test_a_request_above_its_limit_is_refused() -> None:
    asked = Resources(memory=ResourceLimit(request="1Gi", limit="512Mi"))

    assert [str(found) for found in violations(asked)] == [
        "resources.memory.request: 1Gi cannot exceed the limit of 512Mi"
    ]
