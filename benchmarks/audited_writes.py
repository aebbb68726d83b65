"""What the audit log costs a change: the same calls with a log and with none, in one run, in turns.

Each call goes the whole road of the dispatcher and makes one namespace in a store on disk. Its record is in
the change's own transaction: it costs bytes, a hash and the processor, and no wait.
Run: python benchmarks/audited_writes.py
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop

from rune.api import Operation
from rune.api.fields import Message
from rune.api.orchestrator import namespaces as api
from rune.core.access import Principal, rule
from rune.core.audit import Audit
from rune.core.call import Call, Caller
from rune.core.chain import Seal
from rune.core.clock import SystemClock
from rune.core.dispatch import Dispatcher, Guards
from rune.core.limits import Level
from rune.core.store.base import Put
from rune.core.store.sqlite import SqliteStore
from rune.core.tokens import Token
from rune.errors import RuneError

CALLS = {1: 300, 32: 3000}
TURNS = 5
BAR = 0.75
KINDS = (api.Namespace, Seal, Token)
CALLER = Caller(edge="local", request_id="r", is_local=True)


class Open:
    """Lets everybody in, counts nothing, and keeps no log."""

    def __init__(self) -> None:
        self._root = Principal(id="root", name="root", rules=(rule("*", ["*"], "*"),))

    def authenticate(self, caller: Caller) -> Principal:
        return self._root

    def lost(self, principal: Principal) -> asyncio.Event:
        return asyncio.Event()

    def take(self, operation: Operation[Any, Any], principal: Principal, weight: int = 1) -> Level | None:
        return None

    def observe(self, operation: Operation[Any, Any], outcome: str, seconds: float) -> None: ...

    async def record(self, call: Call, ask: Message | None, outcome: RuneError | None) -> None: ...


async def measured(*, at_once: int, is_audited: bool) -> tuple[float, float]:
    """Calls a second, and microseconds of the processor for each."""
    with tempfile.TemporaryDirectory(prefix="writes-") as folder:
        async with SqliteStore(Path(folder) / "state.db", KINDS) as store:
            clock, door, audit = SystemClock(), Open(), Audit(store, SystemClock())
            if is_audited:
                await audit.begin()
            guards = Guards(
                identity=door, limits=door, audit=audit if is_audited else door, meter=door, clock=clock
            )
            seconds, processor = await run(Dispatcher(guards), store, at_once)
            assert not is_audited or (await audit.verify()).problem == ""
    return CALLS[at_once] / seconds, processor / CALLS[at_once] * 1e6


async def run(dispatcher: Dispatcher, store: SqliteStore, at_once: int) -> tuple[float, float]:
    """The calls; seconds of the clock and of the processor."""

    @dispatcher.handles(api.create)
    async def create(call: Call, ask: api.CreateNamespaceRequest) -> api.CreateNamespaceResponse:
        await store.commit(Put(ask.namespace), operation=call.operation.permission)
        return api.CreateNamespaceResponse()

    numbers = iter(range(CALLS[at_once]))

    async def work() -> None:
        for number in numbers:
            ask = api.CreateNamespaceRequest(namespace=api.Namespace(name=f"n{number}"))
            await dispatcher.call(api.create, CALLER, lambda ask=ask: ask)

    begin, processor = time.perf_counter(), time.process_time()
    await asyncio.gather(*(work() for _ in range(at_once)))
    return time.perf_counter() - begin, time.process_time() - processor


async def main() -> None:
    """Take turns, then print both sides."""
    for at_once in CALLS:
        found: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
        for _ in range(TURNS):
            for is_audited, figures in found.items():
                figures.append(await measured(at_once=at_once, is_audited=is_audited))
        pairs = zip(found[True], found[False], strict=True)
        ratio = statistics.median(one[0] / other[0] for one, other in pairs)
        print(f"{at_once} at once: {ratio:.2f} of the calls a second with the audit log (bar {BAR:g})")
        for is_audited, figures in found.items():
            calls, processor = (statistics.median(column) for column in zip(*figures, strict=True))
            side = "with" if is_audited else "without"
            print(f"  {side:8} {calls:6.0f}/s, {processor:4.0f} µs of the processor each")


if __name__ == "__main__":
    uvloop.run(main())
