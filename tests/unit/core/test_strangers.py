"""Whom calls that need no credential are counted for: who makes them, and nobody else."""

from __future__ import annotations

import pytest

from rune.api.security import liveness, sdk
from rune.core.access import Principal, rule
from rune.core.call import Call, Caller
from rune.core.clock import ManualClock
from rune.core.dispatch import Dispatcher, Guards
from rune.core.limits import Limits, Quota
from rune.errors import ResourceExhausted
from world import Everybody, Ledger


def caller(address: str, bearer: str = "") -> Caller:
    """Somebody at an address."""
    return Caller(edge="http", request_id="r", address=address, bearer=bearer)


@pytest.fixture
def road() -> Dispatcher:
    """A road on which two calls of a class may be made at once."""
    clock, ledger, everybody = ManualClock(), Ledger(), Everybody()
    everybody.principals["agent"] = Principal(id="agent", name="agent", rules=(rule("sdk", ["get"]),))
    limits = Limits(clock, {"sdk": Quota(count=2)})
    made = Dispatcher(Guards(identity=everybody, limits=limits, audit=ledger, meter=ledger, clock=clock))

    @made.handles(liveness.get)
    async def health(_call: Call, _ask: liveness.GetLivenessRequest) -> liveness.Liveness:
        return liveness.Liveness()

    @made.handles(sdk.bundle)
    async def bundle(_call: Call, _ask: sdk.GetBundleRequest) -> sdk.Bundle:
        return sdk.Bundle(version="v")

    return made


async def alive(road: Dispatcher, address: str) -> None:
    """Ask whether the server answers, without a credential."""
    await road.call(liveness.get, caller(address), liveness.GetLivenessRequest)


async def test_strangers_take_nothing_from_an_organization(road: Dispatcher) -> None:
    for _ in range(2):
        await alive(road, "192.0.2.1")
    with pytest.raises(ResourceExhausted):
        await alive(road, "192.0.2.1")
    for _ in range(2):
        await road.call(sdk.bundle, caller("192.0.2.1", "agent"), sdk.GetBundleRequest)


async def test_agents_take_nothing_from_who_asks_if_the_server_answers(road: Dispatcher) -> None:
    for _ in range(2):
        await road.call(sdk.bundle, caller("192.0.2.1", "agent"), sdk.GetBundleRequest)
    await alive(road, "192.0.2.1")


async def test_a_stranger_takes_nothing_from_another(road: Dispatcher) -> None:
    for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"):
        await alive(road, address)
    with pytest.raises(ResourceExhausted):
        await alive(road, "2001:db8::3")
