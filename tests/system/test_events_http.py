"""Events over real connections to a real runed: nothing acknowledged is lost, and limits hold exactly."""

from __future__ import annotations

import asyncio
import itertools
import random
import signal
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import msgspec
import pytest

from promises import promise
from rune.api.security import apikeys
from runed import Runed, runed
from secured import event, injection

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]
BATCH = 20


@asynccontextmanager
async def connections(server: Runed, count: int) -> AsyncGenerator[httpx.AsyncClient]:
    """So many connections with a key of the default organization."""
    made = await server.call(apikeys.create, apikeys.CreateApiKeyRequest(name="load"))
    limits = httpx.Limits(max_connections=count, max_keepalive_connections=count)
    headers = {"x-rune-key": made.key}
    async with httpx.AsyncClient(
        base_url=f"http://{server.http}", headers=headers, limits=limits, timeout=30.0
    ) as http:
        yield http


def batch(name: str) -> list[dict[str, Any]]:
    """Events whose ids tell which batch they are of; one of them raises an alert."""
    made = [event("bot", event_id=f"{name}-{number}") for number in range(BATCH - 1)]
    return [*made, injection("bot", event_id=f"{name}-{BATCH - 1}")]


async def sender(http: httpx.AsyncClient, name: str, acknowledged: list[str]) -> None:
    """Batch after batch until the server is gone."""
    for number in itertools.count():
        try:
            answer = await http.post("/v1/events", json={"events": batch(f"{name}.{number}")})
        except httpx.TransportError:
            return
        assert (answer.status_code, answer.json()) == (202, {"accepted": BATCH})
        acknowledged.append(f"{name}.{number}")


async def stored(http: httpx.AsyncClient) -> list[str]:
    """The ids of all events."""
    found: list[str] = []
    cursor = ""
    while True:
        page = (await http.get("/v1/events", params={"limit": 200, "cursor": cursor})).json()
        found += [each["event_id"] for each in page["events"]]
        cursor = page.get("next_cursor")
        if not cursor:
            return found


async def check(http: httpx.AsyncClient, acknowledged: Sequence[str]) -> None:
    """Every acknowledged batch is there, none is there in part, none twice, and the counters say the same."""
    found = await stored(http)
    assert {f"{name}-{number}" for name in acknowledged for number in range(BATCH)} <= set(found)
    assert len(found) == len(set(found))
    assert len(found) % BATCH == 0
    (agent,) = (await http.get("/v1/agents")).json()["agents"]
    assert agent["eventCount"] == len(found)
    async with asyncio.timeout(10):
        while (await http.get("/v1/alerts")).json()["alerts"][0]["occurrences"] < len(found) // BATCH:
            await asyncio.sleep(0.05)
    (alert,) = (await http.get("/v1/alerts")).json()["alerts"]
    assert alert["occurrences"] == len(found) // BATCH


@promise("events.durable")
@pytest.mark.parametrize("seed", range(2))
async def test_whatever_a_killed_server_acknowledged_is_found_again(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RUNE_LIMITS_EVENTS_PER_SECOND", "RUNE_LIMITS_READS_PER_MINUTE"):
        monkeypatch.setenv(name, "0")
    chance, acknowledged = random.Random(seed), list[str]()
    async with runed(tmp_path / "data") as server:
        for run in range(3):
            enough = len(acknowledged) + chance.randrange(1, 150)
            async with connections(server, 8) as http, asyncio.TaskGroup() as group:
                for number in range(8):
                    group.create_task(sender(http, f"{run}.{number}", acknowledged))
                while len(acknowledged) < enough:
                    await asyncio.sleep(0.001)
                await server.end(signal.SIGKILL)
            await server.start("--dev")
            async with connections(server, 1) as http:
                await check(http, acknowledged)
                again = await http.post("/v1/events", json={"events": batch(acknowledged[-1])})
                assert again.json() == {"accepted": BATCH}
                await check(http, acknowledged)


@promise("events.limit")
async def test_a_limit_lets_through_neither_more_nor_noticeably_less_over_many_connections(
    tmp_path: Path,
) -> None:
    """1,000 events a second and as many at once, asked for by 64 connections that never rest."""
    size, seconds = 25, 4.0
    template = msgspec.json.encode({"events": [event(event_id=f"NAME-{n}") for n in range(size)]})
    kind = {"content-type": "application/json"}
    accepted: list[float] = []  # when the answer was there
    refused: list[float] = []  # when the request went off
    names = itertools.count()
    async with runed(tmp_path / "data") as server, connections(server, 64) as http:
        began = monotonic()

        async def ask() -> None:
            while monotonic() < began + seconds:
                body = template.replace(b"NAME", str(next(names)).encode())
                sent = monotonic()
                answer = await http.post("/v1/events", content=body, headers=kind)
                assert answer.status_code in (202, 429), answer.text
                if answer.status_code == 202:
                    accepted.append(monotonic())
                else:
                    refused.append(sent)

        async with asyncio.TaskGroup() as group:
            for _ in range(64):
                group.create_task(ask())
    let_through = len(accepted) * size
    assert let_through <= 1_000 * (1 + accepted[-1] - began), "never more than the limit"
    # The bucket was full when the first was let through, and all but empty when the last was refused.
    assert let_through >= 0.99 * 1_000 * (1 + max(refused) - accepted[0]), "never noticeably less"
