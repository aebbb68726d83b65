"""Probes in virtual time: when they ask, when a verdict changes, and who is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest

from promises import promise
from rune.api.orchestrator import services as service_api
from rune.api.orchestrator.health import HealthCheckType, HealthStatus
from rune.api.orchestrator.instances import Instance
from rune.api.orchestrator.services import Service
from rune.api.orchestrator.specs import HealthCheck, Probe, ProbeType, ServicePort
from rune.core.store.memory import MemoryStore
from rune.orchestrator.namespaces import seed
from rune.orchestrator.probes import CONNECTIONS, SHARE, Prober
from rune.orchestrator.questions import Question
from rune.orchestrator.spec import Template
from unit.orchestrator.plane import KINDS, LoopClock, Plane

pytestmark = pytest.mark.looptime


class Patient:
    """Answers as the test says, at once or after a while; knows when it was asked."""

    def __init__(self) -> None:
        self.answers: Mapping[str, str] = {}
        self.takes = 0.0
        self.asked: list[tuple[float, Question]] = []
        self.seconds: list[float] = []
        self.at_once = 0
        self.most_at_once = 0

    async def ask(self, question: Question, seconds: float) -> str:
        self.asked.append((asyncio.get_running_loop().time(), question))
        self.seconds.append(seconds)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.takes)  # noqa: TID251 - virtual time, and what is tested is how it passes
        finally:
            self.at_once -= 1
        return self.answers.get(question.instance, "")

    def times(self) -> list[float]:
        return [at for at, _ in self.asked]


class Ward:
    """A prober with one patient, and who was told of what."""

    def __init__(self) -> None:
        self.patient = Patient()
        self.prober = Prober(self.patient, clock=LoopClock())
        self.told: list[str] = []
        self.prober.on_change(self.told.append)

    def keep(
        self,
        *,
        ready: bool = False,
        attempt: int = 1,
        name: str = "a",
        namespace: str = "default",
        **probes: Probe,
    ) -> None:
        spec = Service(name="s", ports=[ServicePort(port=80, target_port=8080)], health=HealthCheck(**probes))
        template = Template(name="s.1", namespace=namespace, generation=1, spec=spec)
        instance = Instance(id=name, namespace=namespace, runner="process", attempt=attempt, ready=ready)
        self.prober.keep(instance, template)

    @property
    def statuses(self) -> dict[HealthCheckType, HealthStatus]:
        return {result.type: result.status for result in self.prober.results("a")}


@asynccontextmanager
async def ward() -> AsyncGenerator[Ward]:
    opened = Ward()
    async with asyncio.TaskGroup() as tasks:
        loop = tasks.create_task(opened.prober.run())
        yield opened
        loop.cancel()


async def pass_time(seconds: float) -> None:
    await asyncio.sleep(seconds)  # noqa: TID251 - virtual time


HTTP = Probe(type=ProbeType.HTTP, path="/")


async def test_zeros_stand_for_the_defaults() -> None:
    async with ward() as room:
        room.keep(readiness=HTTP)
        await pass_time(100)
        times = room.patient.times()
    assert len(times) in (10, 11)
    assert all(later - earlier == pytest.approx(10) for earlier, later in pairwise(times))
    assert set(room.patient.seconds) == {1.0}
    assert room.patient.asked[0][1].port == 8080


async def test_the_first_question_waits_for_the_delay_and_a_little_chance() -> None:
    async with ward() as room:
        start = asyncio.get_running_loop().time()
        room.keep(readiness=Probe(type=ProbeType.TCP, port=1, initial_delay_seconds=30, period_seconds=10))
        await pass_time(45)
        first = room.patient.times()[0] - start
    assert 30 <= first < 31
    assert room.patient.asked[0][1].port == 1


async def test_readiness_has_no_word_until_its_threshold() -> None:
    async with ward() as room:
        room.patient.answers = {"a": "HTTP status 500"}
        room.keep(readiness=Probe(type=ProbeType.HTTP, path="/", failure_threshold=2, success_threshold=2))
        await pass_time(5)
        assert room.prober.ready("a") is None
        assert room.told == []
        await pass_time(10)
        assert room.prober.ready("a") is False
        assert room.told == ["a"]
        room.patient.answers = {}
        await pass_time(10)
        assert room.prober.ready("a") is False
        await pass_time(10)
        assert room.prober.ready("a") is True
        assert room.told == ["a", "a"]
        await pass_time(100)
        assert room.told == ["a", "a"]


async def test_liveness_is_sick_after_three_failures_and_says_why() -> None:
    async with ward() as room:
        room.keep(liveness=HTTP)
        await pass_time(5)
        assert room.prober.sick("a") == ""
        room.patient.answers = {"a": "HTTP status 503"}
        await pass_time(20)
        assert room.prober.sick("a") == ""
        await pass_time(10)
        assert room.prober.sick("a") == "the liveness probe failed 3 times in a row: HTTP status 503"
        room.patient.answers = {}
        await pass_time(10)
        assert room.prober.sick("a") == ""


async def test_liveness_and_readiness_are_counted_apart() -> None:
    async with ward() as room:
        room.keep(liveness=Probe(type=ProbeType.TCP, period_seconds=1), readiness=HTTP)
        await pass_time(3)
        assert room.statuses == {
            HealthCheckType.LIVENESS: HealthStatus.HEALTHY,
            HealthCheckType.READINESS: HealthStatus.HEALTHY,
        }
        live, ready = room.prober.results("a")
        assert live.consecutive_successes >= 2 > ready.consecutive_successes
        room.patient.answers = {"a": "no"}
        await pass_time(5)
        assert room.statuses[HealthCheckType.LIVENESS] is HealthStatus.UNHEALTHY
        assert room.statuses[HealthCheckType.READINESS] is HealthStatus.HEALTHY


async def test_a_new_attempt_begins_anew_and_the_same_one_does_not() -> None:
    async with ward() as room:
        room.patient.answers = {"a": "no"}
        room.keep(liveness=Probe(type=ProbeType.TCP, period_seconds=1))
        await pass_time(10)
        room.keep(liveness=Probe(type=ProbeType.TCP, period_seconds=1))
        assert room.prober.sick("a")
        room.keep(liveness=Probe(type=ProbeType.TCP, period_seconds=1), attempt=2)
        assert room.prober.sick("a") == ""
        assert room.statuses == {HealthCheckType.LIVENESS: HealthStatus.UNKNOWN}


async def test_one_that_is_dropped_is_asked_no_more_not_even_to_the_end() -> None:
    async with ward() as room:
        room.patient.takes = 1000
        room.keep(liveness=Probe(type=ProbeType.TCP, timeout_seconds=3600))
        await pass_time(5)
        assert room.patient.at_once == 1
        room.prober.drop("a")
        room.prober.drop("a")
        await pass_time(2000)
        assert room.patient.at_once == 0
        assert len(room.patient.asked) == 1
        assert room.told == []
        assert room.prober.results("a") == []


async def test_a_question_that_takes_long_does_not_pile_up() -> None:
    async with ward() as room:
        room.patient.takes = 25
        room.keep(liveness=Probe(type=ProbeType.TCP, timeout_seconds=60))
        await pass_time(100)
        assert room.patient.most_at_once == 1
        assert len(room.patient.asked) in (4, 5)


async def test_a_restarted_runed_spreads_its_first_questions_over_the_period() -> None:
    async with ward() as room:
        start = asyncio.get_running_loop().time()
        for number in range(1000):
            room.keep(name=f"i{number}", ready=True, readiness=HTTP)
        await pass_time(10)
        slots = [0] * 10
        for at in room.patient.times()[:1000]:
            slots[int(at - start)] += 1
    assert all(50 < count < 150 for count in slots), slots


async def test_only_so_many_are_asked_at_a_time() -> None:
    async with ward() as room:
        room.patient.takes = 1
        for number in range(1000):
            room.keep(name=f"i{number}", readiness=Probe(type=ProbeType.TCP, period_seconds=1))
        await pass_time(10)
        assert room.patient.most_at_once == CONNECTIONS // SHARE
        assert len(room.told) == 1000


@pytest.mark.parametrize("type", [ProbeType.HTTP, ProbeType.EXEC])
async def test_copies_that_never_answer_keep_nobody_in_another_namespace_waiting(type: ProbeType) -> None:
    async with ward() as room:
        room.patient.takes = 86400.0
        for number in range(2 * CONNECTIONS):
            slow = Probe(type=type, path="/", command=["sleep"], timeout_seconds=86400)
            room.keep(name=f"slow-{number}", namespace="theirs", readiness=slow)
        await pass_time(60)
        room.keep(name="a", readiness=Probe(type=type, path="/", command=["true"]))
        await pass_time(10)
        assert "a" in {question.instance for _, question in room.patient.asked}


async def test_a_service_without_probes_is_not_asked() -> None:
    async with ward() as room:
        room.keep()
        await pass_time(100)
        assert room.patient.asked == []
        assert room.prober.ready("a") is None


async def test_verdicts_reach_the_reconciler_at_once() -> None:
    async with ward() as room:
        plane = Plane(MemoryStore(KINDS), LoopClock(), probes=room.prober)
        await seed(plane.store, clock=plane.clock)
        async with plane.running():
            room.prober.on_change(plane.control.look_at)
            await plane.serve("api", health=HealthCheck(liveness=LIVE, readiness=LIVE))
            copy = await plane.copy_of("api")
            assert not copy.ready
            await plane.until(lambda: plane.copies("api")[0].ready)
            room.patient.answers = {copy.id: "HTTP status 500"}
            await plane.until(lambda: plane.copies("api")[0].attempt == 2)
            sick = plane.copies("api")[0]
            assert sick.failure_reason == "HealthCheckFailure"
            assert not sick.ready
            room.patient.answers = {}
            await plane.until(lambda: plane.copies("api")[0].ready)
            await plane.call(service_api.delete, service_api.DeleteServiceRequest(name="api"))
            assert room.prober.results(copy.id) == []


LIVE = Probe(type=ProbeType.TCP, port=80, period_seconds=1)


@promise("health.startup")
async def test_nothing_else_is_asked_until_the_startup_probe_agrees_once() -> None:
    startup = Probe(type=ProbeType.TCP, port=1, period_seconds=2, failure_threshold=30)
    async with ward() as room:
        room.patient.answers = {"a": "no"}
        room.keep(startup=startup, liveness=HTTP, readiness=HTTP)
        await pass_time(30)
        assert {question.port for _, question in room.patient.asked} == {1}
        assert room.prober.ready("a") is False
        assert room.prober.sick("a") == ""
        room.patient.answers = {}
        await pass_time(4)
        assert room.statuses == dict.fromkeys(
            (HealthCheckType.STARTUP, HealthCheckType.LIVENESS, HealthCheckType.READINESS),
            HealthStatus.HEALTHY,
        )
        assert room.prober.ready("a") is True
        asked = len([1 for _, question in room.patient.asked if question.port == 1])
        await pass_time(50)
        assert len([1 for _, question in room.patient.asked if question.port == 1]) == asked


@promise("health.startup")
async def test_a_copy_that_never_starts_is_given_up_after_the_startup_probes_threshold() -> None:
    async with ward() as room:
        room.patient.answers = {"a": "no"}
        room.keep(startup=Probe(type=ProbeType.TCP, period_seconds=5, failure_threshold=4), liveness=HTTP)
        await pass_time(14)
        assert room.prober.sick("a") == ""
        await pass_time(5)
        assert room.prober.sick("a") == "the startup probe failed 4 times in a row: no"


async def test_a_startup_probe_alone_makes_a_copy_ready() -> None:
    async with ward() as room:
        room.keep(startup=HTTP)
        assert room.prober.ready("a") is False
        await pass_time(2)
        assert room.prober.ready("a") is True


async def test_a_copy_that_was_ready_is_not_asked_to_start_again_by_the_next_runed() -> None:
    async with ward() as room:
        room.keep(ready=True, startup=Probe(type=ProbeType.TCP, port=1), liveness=HTTP)
        await pass_time(30)
        assert {question.port for _, question in room.patient.asked} == {8080}


async def test_the_last_ten_answers_are_kept_newest_first() -> None:
    async with ward() as room:
        room.patient.takes = 0.25
        room.keep(liveness=Probe(type=ProbeType.TCP, period_seconds=1))
        await pass_time(20)
        room.patient.answers = {"a": "HTTP status 500"}
        await pass_time(1.5)
        (check,) = room.prober.results("a")
    assert len(check.history) == 10
    assert (check.history[0].ok, check.history[0].message) == (False, "HTTP status 500")
    assert all(answer.ok and answer.milliseconds == 250 for answer in check.history[2:])
    times = [answer.at for answer in check.history if answer.at]
    assert times == sorted(times, reverse=True)


@promise("health.ready")
async def test_a_copy_with_a_startup_probe_gets_no_traffic_before_it_has_agreed() -> None:
    async with ward() as room:
        plane = Plane(MemoryStore(KINDS), LoopClock(), probes=room.prober)
        await seed(plane.store, clock=plane.clock)
        async with plane.running():
            room.prober.on_change(plane.control.look_at)
            startup = Probe(type=ProbeType.TCP, port=80, initial_delay_seconds=7)
            await plane.serve("api", health=HealthCheck(startup=startup))
            copy = await plane.copy_of("api")
            assert not copy.ready
            await plane.until(lambda: plane.copies("api")[0].ready, seconds=20)
            assert plane.clock.monotonic() >= 7
