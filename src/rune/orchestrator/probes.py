"""Probes: every instance that declares some is asked again and again, and a change of verdict is told.

One timer a probe and one task a question: nothing runs between two questions.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NoReturn, Protocol
from weakref import WeakValueDictionary

from rune.api.orchestrator.health import HealthCheckResult, HealthCheckType, HealthStatus, ProbeAnswer
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
SHARE: Final = 2
"""The part of either that one namespace may have, 1 in so many: others are asked whatever its copies do."""
HISTORY: Final = 10
"""Answers of each probe that are kept."""


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
    history: deque[ProbeAnswer] = field(default_factory=lambda: deque(maxlen=HISTORY))
    """The last answers, newest first."""

    def count(self, why: str, at: datetime, seconds: float = 0.0) -> bool:
        """Add an answer; true when the verdict changes. It takes as many in a row as the probe says."""
        self.said, self.at = why, at
        took = round(seconds * 1000)
        self.history.appendleft(ProbeAnswer(at=at, ok=not why, message=why, milliseconds=took))
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
    namespace: str
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
    startup: Check | None = None

    @property
    def checks(self) -> list[Check]:
        """Those that there are."""
        return [check for check in (self.startup, self.liveness, self.readiness) if check]

    @property
    def has_started(self) -> bool:
        """The startup probe, if there is one, has agreed."""
        return self.startup is None or self.startup.tally.healthy is True


class Slots:
    """So many at a time, of which one namespace has its share at most."""

    def __init__(self, most: int) -> None:
        self._share = most // SHARE
        self._all = asyncio.Semaphore(most)
        self._shares: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def of(self, namespace: str) -> AsyncGenerator[None]:
        """One of them, as soon as it is there."""
        share = self._shares.setdefault(namespace, asyncio.Semaphore(self._share))
        async with share, self._all:
            yield


class Prober:
    """The monitors of all instances, and the loop that asks. Implements `Probes` of the reconciler."""

    def __init__(self, asker: Asker, *, clock: Clock) -> None:
        self._asker = asker
        self._clock = clock
        self._watched: dict[str, Watched] = {}
        self._due: asyncio.Queue[Check] = asyncio.Queue()
        self._notify: Callable[[str], None] = lambda _: None
        self._connections = Slots(CONNECTIONS)
        self._commands = Slots(COMMANDS)

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
        # One that was ready before has started: a runed that has just begun need not ask again.
        starting = None if instance.ready else health.startup
        watched = Watched(
            attempt=instance.attempt,
            startup=_check(starting, instance, template, type=HealthCheckType.STARTUP),
            liveness=_check(health.liveness, instance, template, type=HealthCheckType.LIVENESS),
            readiness=_check(health.readiness, instance, template, type=HealthCheckType.READINESS),
        )
        self._watched[instance.id] = watched
        if watched.startup:
            self._begin(watched.startup, FRESH_JITTER)
        else:
            self._begin_the_rest(watched, 1.0 if instance.ready else FRESH_JITTER)

    def drop(self, instance: str) -> None:
        """Ask it no more, and forget what it said."""
        watched = self._watched.pop(instance, None)
        for check in watched.checks if watched else ():
            check.end()

    def ready(self, instance: str) -> bool | None:
        """What the startup and readiness probes say; None before their first word."""
        watched = self._watched.get(instance)
        if watched is None:
            return None
        if watched.startup and not watched.has_started:
            return False
        if watched.readiness:
            return watched.readiness.tally.healthy
        return True if watched.startup else None

    def sick(self, instance: str) -> str:
        """Why the startup or the liveness probe wants it replaced; empty when none does."""
        watched = self._watched.get(instance)
        for name, check in (("startup", watched.startup), ("liveness", watched.liveness)) if watched else ():
            if check and check.tally.healthy is False:
                tally = check.tally
                return f"the {name} probe failed {tally.failures} times in a row: {tally.said}"
        return ""

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

    def _begin_the_rest(self, watched: Watched, spread: float) -> None:
        """Ask whether it lives and is ready, now that it has started."""
        for check in (watched.liveness, watched.readiness):
            if check:
                self._begin(check, spread)

    def _begin(self, check: Check, spread: float) -> None:
        """The first question, after the probe's delay and a part of its period that chance decides."""
        delay = check.question.probe.initial_delay_seconds
        self._later(check, delay + check.period * spread * self._clock.random())

    def _later(self, check: Check, seconds: float) -> None:
        check.timer = asyncio.get_running_loop().call_later(seconds, self._due.put_nowait, check)

    async def _ask(self, check: Check) -> None:
        """Put the question, count the answer, and see to the next one at its time."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        probe = check.question.probe
        slots = self._commands if probe.type is ProbeType.EXEC else self._connections
        async with slots.of(check.namespace):
            why = await self._asker.ask(check.question, float(probe.timeout_seconds or TIMEOUT))
        check.asking = None
        if check.is_over:
            return
        seconds = loop.time() - due
        has_changed = check.tally.count(why, self._clock.now(), seconds)
        if not self._has_come_up(check):
            self._later(check, max(check.period - seconds, 0.0))
        if has_changed:
            self._notify(check.question.instance)

    def _has_come_up(self, check: Check) -> bool:
        """The startup probe agrees: it is asked no more, and the others begin."""
        watched = self._watched.get(check.question.instance)
        if watched is None or check is not watched.startup or check.tally.healthy is not True:
            return False
        self._begin_the_rest(watched, FRESH_JITTER)
        return True


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
    return Check(type=type, question=question, tally=Tally(probe), namespace=instance.namespace)


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
        history=list(tally.history),
    )
