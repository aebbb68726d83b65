"""The surge of all rollouts together: how many copies above their scales services may have at one time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from rune.api.orchestrator.instances import DesiredState, Instance
from rune.api.orchestrator.services import Service
from rune.api.resource import Key
from rune.core.store.base import Store

FEWEST: Final = 8
"""Any machine has room for so many more copies than it runs, and small fleets should not queue."""
PART: Final = 10
"""A tenth of what runs: about the headroom that a machine should be left with anyway."""


class Surge:
    """Lends copies above the scale to services, first come, first served."""

    def __init__(self, store: Store, *, most: int = 0) -> None:
        self._store = store
        self._most = most
        self._held: dict[Key, int] = {}
        self._waiting: dict[Key, None] = {}
        self._total = 0
        self._wake: Callable[[Key], None] = lambda _: None
        self._is_seeded = False

    def on_room(self, wake: Callable[[Key], None]) -> None:
        """Call `wake` with the key of a service that waited, when there may be room for it."""
        self._wake = wake

    @property
    def most(self) -> int:
        """How many there may be in all."""
        return self._most or max(FEWEST, len(self._store.list(Instance)) // PART)

    def keeps_waiting(self, service: Key) -> bool:
        """There was no room for it."""
        return service in self._waiting

    def claim(self, service: Key, have: int, more: int) -> int:
        """How many of `more` copies the service may add to the `have` that it has above its scale.

        What it holds is what it has and was given; claiming 0 and 0 gives everything back.
        """
        if not have and not more and service not in self._held:
            self._waiting.pop(service, None)
            return 0
        self._seed()
        others = self._total - self._held.get(service, 0)
        given = max(0, min(more, self.most - others - have)) if more else 0
        freed = self._hold(service, have + given)
        if given < more:
            self._waiting[service] = None
        else:
            self._waiting.pop(service, None)
        if freed:
            waiting, self._waiting = list(self._waiting), {}
            for each in waiting:
                self._wake(each)
        return given

    def _hold(self, service: Key, count: int) -> bool:
        """Note what a service has; true when it had more."""
        before = self._held.pop(service, 0)
        if count:
            self._held[service] = count
        self._total += count - before
        return count < before

    def _seed(self) -> None:
        """What services have already when runed starts, before each of them was looked at."""
        if self._is_seeded:
            return
        self._is_seeded = True
        staying = Counter(
            (item.namespace, item.service_name)
            for item in self._store.list(Instance)
            if item.desired is not DesiredState.DELETED
        )
        for service in self._store.list(Service):
            extra = staying[service.namespace, service.name] - service.scale
            if extra > 0 and service.key not in self._held and not service.deletion_id:
                self._hold(service.key, extra)
