"""Limits: exactly so many, whatever the weights, the moments and the number of those who ask."""

from __future__ import annotations

import asyncio
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planes import turn
from rune.api.orchestrator import admin, watch
from rune.core.access import Principal
from rune.core.clock import ManualClock
from rune.core.limits import Bucket, Buckets, Limits, Quota
from rune.errors import ResourceExhausted

ANN, BOB = Principal(id="a", name="ann"), Principal(id="b", name="bob")


@pytest.mark.parametrize(
    "quota", [Quota(count=100), Quota(count=30), Quota(count=1000, seconds=1), Quota(count=7, seconds=3)]
)
@pytest.mark.parametrize("now", [0.0, 0.1, 86_400.123456789, 3e8])
def test_a_full_bucket_lets_exactly_its_count_through_at_once(quota: Quota, now: float) -> None:
    bucket = Bucket(quota, now)
    assert sum(bucket.take(now) == 0 for _ in range(3 * quota.count)) == quota.count


def test_a_bucket_fills_at_its_rate_and_no_further() -> None:
    bucket = Bucket(Quota(count=60, seconds=60, burst=5), 0.0)
    assert sum(bucket.take(0.0) == 0 for _ in range(10)) == 5
    assert sum(bucket.take(2.0) == 0 for _ in range(10)) == 2
    assert sum(bucket.take(1000.0) == 0 for _ in range(10)) == 5


def test_a_weight_is_taken_whole_or_not_at_all() -> None:
    bucket = Bucket(Quota(count=1000, seconds=1), 0.0)
    assert bucket.take(0.0, 600) == 0
    assert bucket.take(0.0, 600) == pytest.approx(0.2, abs=1e-5)
    assert bucket.take(0.0, 400) == 0
    assert math.isinf(bucket.take(0.0, 1001))


@given(
    st.builds(Quota, count=st.integers(1, 2000), seconds=st.integers(1, 3600), burst=st.integers(0, 50)),
    st.lists(st.tuples(st.integers(0, 10**10), st.integers(1, 40)), max_size=60),
)
def test_no_window_ever_holds_more_than_the_quota_allows(quota: Quota, steps: list[tuple[int, int]]) -> None:
    bucket, now, taken = Bucket(quota, 0.0), 0, Fraction(0)
    for step, weight in steps:
        now += step
        if bucket.take(now / 1e9, weight) == 0:
            taken += weight
        allowed = quota.full + Fraction((now + 1) * quota.count, quota.seconds * 10**9)
        assert taken <= allowed


@given(
    st.builds(Quota, count=st.integers(1, 2000), seconds=st.integers(1, 3600), burst=st.integers(0, 50)),
    st.lists(st.integers(1, 50), min_size=1, max_size=30),
)
def test_who_waits_as_long_as_told_is_let_through(quota: Quota, weights: list[int]) -> None:
    bucket, now = Bucket(quota, 0.0), 0.0
    for weight in weights:
        wait = bucket.take(now, weight)
        if math.isinf(wait):
            assert weight > quota.full
        elif wait:
            now += wait
            assert bucket.take(now, weight) == 0


def test_a_clock_that_steps_back_gives_nothing_away() -> None:
    bucket = Bucket(Quota(count=1), 100.0)
    assert bucket.take(100.0) == 0
    assert bucket.take(50.0) > 0
    assert bucket.take(100.0) == pytest.approx(60.0, abs=1e-4)


async def test_a_thousand_tasks_at_once_get_exactly_the_quota() -> None:
    limits = Limits(ManualClock(), {"control": Quota(count=100)})
    passed = 0

    async def one() -> None:
        nonlocal passed
        await turn()
        try:
            limits.take(admin.list_users, ANN)
        except ResourceExhausted:
            return
        passed += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(1000):
            group.create_task(one())
    assert passed == 100


async def test_batches_of_64_senders_get_all_of_the_quota_and_no_more_in_every_second() -> None:
    clock = ManualClock()
    buckets = Buckets(Quota(count=1_000, seconds=1), clock)
    sent: list[float] = []

    async def sender(size: int) -> None:
        for _ in range(400):
            if not buckets.take("acme", size):
                sent.extend([clock.monotonic()] * size)
            await turn()  # the next sender's

    async def time() -> None:
        for _ in range(400):
            clock.advance(0.01)
            await turn()

    async with asyncio.TaskGroup() as group:
        for number in range(64):
            group.create_task(sender(1 + number % 50))
        group.create_task(time())
    assert 0.99 * 5_000 <= len(sent) <= 5_000, "1,000 at once, and 1,000 in each of four seconds"
    assert all(sent[number + 2_000] - sent[number] >= 1.0 - 1e-9 for number in range(len(sent) - 2_000))


def test_each_principal_and_each_rate_class_has_a_bucket_of_its_own() -> None:
    limits = Limits(ManualClock(), {"control": Quota(count=1), "stream": Quota(count=1)})
    for principal in (ANN, BOB):
        for operation in (admin.list_users, watch.subscribe):
            limits.take(operation, principal)
            with pytest.raises(
                ResourceExhausted, match=r"limit for \w+ calls reached \(1 in 60 s\)"
            ) as failure:
                limits.take(operation, principal)
            assert failure.value.retry_after == pytest.approx(60, abs=1e-3)


def test_more_than_the_limit_ever_allows_is_said_as_such() -> None:
    limits = Limits(ManualClock(), {"control": Quota(count=10)})
    with pytest.raises(ResourceExhausted, match="11 at once is more than the limit"):
        limits.take(admin.list_users, ANN, weight=11)


def test_without_a_quota_nothing_is_counted() -> None:
    limits = Limits(ManualClock())
    for _ in range(1000):
        limits.take(admin.list_users, ANN)


def test_the_buckets_are_bounded_and_the_oldest_goes_first() -> None:
    buckets = Buckets(Quota(count=1), ManualClock(), most=3)
    for key in "abc":
        assert buckets.take(key) == 0
    assert buckets.take("a") > 0
    assert buckets.take("d") == 0
    assert len(buckets) == 3
    assert buckets.take("a") > 0
    assert buckets.take("b") == 0


@pytest.mark.parametrize("count, seconds, burst", [(0, 60, 0), (1, 0, 0), (1, 1, -1)])
def test_a_quota_that_counts_nothing_is_refused(count: int, seconds: int, burst: int) -> None:
    with pytest.raises(ValueError, match="counts at least 1"):
        Quota(count=count, seconds=seconds, burst=burst)
