"""Probes: every instance that declares some is asked again and again, and a change of verdict is told.

One timer a probe and one task a question: nothing runs between two questions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NoReturn, Protocol

from rune.api.orchestrator.health import HealthCheckResult, HealthCheckType, HealthStatus
from rune.api.orchestrator.instances import Instance
from rune.api.orchestrator.specs import Probe, ProbeType
from rune.core.clock import Clock
from rune.orchestrator.questions import Question
from rune.orchestrator.spec import Template

PERIOD, TIMEOUT, SUCCESSES, FAILURES = 10, 1, 1, 3
"""What the zeros of a probe stand for."""
FRESH_JITTER: Final = 0.1
"""The part of its period that the first question to a new instance may wait: it wants to be ready soon."""
CONNECTIONS: Final = 256
"""Questions at a time that wait for an answer over the network."""
COMMANDS: Final = 32
"""Questions at a time that run a command: each is a process."""


class Asker(Protocol):
    """What `Questioner` does."""

    async def ask(self, question: Question, seconds: float) -> str:
        """Why it is not well, empty when it is; never takes longer than so many seconds."""
        ...


@dataclass(slots=True)
class Tally:
    """What the answers to one probe amount to."""

    probe: Probe
    healthy: bool | None = None
    """The verdict; None before there is one."""
    successes: int = 0
    failures: int = 0
    said: str = ""
    at: datetime | None = None

    def count(self, why: str, at: datetime) -> bool:
        """Add an answer; true when the verdict changes. It takes as many in a row as the probe says."""
        self.said, self.at = why, at
        self.successes = 0 if why else self.successes + 1
        self.failures = self.failures + 1 if why else 0
        before = self.healthy
        if self.successes >= (self.probe.success_threshold or SUCCESSES):
            self.healthy = True
        elif self.failures >= (self.probe.failure_threshold or FAILURES):
            self.healthy = False
        return self.healthy is not before


@dataclass(slots=True)
class Check:
    """One probe of one attempt of an instance, and when it is asked next."""

    type: HealthCheckType
    question: Question
    tally: Tally
    timer: asyncio.TimerHandle | None = None
    asking: asyncio.Task[None] | None = None
    is_over: bool = False

    @property
    def period(self) -> float:
        """Seconds from one question to the next."""
        return float(self.question.probe.period_seconds or PERIOD)

    def end(self) -> None:
        """Ask no more."""
        self.is_over = True
        if self.timer:
            self.timer.cancel()
        if self.asking:
            self.asking.cancel()


@dataclass(slots=True, kw_only=True)
class Watched:
    """One attempt of an instance that is asked."""

    attempt: int
    liveness: Check | None = None
    readiness: Check | None = None

    @property
    def checks(self) -> list[Check]:
        """Those that there are."""
        return [check for check in (self.liveness, self.readiness) if check]


class Prober:
    """The monitors of all instances, and the loop that asks. Implements `Probes` of the reconciler."""

    def __init__(self, asker: Asker, *, clock: Clock) -> None:
        self._asker = asker
        self._clock = clock
        self._watched: dict[str, Watched] = {}
        self._due: asyncio.Queue[Check] = asyncio.Queue()
        self._notify: Callable[[str], None] = lambda _: None
        self._connections = asyncio.Semaphore(CONNECTIONS)
        self._commands = asyncio.Semaphore(COMMANDS)

    def on_change(self, notify: Callable[[str], None]) -> None:
        """Call `notify` with the id of an instance whose verdict changes; it must not raise."""
        self._notify = notify

    def keep(self, instance: Instance, template: Template) -> None:
        """Ask this attempt of it from now on; nothing new when that is done already."""
        known = self._watched.get(instance.id)
        if known and known.attempt == instance.attempt:
            return
        self.drop(instance.id)
        health = template.spec.health
        if health is None:
            return
        watched = Watched(
            attempt=instance.attempt,
            liveness=_check(health.liveness, instance, template, type=HealthCheckType.LIVENESS),
            readiness=_check(health.readiness, instance, template, type=HealthCheckType.READINESS),
        )
        self._watched[instance.id] = watched
        for check in watched.checks:
            # One that was ready before is asked by a runed that has just started, with all the others.
            spread = check.period * (1.0 if instance.ready else FRESH_JITTER)
            self._later(check, check.question.probe.initial_delay_seconds + spread * self._clock.random())

    def drop(self, instance: str) -> None:
        """Ask it no more, and forget what it said."""
        watched = self._watched.pop(instance, None)
        for check in watched.checks if watched else ():
            check.end()

    def ready(self, instance: str) -> bool | None:
        """What the readiness probe says; None before its first word."""
        watched = self._watched.get(instance)
        return watched.readiness.tally.healthy if watched and watched.readiness else None

    def sick(self, instance: str) -> str:
        """Why the liveness probe wants it replaced; empty when it does not."""
        watched = self._watched.get(instance)
        tally = watched.liveness.tally if watched and watched.liveness else None
        if tally is None or tally.healthy is not False:
            return ""
        return f"the liveness probe failed {tally.failures} times in a row: {tally.said}"

    def results(self, instance: str) -> list[HealthCheckResult]:
        """The last word of each probe."""
        watched = self._watched.get(instance)
        return [_result(check) for check in watched.checks] if watched else []

    async def run(self) -> NoReturn:
        """Ask what is due until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                check = await self._due.get()
                if not check.is_over:
                    check.asking = tasks.create_task(self._ask(check))

    def _later(self, check: Check, seconds: float) -> None:
        check.timer = asyncio.get_running_loop().call_later(seconds, self._due.put_nowait, check)

    async def _ask(self, check: Check) -> None:
        """Put the question, count the answer, and see to the next one at its time."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        probe = check.question.probe
        async with self._commands if probe.type is ProbeType.EXEC else self._connections:
            why = await self._asker.ask(check.question, float(probe.timeout_seconds or TIMEOUT))
        check.asking = None
        if check.is_over:
            return
        self._later(check, max(due + check.period - loop.time(), 0.0))
        if check.tally.count(why, self._clock.now()):
            self._notify(check.question.instance)


def _check(
    probe: Probe | None, instance: Instance, template: Template, *, type: HealthCheckType
) -> Check | None:
    if probe is None:
        return None
    ports = template.spec.ports
    first = (ports[0].target_port or ports[0].port) if ports else 0
    question = Question(
        instance=instance.id,
        runner=instance.runner,
        probe=probe,
        port=probe.port or first,
        address=instance.ip,
    )
    return Check(type=type, question=question, tally=Tally(probe))


def _result(check: Check) -> HealthCheckResult:
    tally = check.tally
    status = HealthStatus.UNKNOWN
    if tally.healthy is not None:
        status = HealthStatus.HEALTHY if tally.healthy else HealthStatus.UNHEALTHY
    return HealthCheckResult(
        type=check.type,
        status=status,
        message=tally.said,
        timestamp=tally.at,
        consecutive_successes=tally.successes,
        consecutive_failures=tally.failures,
    )
