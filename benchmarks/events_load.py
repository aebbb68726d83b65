"""A light load of POST /v1/events in a process of its own: ready bytes over plain sockets, no HTTP library.

Reads one line of JSON (a Plan) from stdin, sends for so many seconds, and writes one line of JSON (a Tally).
With a pace every connection sends at that rate, whatever the answers take; without one it sends again as soon
as it is answered.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import msgspec
import uvloop
from events_sample import Source

from rune.core.events.event import Event

AGENTS = 200
TEMPLATES = 100
MARK = b"00000000c0de"
"""The end of every id in a template; a serial takes its place."""
APART = timedelta(milliseconds=20)


class Plan(msgspec.Struct, kw_only=True):
    """What to send, where and for how long."""

    port: int
    keys: list[str]
    """One for each organization; connections share them out."""
    connections: int = 16
    batch: int = 50
    seconds: float = 5.0
    warm_up: float = 1.0
    """Seconds before anything counts."""
    pace: float = 0.0
    """Batches a second of each connection; 0 is as fast as it goes."""
    serial: int = 0
    """Where ids begin, so that no event of an earlier run comes again."""


class Tally(msgspec.Struct, kw_only=True):
    """What came of it; latencies are in milliseconds, from the first byte sent to the last byte read."""

    events: int
    seconds: float
    statuses: dict[str, int]
    accepted: dict[str, int]
    """Events that were acknowledged, by key."""
    p50: float
    p99: float
    worst: float
    cpu: float
    """Seconds of processor that the load itself took."""
    lasted: float
    """Seconds from the first byte sent to the last answer, the warm-up too."""
    serial: int


def bodies(batch: int, at: datetime) -> list[bytes]:
    """Batches as a Shield sends them, their ids ending in MARK."""
    source = Source(AGENTS)
    made: list[bytes] = []
    for number in range(TEMPLATES):
        events = [_marked(event) for event in source.batch(batch, at + APART * number, apart=APART)]
        made.append(b'{"events":' + msgspec.json.encode(events) + b"}")
    return made


def _marked(event: Event) -> Event:
    return msgspec.structs.replace(event, event_id=event.event_id[:24] + MARK.decode())


class Load:
    """Everything that the connections share."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.serials = itertools.count(plan.serial)
        self.bodies: Iterator[bytes] = itertools.cycle(bodies(plan.batch, datetime.now(UTC)))
        self.heads = {key: _head(key) for key in plan.keys}
        self.counting = False
        self.took: list[float] = []
        self.began = self.ended = 0.0
        self.statuses: dict[str, int] = {}
        self.accepted = dict.fromkeys(plan.keys, 0)

    def request(self, key: str) -> bytes:
        """The next batch for a key."""
        body = next(self.bodies).replace(MARK, b"%012x" % next(self.serials))
        return b"%bContent-Length: %d\r\n\r\n%b" % (self.heads[key], len(body), body)

    def answered(self, key: str, status: str, seconds: float) -> None:
        """One answer came."""
        self.ended = time.perf_counter()
        if self.counting:
            self.took.append(seconds)
            self.statuses[status] = self.statuses.get(status, 0) + 1
        if status == "202":
            self.accepted[key] += self.plan.batch


def _head(key: str) -> bytes:
    return (
        f"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nX-Rune-Key: {key}\r\n"
        "Content-Type: application/json\r\nUser-Agent: load\r\n"
    ).encode()


class Connection(asyncio.Protocol):
    """One connection; requests that it sends before an answer has come are answered in their order."""

    def __init__(self, load: Load, key: str) -> None:
        self._load, self._key = load, key
        self._seen = b""
        self._sent: list[float] = []
        self._transport = cast("asyncio.Transport", None)
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True

    def send(self) -> None:
        """One batch."""
        self._sent.append(time.perf_counter())
        self._transport.write(self._load.request(self._key))

    def close(self) -> None:
        """Let go."""
        self._transport.close()

    @property
    def is_idle(self) -> bool:
        """It waits for no answer."""
        return not self._sent

    def data_received(self, data: bytes) -> None:
        self._seen += data
        while (answer := self._answer()) is not None:
            self._load.answered(self._key, answer, time.perf_counter() - self._sent.pop(0))
            if not self._load.plan.pace and not self.closed:
                self.send()

    def _answer(self) -> str | None:
        """The status of the first answer that is here whole."""
        end = self._seen.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = self._seen[:end].lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(self._seen) < end + 4 + length:
            return None
        self._seen = self._seen[end + 4 + length :]
        return head[9:12].decode()


async def run(plan: Plan) -> Tally:
    """The whole load."""
    loop, load = asyncio.get_running_loop(), Load(plan)
    opened = await _opened(load)
    load.began = time.perf_counter()
    drivers: list[asyncio.Task[None]] = []
    for number, connection in enumerate(opened):
        if plan.pace:
            drivers.append(loop.create_task(_paced(connection, plan.pace, number / len(opened))))
        else:
            connection.send()
    await asyncio.sleep(plan.warm_up)
    load.counting, began, cpu = True, time.perf_counter(), time.process_time()
    await asyncio.sleep(plan.seconds)
    load.counting, took, cpu = False, time.perf_counter() - began, time.process_time() - cpu
    for driver in drivers:
        driver.cancel()
    load.plan = msgspec.structs.replace(plan, pace=1.0)  # nobody sends again
    for connection in opened:
        while not connection.is_idle and not connection.closed:  # noqa: ASYNC110 - at the end, once
            await asyncio.sleep(0.01)
        connection.close()
    return _tally(load, took, cpu)


async def _opened(load: Load) -> Sequence[Connection]:
    loop, keys = asyncio.get_running_loop(), itertools.cycle(load.plan.keys)
    made: list[Connection] = []
    for key in itertools.islice(keys, load.plan.connections):
        _, each = await loop.create_connection(
            lambda key=key: Connection(load, key), "127.0.0.1", load.plan.port
        )
        made.append(each)
    return made


async def _paced(connection: Connection, pace: float, offset: float) -> None:
    """Send at fixed times: a late answer does not slow the load down."""
    began = time.perf_counter() + offset / pace
    for number in itertools.count():
        await asyncio.sleep(max(0.0, began + number / pace - time.perf_counter()))
        if connection.closed:
            return
        connection.send()


def _tally(load: Load, took: float, cpu: float) -> Tally:
    times = sorted(1000 * each for each in load.took) or [0.0]
    return Tally(
        events=load.statuses.get("202", 0) * load.plan.batch,
        seconds=took,
        statuses=load.statuses,
        accepted=load.accepted,
        p50=times[len(times) // 2],
        p99=times[int(len(times) * 0.99)],
        worst=times[-1],
        cpu=cpu,
        lasted=load.ended - load.began,
        serial=next(load.serials),
    )


async def load(plan: Plan, script: str = __file__) -> Tally:
    """Run the plan in a process of its own."""
    pipe: Any = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(sys.executable, script, stdin=pipe, stdout=pipe)
    told, _ = await child.communicate(msgspec.json.encode(plan))
    if child.returncode:
        raise SystemExit("the load failed")
    return msgspec.json.decode(told, type=Tally)


if __name__ == "__main__":
    tally = uvloop.run(run(msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)))
    sys.stdout.buffer.write(msgspec.json.encode(tally))
