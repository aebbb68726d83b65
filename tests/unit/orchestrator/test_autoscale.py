"""Autoscale: how many copies are enough, when they come and go, and who goes before it; in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promises import promise
from rune.api.orchestrator import services as api
from rune.api.orchestrator.autoscale import Autoscale, Autoscaling
from rune.api.orchestrator.scaling import ScalingMode
from rune.api.orchestrator.services import Service
from rune.api.orchestrator.specs import ProcessSpec, ResourceLimit, Resources, ServicePort
from rune.errors import InvalidArgument, Unavailable
from rune.orchestrator import autoscale
from rune.orchestrator.autoscale import Seen
from rune.orchestrator.reconcilers.autoscaling import PERIOD, Autoscaler
from rune.orchestrator.runners.base import Usage
from world import World, world

pytestmark = pytest.mark.looptime
WISH = Autoscale(min=1, max=10, target=50.0, cooldown=60)


class Work:
    """What there is to do, spread evenly over the copies; measured as a runner and the traffic do."""

    def __init__(self, here: World) -> None:
        self.here = here
        self.cores = 0.0
        self.connections = 0
        self.rate = 0.0
        self.is_away = False
        self._used: dict[str, float] = {}
        self._passed = 0.0
        self._scaler = Autoscaler(here.store, {"process": self}, clock=here.clock, traffic=self)
        self._loop: asyncio.Task[object] | None = None

    async def cast(self, **fields: object) -> None:
        """Create the service; the autoscaler begins in the test's own time, which a fixture has not yet."""
        self._loop = asyncio.ensure_future(self._scaler.run())
        await self.here.cast("api", **fields)

    async def end(self) -> None:
        """The autoscaler ends; raises what it raised."""
        if self._loop:
            self._loop.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loop

    def _share(self) -> float:
        return 1 / max(len([copy for copy in self.here.copies("api") if copy.ready]), 1)

    async def usage(self, instance: str) -> Usage:
        if self.is_away:
            raise Unavailable("away")
        used = self._used.get(instance, 0.0) + self.cores * self._share() * PERIOD
        self._used[instance] = used
        return Usage(instance=instance, at=self.here.clock.now(), cpu_seconds=used, memory=1)

    def load(self, instance: str) -> tuple[int, int]:
        passed = self.rate * self._share() * self.here.clock.monotonic()
        return round(self.connections * self._share()), int(passed)


@pytest.fixture
async def here() -> AsyncIterator[World]:
    async with world() as made:
        yield made


@pytest.fixture
async def work(here: World) -> AsyncIterator[Work]:
    work = Work(here)
    yield work
    await work.end()


def scale_of(here: World) -> int:
    return here.service("api").scale


def told(here: World) -> Autoscaling:
    return here.service("api").autoscaling or Autoscaling()


async def until(here: World, true: Callable[[], bool]) -> float:
    """Wait for it; returns after how many seconds it came."""
    begin = here.clock.monotonic()
    await here.until(true)
    return here.clock.monotonic() - begin


@promise("autoscale.cpu")
async def test_more_work_brings_more_copies_at_once_and_less_work_fewer_after_a_cooldown(
    here: World, work: Work
) -> None:
    await work.cast(autoscale=WISH)
    work.cores = 2.0
    assert await until(here, lambda: scale_of(here) == 4) < 5 * PERIOD
    assert told(here).reason == "ScaledUp"
    assert told(here).message.endswith("4 copies would be enough; scaled from 1 to 4")
    work.cores = 0.5
    assert 60 <= await until(here, lambda: scale_of(here) == 1) < 60 + 5 * PERIOD
    assert told(here).reason == "ScaledDown"


async def test_a_short_peak_is_answered_and_its_copies_stay_for_a_cooldown(here: World, work: Work) -> None:
    await work.cast(autoscale=WISH)
    work.cores = 1.5
    await here.until(lambda: scale_of(here) == 3)
    work.cores = 0.2
    await here.until(lambda: told(here).reason == "CoolingDown")
    assert scale_of(here) == 3
    work.cores = 1.5
    await asyncio.sleep(300)  # noqa: TID251 - virtual: nothing happens meanwhile, which is the point
    assert scale_of(here) == 3


async def test_no_copies_come_past_the_most_and_the_status_says_so(here: World, work: Work) -> None:
    await work.cast(autoscale=Autoscale(max=2, target=10.0))
    work.cores = 9.0
    await here.until(lambda: told(here).reason == "AtMax")
    assert scale_of(here) == 2


async def test_steps_bound_how_much_comes_and_goes_at_a_time(here: World, work: Work) -> None:
    await work.cast(autoscale=Autoscale(max=10, target=50.0, step=1, cooldown=30))
    work.cores = 1.5
    scales: list[int] = []
    await here.until(lambda: bool(scales.append(scale_of(here)) or scales[-1] == 3))
    assert sorted(set(scales)) == [1, 2, 3]


@pytest.mark.parametrize(
    "metric, field, value", [("connections", "connections", 100), ("requests", "rate", 100.0)]
)
async def test_connections_and_requests_are_counted_by_the_balancer(
    here: World, work: Work, metric: str, field: str, value: float
) -> None:
    wish = Autoscale(max=10, metric=metric, target=25.0)
    await work.cast(autoscale=wish, ports=[ServicePort(port=80)])
    setattr(work, field, value)
    await here.until(lambda: scale_of(here) == 4)


async def test_casting_the_same_again_leaves_the_number_that_was_reached(here: World, work: Work) -> None:
    await work.cast(autoscale=WISH, scale=1)
    work.cores = 2.0
    await here.until(lambda: scale_of(here) == 4)
    before = here.service("api")
    spec = Service(name="api", process=before.process, scale=1, autoscale=WISH)
    await here.call(api.update, api.UpdateServiceRequest(service=spec))
    after = here.service("api")
    assert after.scale == 4
    assert after.metadata == before.metadata


async def test_narrower_bounds_hold_at_once(here: World, work: Work) -> None:
    await work.cast(autoscale=WISH)
    work.cores = 2.0
    await here.until(lambda: scale_of(here) == 4)
    spec = Service(
        name="api", process=here.service("api").process, scale=1, autoscale=Autoscale(max=2, target=50.0)
    )
    await here.call(api.update, api.UpdateServiceRequest(service=spec))
    assert scale_of(here) == 2


async def test_a_hand_goes_before_it_for_as_long_as_a_cooldown(here: World, work: Work) -> None:
    await work.cast(autoscale=WISH)
    work.cores = 2.0
    await here.until(lambda: scale_of(here) == 4)
    await here.call(api.scale, api.ScaleServiceRequest(name="api", scale=2))
    assert told(here).reason == "ByHand"
    assert told(here).message.startswith("scaled to 2 by hand: autoscale goes on at ")
    begun = here.clock.now()
    assert await until(here, lambda: scale_of(here) != 2) >= 60 - PERIOD
    assert here.clock.now() - begun >= timedelta(seconds=60)
    assert told(here).held_until is None


async def test_what_was_scaled_to_0_by_hand_rests_until_a_hand_scales_it(here: World, work: Work) -> None:
    await work.cast(autoscale=WISH)
    work.cores = 2.0
    await here.call(api.scale, api.ScaleServiceRequest(name="api", scale=0))
    await asyncio.sleep(600)  # noqa: TID251 - virtual: nothing happens meanwhile, which is the point
    assert (scale_of(here), told(here).reason) == (0, "Resting")


async def test_a_hand_past_the_bounds_is_refused_with_the_bounds(here: World, work: Work) -> None:
    await work.cast(autoscale=WISH)
    with pytest.raises(InvalidArgument, match="must be 0, or from 1 to 10"):
        await here.call(api.scale, api.ScaleServiceRequest(name="api", scale=11))


async def test_it_stands_back_while_a_scaling_by_steps_is_under_way(here: World, work: Work) -> None:
    await work.cast(autoscale=Autoscale(max=10, target=50.0, cooldown=0))
    work.cores = 2.5
    ask = api.ScaleServiceRequest(
        name="api", scale=3, mode=ScalingMode.GRADUAL, step_size=1, interval_seconds=60
    )
    await here.call(api.scale, ask)
    await here.until(lambda: told(here).reason == "Waiting")
    assert "scaling by steps" in told(here).message
    await here.until(lambda: scale_of(here) == 5)


async def test_what_cannot_be_measured_is_left_as_it_is(here: World, work: Work) -> None:
    await work.cast(autoscale=WISH)
    work.cores = 2.0
    await here.until(lambda: scale_of(here) == 4)
    work.is_away = True
    await here.until(lambda: told(here).reason == "Unmeasured")
    await asyncio.sleep(600)  # noqa: TID251 - virtual: nothing happens meanwhile, which is the point
    assert scale_of(here) == 4


async def test_a_service_without_it_is_left_alone(here: World, work: Work) -> None:
    await work.cast(autoscale=Autoscale(enabled=False, max=9, target=1.0))
    work.cores = 9.0
    await asyncio.sleep(600)  # noqa: TID251 - virtual: nothing happens meanwhile, which is the point
    assert (scale_of(here), here.service("api").autoscaling) == (1, None)


@pytest.mark.parametrize(
    "cpu, cores",
    [
        (None, 1.0),
        (ResourceLimit(limit="2"), 2.0),
        (ResourceLimit(request="250m", limit="2"), 0.25),
    ],
)
def test_cpu_is_a_part_of_what_a_copy_is_promised(cpu: ResourceLimit | None, cores: float) -> None:
    assert autoscale.capacity(Service(name="a", resources=Resources(cpu=cpu))) == cores


@pytest.mark.parametrize(
    "wish, message",
    [
        (Autoscale(min=3, max=2, target=1.0), "autoscale.max: cannot be less than min, which is 3"),
        (Autoscale(max=2, metric="requests", target=1.0), "are counted at tcp ports, and there is none"),
    ],
)
async def test_what_no_autoscale_could_keep_to_is_refused(here: World, wish: Autoscale, message: str) -> None:
    service = Service(name="api", scale=1, process=ProcessSpec(command="x"), autoscale=wish)
    with pytest.raises(InvalidArgument, match=message):
        await here.call(api.create, api.CreateServiceRequest(service=service))


@given(
    st.floats(0, 1e6),
    st.integers(0, 50),
    st.integers(0, 50),
    st.integers(1, 20),
    st.integers(1, 50),
    st.integers(0, 5),
)
def test_what_it_wants_is_within_the_bounds_and_rests_where_it_led(
    total: float, scale: int, missing: int, least: int, most: int, step: int
) -> None:
    wish = Autoscale(min=least, max=max(least, most), target=7.0, step=step)
    seen = Seen(total=total, measured=max(scale - missing, 0), copies=scale)
    wanted = autoscale.bounded(wish, autoscale.enough(wish, scale, seen))
    assert wish.min <= wanted <= wish.max
    there = scale
    for _ in range(60):
        there = autoscale.stepped(wish, there, wanted)
    assert there == wanted
    again = autoscale.enough(wish, wanted, Seen(total=total, measured=wanted, copies=wanted))
    assert abs(autoscale.bounded(wish, again) - wanted) <= 1 or missing
