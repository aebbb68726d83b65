"""What the dashboard costs and how quick it is, with 10,000 agents and 100,000 alerts.

The alerts and agents are put into the store's file before `runed` starts. Fifty browsers are fifty live
connections of a light client that speaks what a page speaks; one real Chromium measures what is on screen.
Each figure stands beside its bar. Times are wall clock: on a busy machine they are worse than they need be.
Run: python benchmarks/dashboard.py [--agents 10000] [--alerts 100000] [--browsers 50]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import httpx
import msgspec
import psutil
import uvloop
from playwright.async_api import Page
from websockets.asyncio.client import ClientConnection, connect

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from browser.browsing import chromium, reader
from rune.api.security import alerts
from rune.core.store.base import Put, Store
from rune.core.store.sqlite import SqliteStore
from rune.daemon.assembly import KINDS
from rune.security.kinds import Alert, Registration
from runed import Runed, runed

NOW = datetime.now(UTC)
BATCH = 2_000
ROUNDS = 15
SCROLLS = 30
PATIENCE = 30.0
"""Seconds after which the run fails instead of waiting for a browser that is not told."""
ON_SCREEN_MS, USABLE_MS, MEMORY_MIB, ROWS_MS, ELEMENTS = 500.0, 1500.0, 300.0, 500.0, 15_000
PROCESSOR_MS = 150.0
"""The bars. Elements are what a browser holds, however far it has scrolled; the processor's time is that of
one change until all browsers are told."""


class Report:
    """Prints figures beside their bars, and knows whether all of them are kept."""

    def __init__(self) -> None:
        self.kept = True

    def say(self, what: str, value: float, *, bar: float, unit: str) -> None:
        """One figure, which is better the smaller it is."""
        self.kept &= value <= bar
        verdict = "kept" if value <= bar else "MISSED"
        print(f"{what:<58} {value:>9.1f} {unit:<8} bar {bar:>7.0f}  {verdict}", flush=True)


async def fill(folder: Path, agents: int, count: int) -> None:
    """What is there before the server starts."""
    async with SqliteStore(folder / "state.db", KINDS) as store:
        for first in range(0, agents, BATCH):
            await _put(store, [_agent(number) for number in range(first, min(first + BATCH, agents))])
        for first in range(0, count, BATCH):
            some = range(first, min(first + BATCH, count))
            await _put(store, [_alert(number, number % agents) for number in some])


async def _put(store: Store, made: Sequence[Registration | Alert]) -> None:
    await store.commit(*(Put(each) for each in made), operation="fill")


def _agent(number: int) -> Registration:
    return Registration(
        organization="default", id=f"agent-{number:05d}", name=f"Agent {number}", framework="langchain",
        registered_at=NOW,
    )  # fmt: skip


def _alert(number: int, agent: int) -> Alert:
    at = NOW - timedelta(seconds=number)
    return Alert(
        organization="default", id=f"{agent:016x}.{number}", severity="high", alert_type="threat",
        title=f"Prompt injection, the {number}th", agent_id=f"agent-{agent:05d}", threat="prompt_injection",
        first_seen=at, last_seen=at,
    )  # fmt: skip


class Browser:
    """What a page speaks, without showing it: a log-in, pages, rows, and a live connection."""

    def __init__(self, server: Runed) -> None:
        self.origin = f"http://{server.http}"
        self.http = httpx.AsyncClient(base_url=self.origin, trust_env=False, timeout=60)
        self._live = f"ws://{server.http}/ui/live"

    async def enter(self, token: str) -> None:
        """Log in as the form does."""
        answer = await self.http.post("/login", data={"token": token}, headers={"origin": self.origin})
        assert answer.status_code == httpx.codes.SEE_OTHER, answer.text

    async def timed(self, path: str, part: str) -> tuple[float, str]:
        """Milliseconds until the whole answer is there, and its text."""
        begun = time.perf_counter()
        answer = await self.http.get(path, headers={"x-rune-part": part} if part else {})
        answer.raise_for_status()
        return (time.perf_counter() - begun) * 1000, answer.text

    def live(self) -> connect:
        """An open page's connection."""
        cookie = "; ".join(f"{name}={value}" for name, value in self.http.cookies.items())
        return connect(
            self._live,
            origin=self.origin,  # pyright: ignore[reportArgumentType] - an Origin is a text
            additional_headers={"cookie": cookie},
            max_size=1 << 24,
        )


async def deep(browser: Browser, path: str, steps: int) -> list[float]:
    """Milliseconds of each page of rows, one after the other, from the first on."""
    took: list[float] = []
    cursor = ""
    for _ in range(steps):
        ms, text = await browser.timed(f"{path}?{urlencode({'cursor': cursor})}" if cursor else path, "rows")
        took.append(ms)
        found = re.search(r'data-next="([^"]*)"', text)
        cursor = found[1] if found else ""
        if not cursor:
            break
    return took


async def on_screen(server: Runed, token: str, report: Report, *, count: int) -> None:
    """One real browser: the first page, changes, and what it holds after much scrolling."""
    async with chromium() as program, reader(program, server) as found:
        await found.enter(token)
        page = found.page
        for path in ("/alerts", "/agents"):
            begun = time.perf_counter()
            await found.open(path)
            await page.locator("main tbody tr").first.wait_for()
            report.say(f"{path}: open until usable (Chromium)", _since(begun), bar=USABLE_MS, unit="ms")
        await found.open("/alerts")
        took: list[float] = []
        for number in range(ROUNDS):
            at = await _changed(server, number)
            await page.wait_for_function(
                "number => !document.querySelector(`main tr[data-key$='.${number}']`)",
                arg=number,
                polling="raf",
            )
            took.append((time.perf_counter() - at) * 1000)
        took.sort()
        report.say(
            "a change on screen after the store had it, median",
            took[len(took) // 2],
            bar=ON_SCREEN_MS,
            unit="ms",
        )
        report.say("a change on screen after the store had it, worst", took[-1], bar=ON_SCREEN_MS, unit="ms")
        rows = await scrolled(page)
        held = await page.evaluate("document.querySelectorAll('*').length")
        seen = min(rows * 100, count)
        report.say(
            f"elements in the browser after scrolling past {seen} alerts", held, bar=ELEMENTS, unit="elements"
        )


async def scrolled(page: Page) -> int:
    """Scroll to the end of what is there again and again; how many hundreds of rows that brought."""
    rows = 0
    for _step in range(SCROLLS):
        await page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
        await page.wait_for_function(
            "before => document.querySelectorAll('main tbody').length > before", arg=rows, polling="raf"
        )
        rows = await page.evaluate("document.querySelectorAll('main tbody').length")
    return rows


def _since(begun: float) -> float:
    return (time.perf_counter() - begun) * 1000


async def _changed(server: Runed, number: int) -> float:
    """The newest alerts are settled one by one, and leave the board; when the call was answered."""
    asked = alerts.UpdateAlertRequest(alert_id=f"{number:016x}.{number}", status="resolved", note="seen")
    await server.call(alerts.update, asked)
    return time.perf_counter()


async def browsers(server: Runed, token: str, count: int, *, report: Report) -> None:
    """Many live connections of the alerts' page: what they cost, and that each is told."""
    daemon = psutil.Process(server_pid(server))
    async with AsyncExitStack() as stack:
        first = Browser(server)
        stack.push_async_callback(first.http.aclose)
        await first.enter(token)
        for path in ("/alerts", "/"):
            await first.timed(path, "")
        before = daemon.memory_info().rss
        clients = [Browser(server) for _ in range(count)]
        for one in clients:
            stack.push_async_callback(one.http.aclose)
        async with asyncio.TaskGroup() as group:
            for one in clients:
                group.create_task(arrive(one, token))
        sockets = [await stack.enter_async_context(one.live()) for one in clients]
        for socket in sockets:
            await socket.send(msgspec.json.encode({"path": "/alerts", "tag": ""}).decode())
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(socket.recv() for socket in sockets))
        cpu = sum(daemon.cpu_times()[:2])
        slowest: list[float] = []
        for number in range(ROUNDS, ROUNDS + 5):
            at = await _changed(server, number)
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(*(told(socket, f'.{number}\\"') for socket in sockets))
            slowest.append((time.perf_counter() - at) * 1000)
            await asyncio.sleep(2)  # people look at what they were told
        spent = (sum(daemon.cpu_times()[:2]) - cpu) * 1000 / len(slowest)
        grown = (daemon.memory_info().rss - before) / (1 << 20)
        slowest.sort()
        report.say(f"memory that {count} open browsers add to runed", grown, bar=MEMORY_MIB, unit="MiB")
        report.say(
            f"until the last of {count} was told, median",
            slowest[len(slowest) // 2],
            bar=ON_SCREEN_MS,
            unit="ms",
        )
        report.say(f"until the last of {count} was told, worst", slowest[-1], bar=ON_SCREEN_MS, unit="ms")
        report.say(f"processor time of one change, {count} open pages", spent, bar=PROCESSOR_MS, unit="ms")


async def arrive(browser: Browser, token: str) -> None:
    """Log in and open the page."""
    await browser.enter(token)
    await browser.timed("/alerts", "")


async def told(socket: ClientConnection, gone: str) -> None:
    """Read what the page is sent until the row is gone from it."""
    while gone in str(await socket.recv()):
        pass


def server_pid(server: Runed) -> int:
    """The process of a server that was started here."""
    folder = str(server.folder)
    mine = psutil.Process(os.getpid()).children()
    return next(each.pid for each in mine if folder in each.cmdline())


async def main(options: argparse.Namespace) -> bool:
    """Fill, start, measure."""
    report = Report()
    with tempfile.TemporaryDirectory(prefix="rune-dashboard-") as name:
        folder = Path(name) / "data"
        folder.mkdir(mode=0o700)
        await fill(folder, options.agents, options.alerts)
        async with runed(folder) as server:
            print(f"{options.agents} agents, {options.alerts} alerts; runed has "
                  f"{psutil.Process(server_pid(server)).memory_info().rss / (1 << 20):.0f} MiB")  # fmt: skip
            browser = Browser(server)
            await browser.enter(server.token)
            for path in ("/alerts", "/agents"):
                ms, _ = await browser.timed(path, "")
                report.say(f"{path}: the first page's answer after a start", ms, bar=USABLE_MS, unit="ms")
                took = await deep(browser, path, 40)
                report.say(f"{path}: rows, {len(took)} pages deep, last", took[-1], bar=ROWS_MS, unit="ms")
                report.say(f"{path}: rows, slowest on the way", max(took), bar=ROWS_MS, unit="ms")
            if not options.no_screen:
                await on_screen(server, server.token, report, count=options.alerts)
            await browsers(server, server.token, options.browsers, report=report)
            await browser.http.aclose()
    return report.kept


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--agents", type=int, default=10_000)
    parser.add_argument("--alerts", type=int, default=100_000)
    parser.add_argument("--browsers", type=int, default=50)
    parser.add_argument("--no-screen", action="store_true", help="without Chromium")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(0 if uvloop.run(main(parsed())) else 1)
