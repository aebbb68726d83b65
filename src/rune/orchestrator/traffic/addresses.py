"""Addresses of this machine for services and for copies that run as processes: loopback ones, durably kept.

All of 127.0.0.0/8 leads to this machine without being set up, so an address is a number that nobody else
has. Services and instances carry theirs, which makes it free again the moment its owner is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from rune.api.orchestrator.instances import Instance
from rune.api.orchestrator.services import Service
from rune.core.clock import Clock
from rune.core.store.base import Store
from rune.errors import ResourceExhausted

POOL: Final = IPv4Network("127.64.0.0/10")
"""Four million; far from 127.0.0.1 and from 127.0.1.1 and 127.0.0.53, which systems use."""
TRIES: Final = 64
"""The pool is as good as full when so many random addresses are all taken."""

Pick = Callable[[], str]


class Addresses:
    """Picks addresses that nobody in the store has.

    They are picked by chance, so that two servers on one machine hardly ever pick the same.
    """

    def __init__(self, store: Store, *, clock: Clock, pool: IPv4Network = POOL) -> None:
        self._store = store
        self._clock = clock
        self._pool = pool
        self._lent: set[str] = set()

    @contextmanager
    def lend(self) -> Generator[Pick]:
        """Hands out `pick`; what it picks is nobody else's until the block ends, and must be stored by then.

        `pick` raises ResourceExhausted when the pool is full.
        """
        mine: set[str] = set()
        taken: set[str] = set()

        def pick() -> str:
            if not taken:
                taken.update(self._stored())
            for _ in range(TRIES):
                found = self._chosen()
                if found not in taken and found not in self._lent:
                    mine.add(found)
                    self._lent.add(found)
                    return found
            raise ResourceExhausted(f"no address of {self._pool} is free", retry_after=60)

        try:
            yield pick
        finally:
            self._lent -= mine

    def _chosen(self) -> str:
        # Not the first and not the last of the pool, which look like a network's own.
        offset = 1 + int(self._clock.random() * (self._pool.num_addresses - 2))
        return str(IPv4Address(int(self._pool.network_address) + offset))

    def _stored(self) -> Iterator[str]:
        yield ""  # so that even an empty store counts as read
        yield from (service.address for service in self._store.list(Service))
        yield from (instance.ip for instance in self._store.list(Instance))
