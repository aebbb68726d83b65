"""Addresses: nobody gets one that somebody has, and one is free when its owner is gone."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest

from rune.api.orchestrator.instances import Instance
from rune.api.orchestrator.services import Service
from rune.core.clock import ManualClock
from rune.core.store.base import Delete, Put
from rune.core.store.memory import MemoryStore
from rune.errors import ResourceExhausted
from rune.orchestrator.traffic.addresses import POOL, Addresses

SMALL = IPv4Network("127.64.0.0/30")
"""Two addresses besides the first and the last."""


def store() -> MemoryStore:
    return MemoryStore([Service, Instance])


async def test_an_address_is_of_the_pool_and_nobody_elses() -> None:
    async with store() as kept:
        with Addresses(kept, clock=ManualClock()).lend() as pick:
            picked = [pick() for _ in range(100)]
    assert len(set(picked)) == 100
    assert all(IPv4Address(address) in POOL for address in picked)


async def test_what_is_stored_or_lent_is_not_picked_again() -> None:
    async with store() as kept:
        addresses = Addresses(kept, clock=ManualClock(), pool=SMALL)
        with addresses.lend() as pick:
            first = pick()
            await kept.commit(Put(Service(name="web", namespace="default", address=first)))
            with addresses.lend() as other:
                second = other()
                assert second != first
                await kept.commit(Put(Instance(id="i", namespace="default", ip=second)))
        with (
            addresses.lend() as pick,
            pytest.raises(ResourceExhausted, match=r"no address of 127\.64\.0\.0/30"),
        ):
            pick()


async def test_an_address_is_free_when_its_owner_is_gone() -> None:
    async with store() as kept:
        addresses = Addresses(kept, clock=ManualClock(), pool=SMALL)
        for number in range(8):
            with addresses.lend() as pick:
                instance = Instance(id=f"i-{number}", namespace="default", ip=pick())
                await kept.commit(Put(instance))
            await kept.commit(Delete(instance.key))
