"""Durable events a second over HTTP: a real runed with its API key, against the least that could do it.

Both sides are processes of their own on the same disk, served by the same uvicorn set-up, and get batches of
50 over 16 connections in turns from one light load process. Latencies are those of the load. Processor time
is given beside the rate since a busy machine distorts it less.
Run: python benchmarks/events_http.py [--seconds 4] [--rounds 3] [--organizations 30] [--once]
`--organizations N` instead sends for each of N organizations what it may send, 1,000 events a second, and
asks for its alerts meanwhile. `--once` gives the bare side a unique index: it then stores an event once, too.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psutil
import uvloop
from events_load import Plan, Tally, load

HERE = Path(__file__).parent
UNLIMITED = {"RUNE_LIMITS_EVENTS_PER_SECOND": "0", "RUNE_LIMITS_READS_PER_MINUTE": "0"}
LEAST_RATE = 30_000
LEAST_RATIO = 0.7
MOST_MS = 100.0
MOST_ALERTS_MS = 25.0
A_SECOND = 20
"""Batches of 50 that an organization may send."""


class Side(msgspec.Struct):
    """A server that runs."""

    port: int
    process: psutil.Process
    keys: list[str] = []
    told: dict[str, Any] = {}
    serial: int = 1
    tallies: list[Tally] = []
    costs: list[float] = []
    """Microseconds of its processor for each event."""

    async def turn(self, **plan: Any) -> Tally:
        """One load; what it took is kept."""
        asked = Plan(port=self.port, keys=self.keys, serial=self.serial, **plan)
        before = self.used()
        tally = await load(asked, str(HERE / "events_load.py"))
        self.serial = tally.serial + 1
        self.tallies.append(tally)
        self.costs.append((self.used() - before) / max(1, sum(tally.accepted.values())) * 1e6)
        return tally

    def used(self) -> float:
        """Seconds of its processor so far."""
        times = self.process.cpu_times()
        return times.user + times.system


@contextmanager
def bare(folder: Path, *, once: bool) -> Generator[Side]:
    """The least."""
    folder.mkdir()
    command = [sys.executable, str(HERE / "events_bare.py"), str(folder), *(["once"] if once else [])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield Side(int(process.stdout.readline()), psutil.Process(process.pid), keys=["rune_live_none"])
        process.stdin.close()
        process.wait(10)


@contextmanager
def runed(folder: Path, settings: dict[str, str]) -> Generator[Side]:
    """A real one, with its first API key."""
    reader, writer = os.pipe()
    command = [
        sys.executable, "-m", "rune.daemon", "--dev", "--data-dir", str(folder), "--ready-fd", str(writer),
        "--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0",
    ]  # fmt: skip
    with folder.with_suffix(".log").open("wb") as log:
        environ = {**os.environ, **settings}
        process = subprocess.Popen(command, pass_fds=[writer], stderr=log, env=environ)
    os.close(writer)
    try:
        with os.fdopen(reader, encoding="utf-8") as ready:
            line = ready.readline()
        if not line:
            raise SystemExit(folder.with_suffix(".log").read_text(encoding="utf-8")[-2000:])
        told = json.loads(line)
        port = int(told["http"].rpartition(":")[2])
        yield Side(port, psutil.Process(process.pid), keys=[told["api_key"]], told=told)
    finally:
        process.terminate()
        process.wait(30)


async def compare(folder: Path, asked: argparse.Namespace) -> bool:
    """Both sides in turns."""
    plan = {"seconds": asked.seconds, "warm_up": asked.warm_up, "connections": asked.connections}
    with bare(folder / "bare", once=asked.once) as least, runed(folder / "runed", UNLIMITED) as ours:
        for _ in range(asked.rounds):
            for side in (least, ours):
                await side.turn(**plan)
    ratios = [_rate(our) / _rate(their) for our, their in zip(ours.tallies, least.tallies, strict=True)]
    _show("bare", least)
    _show("runed", ours)
    ratio, cost = statistics.median(ratios), statistics.median(least.costs) / statistics.median(ours.costs)
    spread = f"(of {asked.rounds} turns, {min(ratios):.2f} to {max(ratios):.2f})"
    print(f"ratio {ratio:.2f} {spread}, by processor time {cost:.2f}")
    rate, p99 = (statistics.median(map(each, ours.tallies)) for each in (_rate, _p99))
    return ratio >= LEAST_RATIO and rate >= LEAST_RATE and p99 <= MOST_MS


async def many(folder: Path, asked: argparse.Namespace) -> bool:
    """Every organization sends what it may, while somebody looks at alerts."""
    with runed(folder / "runed", {"RUNE_LIMITS_READS_PER_MINUTE": "0"}) as ours:
        ours.keys = await keys(ours, asked.organizations)
        count = asked.organizations
        looking = asyncio.create_task(looks(ours))
        tally = await ours.turn(
            seconds=asked.seconds, warm_up=asked.warm_up, connections=count, pace=float(A_SECOND)
        )
        looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await looking
    _show("runed", ours)
    ordered = sorted(LOOKS[len(LOOKS) // 8 :])
    p99 = ordered[int(len(ordered) * 0.99)]
    p50 = ordered[len(ordered) // 2]
    print(f"GET /v1/alerts meanwhile: {len(ordered)} calls, p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    refused = {status: n for status, n in tally.statuses.items() if status not in ("202", "429")}
    print(f"{count} organizations at {A_SECOND * 50} events/s each; statuses {tally.statuses}")
    return not refused and p99 <= MOST_ALERTS_MS and tally.p99 <= MOST_MS


LOOKS: list[float] = []


async def looks(side: Side) -> None:
    """Ask for alerts, one organization after the other, twenty times a second."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{side.port}") as http:
        while True:
            for key in side.keys:
                began = time.perf_counter()
                answer = await http.get("/v1/alerts", headers={"x-rune-key": key})
                LOOKS.append((time.perf_counter() - began) * 1000)
                answer.raise_for_status()
                await asyncio.sleep(0.05)


async def keys(side: Side, count: int) -> list[str]:
    """So many organizations, with a key each."""
    headers = {"authorization": f"Bearer {side.told['token']}"}
    made: list[str] = []
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{side.port}", headers=headers) as http:
        await http.post(
            "/v1/organizations/update", json={"name": "default", "limits": {"writesPerMinute": 9000}}
        )
        for number in range(count):
            name = f"org-{number}"
            (await http.post("/v1/organizations", json={"name": name})).raise_for_status()
            answer = await http.post("/v1/apikeys", json={"name": "load", "organization": name})
            made.append(answer.raise_for_status().json()["key"])
    return made


def _rate(tally: Tally) -> float:
    return tally.events / tally.seconds


def _p99(tally: Tally) -> float:
    return tally.p99


def _show(name: str, side: Side) -> None:
    tallies: Sequence[Tally] = side.tallies
    rates = [_rate(each) for each in tallies]
    cost = statistics.median(side.costs)
    p50, p99 = (statistics.median(each) for each in ([t.p50 for t in tallies], [t.p99 for t in tallies]))
    spread = f"({min(rates):,.0f} to {max(rates):,.0f})"
    rate = f"{name:6} {statistics.median(rates):8,.0f} events/s {spread}"
    print(f"{rate}  p50 {p50:.1f} ms  p99 {p99:.1f} ms  {cost:.1f} us of its processor an event")
    bad = {status for each in tallies for status in each.statuses} - {"202"}
    if bad:
        print(f"       answered {bad} too")


def main() -> int:
    """Print the figures; 1 when one of them is not reached."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--warm-up", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--organizations", type=int, default=0)
    parser.add_argument("--once", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        side = many if asked.organizations else compare
        return 0 if uvloop.run(side(Path(folder), asked)) else 1


if __name__ == "__main__":
    sys.exit(main())
