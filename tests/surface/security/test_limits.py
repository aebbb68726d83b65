"""Limits of organizations: exact, in events where events are meant, and apart for agents and people."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import httpx
import pytest

from promises import promise
from rune.core.clock import ManualClock
from rune.core.limits import Quota
from rune.server.http import HttpDoor, HttpOptions
from secured import Secured, event, secured

pytestmark = promise("security.limits")

QUOTAS = {
    "read": Quota(count=100),
    "write": Quota(count=30),
    "events": Quota(count=1000, seconds=1),
    "sdk": Quota(count=6000),
}
CONNECTIONS = 64


@pytest.fixture
async def limited() -> AsyncIterator[Secured]:
    """With the limits of the contract, and a clock that stands still."""
    async with secured(ManualClock(), quotas=QUOTAS) as plane:
        yield plane


async def everywhere(plane: Secured, key: str, ask: httpx.Request, times: int) -> Counter[int]:
    """The statuses of so many requests, from 64 connections at once."""
    door = HttpDoor(plane.app, plane.rest.streams, HttpOptions(port=0))
    port = await door.open()
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}",
        headers={"x-rune-key": key},
        limits=httpx.Limits(max_connections=CONNECTIONS),
        timeout=30,
    ) as http:

        async def once() -> int:
            made = http.build_request(ask.method, ask.url.raw_path.decode(), content=ask.content)
            made.headers["content-type"] = "application/json"
            return (await http.send(made)).status_code

        found = Counter(await asyncio.gather(*(once() for _ in range(times))))
    await door.close(1)
    return found


@promise("security.limits")
@pytest.mark.system
async def test_reads_and_writes_are_counted_exactly_over_64_connections(limited: Secured) -> None:
    key = await limited.key()
    read = httpx.Request("GET", "http://runed/v1/agents")
    assert await everywhere(limited, key, read, 200) == {200: 100, 429: 100}
    write = httpx.Request("POST", "http://runed/v1/policies/validate", json={"yamlContent": "version: x"})
    assert await everywhere(limited, key, write, 128) == {200: 30, 429: 98}


@pytest.mark.system
async def test_events_are_counted_in_events_over_64_connections(limited: Secured) -> None:
    key = await limited.key()
    body = {"events": [event(event_id=f"evt_{number}") for number in range(30)]}
    batch = httpx.Request("POST", "http://runed/v1/events", json=body)
    assert await everywhere(limited, key, batch, 100) == {202: 33, 429: 67}
    one = httpx.Request("POST", "http://runed/v1/events", json={"events": [event()]})
    assert await everywhere(limited, key, one, 64) == {202: 10, 429: 54}


async def test_answers_say_what_is_left_and_when_to_come_again() -> None:
    clock = ManualClock()
    async with secured(clock, quotas={"read": Quota(count=2)}) as plane:
        async with plane.client(await plane.key()) as http:
            first = await http.get("/v1/agents")
            assert first.headers["ratelimit-limit"] == "2"
            assert first.headers["ratelimit-remaining"] == "1"
            await http.get("/v1/agents")
            refused = await http.get("/v1/agents")
            assert refused.status_code == 429
            assert refused.headers["retry-after"] == "31"
            assert refused.headers["ratelimit-remaining"] == "0"
            assert "limit for read calls reached" in refused.json()["error"]
            clock.advance(31)
            assert (await http.get("/v1/agents")).status_code == 200


async def test_agents_that_sync_never_starve_people_and_no_organization_another(limited: Secured) -> None:
    key, other = await limited.key(), await limited.organization("acme")
    async with limited.client(key) as http, limited.client(other) as theirs:
        for _ in range(150):
            assert (await http.get("/v1/sdk/bundle")).status_code == 200
        statuses = Counter([(await http.get("/v1/agents")).status_code for _ in range(120)])
        assert statuses == {200: 100, 429: 20}
        assert (await http.get("/health")).status_code == 200
        assert (await http.post("/v1/events", json={"events": [event()]})).status_code == 202
        assert (await theirs.get("/v1/agents")).status_code == 200


async def test_an_organization_can_have_limits_of_its_own(limited: Secured) -> None:
    key = await limited.organization("acme")
    async with limited.client() as root, limited.client(key) as http:
        wish = {"name": "acme", "limits": {"readsPerMinute": 3}}
        assert (await root.post("/v1/organizations/update", json=wish)).json() == {"updated": True}
        statuses = [(await http.get("/v1/agents")).status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
