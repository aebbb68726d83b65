"""The queue that drives reconcilers: it says where to look, never what happened.

A key that is looked at again while it waits is looked at once; while it is being worked on, once more
afterwards. Lost, doubled and reordered signals are therefore all the same, harmless case.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, NoReturn

from rune.api.resource import Key, Resource
from rune.core.clock import Clock
from rune.core.store.base import Mutation, Store
from rune.errors import OutOfRange, RuneError

logger = logging.getLogger(__name__)

Reconcile = Callable[[Key], Awaitable[float | None]]
"""Closes one gap. Returns in how many seconds to look again, None for not before something changes."""

FIRST_RETRY: Final = 0.1
LONGEST_RETRY: Final = 60.0
TICK: Final = 0.001
"""A timer this close is due: the loop's own clock is no finer."""


class Worker:
    """Looks at keys, never at one key twice at a time; failures are tried again with growing delays."""

    def __init__(self, reconcile: Reconcile, *, clock: Clock, concurrency: int = 32) -> None:
        self._reconcile = reconcile
        self._clock = clock
        self._slots = asyncio.Semaphore(concurrency)
        self._waiting: dict[Key, None] = {}
        self._busy: set[Key] = set()
        self._again: set[Key] = set()
        self._due: dict[Key, float] = {}
        self._timers: list[tuple[float, Key]] = []
        self._failures: dict[Key, int] = {}
        self._woken = asyncio.Event()

    def look(self, key: Key) -> None:
        """Something may have changed there."""
        self._due.pop(key, None)
        if key in self._busy:
            self._again.add(key)
        else:
            self._waiting[key] = None
            self._woken.set()

    @property
    def depth(self) -> int:
        """How many keys wait or are being worked on."""
        return len(self._waiting) + len(self._busy)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._wait()
                while self._waiting:
                    await self._slots.acquire()
                    key = next(iter(self._waiting))
                    del self._waiting[key]
                    self._busy.add(key)
                    tasks.create_task(self._work(key))

    async def _wait(self) -> None:
        """Until a key waits; keys whose time has come are moved there."""
        while True:
            now = self._clock.monotonic()
            while self._timers and self._timers[0][0] <= now + TICK:
                due, key = heapq.heappop(self._timers)
                if self._due.get(key) == due:
                    self.look(key)
            if self._waiting:
                return
            self._woken.clear()
            seconds = self._timers[0][0] - now if self._timers else None
            try:
                async with asyncio.timeout(seconds):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def _work(self, key: Key) -> None:
        try:
            delay = await self._reconcile(key)
            self._failures.pop(key, None)
        except Exception as error:  # noqa: BLE001 - a reconciler's failure is retried, whatever it is
            delay = self._failed(key, error)
        finally:
            self._busy.discard(key)
            self._slots.release()
        if key in self._again:
            self._again.discard(key)
            self.look(key)
        elif delay is not None:
            self._later(key, delay)

    def _later(self, key: Key, delay: float) -> None:
        due = self._clock.monotonic() + delay
        self._due[key] = due
        heapq.heappush(self._timers, (due, key))
        self._woken.set()

    def _failed(self, key: Key, error: Exception) -> float:
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        expected = isinstance(error, RuneError)
        logger.log(
            logging.WARNING if expected else logging.ERROR,
            "reconciling failed",
            extra={"key": str(key), "failures": failures + 1, "reason": str(error)},
            exc_info=None if expected else error,
        )
        ceiling = min(FIRST_RETRY * 2 ** min(failures, 20), LONGEST_RETRY)
        return ceiling * (0.5 + self._clock.random() / 2)


async def follow(
    store: Store, worker: Worker, kind: type[Resource], *, route: Callable[[Mutation], None]
) -> NoReturn:
    """Have everything of a kind looked at, then hand every change to `route`, until cancelled.

    Whoever falls behind the log looks at everything again.
    """
    while True:
        after = store.revision
        for resource in store.list(kind):
            worker.look(resource.key)
        with suppress(OutOfRange):
            async for change in store.watch(after):
                for mutation in change.mutations:
                    route(mutation)
