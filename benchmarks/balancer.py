"""What the way through the balancer costs: new connections and bytes, direct, through Rune, through haproxy.

All in one run on this machine, one client process, two copies that answer in a process of their own. The
peer is haproxy in TCP mode with one thread, when it is installed. Run it alone: the figures are of two cores.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, cast

import uvloop

from rune.orchestrator.traffic.doors import Door
from rune.orchestrator.traffic.exposure import Place
from rune.orchestrator.traffic.pool import Endpoint, Loads, Pool
from rune.orchestrator.traffic.relay import Bounds, Counts

CONNECTIONS = 3000
AT_ONCE = 32
ROUNDS = 20_000
BULK = 256 << 20
CHUNK = bytes(64 << 10)
REQUEST = b"x" * 64


class Copy(asyncio.Protocol):
    """Answers each request with as much; one that begins with B is a bulk request."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.left = 0
        self.paused = False

    def data_received(self, data: bytes) -> None:
        if data[:1] == b"B":
            self.left = BULK
            self.transport.set_write_buffer_limits(high=1 << 20)
            self.more()
        else:
            self.transport.write(data)

    def more(self) -> None:
        self.paused = False
        while self.left and not self.paused:
            self.left -= len(CHUNK)
            self.transport.write(CHUNK)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.more()


def copies(pipe: Connection) -> None:
    """Two copies in a process of their own."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        servers = [await loop.create_server(Copy, f"127.100.0.{n}", 0, backlog=1024) for n in (1, 2)]
        pipe.send([server.sockets[0].getsockname() for server in servers])
        await asyncio.Event().wait()

    uvloop.run(run())


def balancer(pipe: Connection, places: list[tuple[str, int]]) -> None:
    """Rune's door in a process of its own, as it is in runed."""

    async def run() -> None:
        pool = Pool(Loads())
        pool.fill([Endpoint(str(number), *place) for number, place in enumerate(places)])
        async with asyncio.TaskGroup() as group:
            door = Door(Place("127.0.0.1", 0), pool, Counts(), spawn=group.create_task, bounds=Bounds())
            door.open()
            pipe.send(tuple(door.place))
            await asyncio.Event().wait()

    uvloop.run(run())


class Figures(NamedTuple):
    """What one way did."""

    connections: float
    requests: float
    p99: float
    bulk: float


async def measure(place: tuple[str, int]) -> Figures:
    """Connections a second, requests a second on one of them, their p99 in µs, and MB a second."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def once() -> None:
        async with gate:
            reader, writer = await asyncio.open_connection(*place)
            writer.write(REQUEST)
            await reader.readexactly(len(REQUEST))
            writer.close()
            await writer.wait_closed()

    start = time.perf_counter()
    await asyncio.gather(*(once() for _ in range(CONNECTIONS)))
    connections = CONNECTIONS / (time.perf_counter() - start)
    requests, p99, bulk = await asyncio.to_thread(talk, place)
    return Figures(connections, requests, p99, bulk)


def talk(place: tuple[str, int]) -> tuple[float, float, float]:
    """One connection with plain sockets: small requests, then a long answer."""
    took: list[float] = []
    with socket.create_connection(place) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        start = time.perf_counter()
        for _ in range(ROUNDS):
            before = time.perf_counter()
            sock.sendall(REQUEST)
            sock.recv(1024)
            took.append(time.perf_counter() - before)
        requests = ROUNDS / (time.perf_counter() - start)
        start = time.perf_counter()
        sock.sendall(b"B")
        left, buffer = BULK, bytearray(1 << 20)
        while left:
            left -= sock.recv_into(buffer)
        bulk = BULK / 1e6 / (time.perf_counter() - start)
    return requests, sorted(took)[int(ROUNDS * 0.99)] * 1e6, bulk


def haproxy(
    folder: Path, places: list[tuple[str, int]]
) -> tuple[subprocess.Popen[bytes], tuple[str, int]] | None:
    """The peer, listening; None when it is not installed."""
    program = shutil.which("haproxy")
    if program is None:
        return None
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    servers = "\n".join(f"  server s{n} {host}:{port_}" for n, (host, port_) in enumerate(places))
    config = folder / "haproxy.cfg"
    times = "  timeout connect 2s\n  timeout client 1h\n  timeout server 1h\n"
    config.write_text(
        f"global\n  nbthread 1\n  maxconn 8192\ndefaults\n  mode tcp\n{times}"
        f"listen it\n  bind 127.0.0.1:{port}\n  balance leastconn\n{servers}\n"
    )
    process = subprocess.Popen([program, "-db", "-q", "-f", str(config)])
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            continue
        return process, ("127.0.0.1", port)
    return None


def started(target: Callable[..., None], *args: object) -> tuple[BaseProcess, Any]:
    """A process, and the first thing it says."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=target, args=(theirs, *args), daemon=True)
    process.start()
    return process, ours.recv()


def main() -> None:
    """Print a line for each way, twice, so that a disturbed round shows."""
    back, places = started(copies)
    door, place = started(balancer, places)
    with TemporaryDirectory() as folder:
        peer = haproxy(Path(folder), places)
        ways = {"direct": places[0], "rune": place} | ({"haproxy": peer[1]} if peer else {})
        print(f"{'':10}{'conn/s':>10}{'req/s':>10}{'p99 µs':>10}{'MB/s':>10}")
        for _ in range(2):
            for name, where in ways.items():
                seen = uvloop.run(measure(where))
                print(
                    f"{name:10}{seen.connections:10.0f}{seen.requests:10.0f}{seen.p99:10.0f}{seen.bulk:10.0f}"
                )
        if peer:
            peer[0].terminate()
            peer[0].wait()
        else:
            print("haproxy is not installed", file=sys.stderr)
    for process in (door, back):
        process.terminate()


if __name__ == "__main__":
    main()
