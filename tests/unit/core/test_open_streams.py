"""How many streams one principal may have open, whatever ends them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import pytest

from planes import turn
from promises import promise
from rune.api.orchestrator import services
from rune.core.access import Principal
from rune.core.call import Call, Caller
from rune.core.clock import SystemClock
from rune.core.dispatch import Dispatcher, Guards
from rune.core.limits import OpenStreams
from rune.errors import ResourceExhausted
from world import Everybody, Ledger

ASK = services.WatchServicesRequest()


def dispatcher(most: int) -> Dispatcher:
    """A dispatcher whose one stream goes on for ever."""
    ledger = Ledger()
    guards = Guards(
        identity=Everybody(), limits=ledger, audit=ledger, meter=ledger, clock=SystemClock(),
        open_streams=OpenStreams(most),
    )  # fmt: skip
    made = Dispatcher(guards)

    async def forever(call: Call, ask: Any) -> AsyncIterator[services.WatchServicesResponse]:
        yield services.WatchServicesResponse()
        await asyncio.Event().wait()

    made.handles(services.watch)(forever)
    return made


def opened(by: Dispatcher) -> Any:
    """A stream of root's."""

    async def asks() -> AsyncIterator[Callable[[], services.WatchServicesRequest]]:
        yield lambda: ASK

    return by.stream(services.watch, Caller(edge="local", request_id="r", bearer="root"), asks())


@promise("limits.streams")
async def test_a_stream_too_many_is_refused_until_another_ends() -> None:
    road = dispatcher(2)
    async with aclosing(opened(road)) as first:
        await anext(first)
        async with aclosing(opened(road)) as second:
            await anext(second)
            with pytest.raises(ResourceExhausted, match=r"root has 2 streams open.*limits\.open-streams"):
                await anext(opened(road))
        await turn()
        async with aclosing(opened(road)) as third:
            await anext(third)


def test_whatever_ends_them_is_counted_off_and_nobody_is_remembered() -> None:
    streams, ann = OpenStreams(1), Principal(id="a", name="ann")
    for _ in range(3):
        with pytest.raises(KeyError), streams.holding(ann):
            raise KeyError
    with streams.holding(ann), streams.holding(Principal(id="b", name="bob")):
        with pytest.raises(ResourceExhausted), streams.holding(ann):
            pass
    assert not streams._open  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - it must not grow with everybody who ever came
