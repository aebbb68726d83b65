"""API keys: what each may do, how they are kept, and that revoking counts at once."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from promises import promise
from rune.api import OPERATIONS, Access, Effect
from rune.core.apikeys import ApiKey
from rune.core.clock import ManualClock
from rune.core.tokens import SYSTEM, digest
from secured import POLICY, Secured, event, secured

pytestmark = promise("security.keys")

WRITES: dict[str, tuple[str, dict[str, Any]]] = {
    "agents:write": ("/v1/agents", {"agentId": "a"}),
    "policies:write": ("/v1/policies", {"name": "p", "yamlContent": POLICY}),
    "alerts:write": ("/v1/alerts/update", {"alertId": "none", "status": "open"}),
}
READS = ("/v1/agents", "/v1/policies", "/v1/alerts", "/v1/events", "/v1/sdk/bundle", "/v1/stats/overview")


@promise("security.permissions")
@pytest.mark.parametrize("permission", WRITES)
async def test_a_permission_lets_a_key_write_just_that(plane: Secured, permission: str) -> None:
    async with plane.client(await plane.key(permissions=[permission])) as http:
        for each, (path, body) in WRITES.items():
            answer = await http.post(path, json=body)
            assert (answer.status_code == 403) is (each != permission), answer.text
            if each != permission:
                assert answer.json()["error"] == f"API key lacks required permission: {each}"
        for path in READS:
            assert (await http.get(path)).status_code == 200, path
        validated = await http.post("/v1/policies/validate", json={"yamlContent": POLICY})
        assert validated.json()["valid"] is True
        assert (await http.post("/v1/events", json={"events": [event()]})).status_code == 202


async def test_a_key_without_permissions_may_write_everything_but_keys_and_tenants(plane: Secured) -> None:
    async with plane.client(await plane.key()) as http:
        for path, body in WRITES.values():
            assert (await http.post(path, json=body)).status_code in (201, 404)
        for path in ("/v1/apikeys", "/v1/organizations"):
            assert (await http.get(path)).status_code == 403
            assert (await http.post(path, json={"name": "x"})).status_code == 403


async def test_a_key_opens_nothing_of_the_orchestrator(plane: Secured) -> None:
    key = await plane.key()
    refused = 0
    async with plane.client(key) as http:
        for row in OPERATIONS:
            if row.is_security or row.http is None or row.access is Access.PUBLIC or row.streams:
                continue
            if row.effect is Effect.READ and not row.http.parameters and row.http.verb == "GET":
                refused += 1
                assert (await http.get(row.http.path)).status_code == 403, row.name
    assert refused > 3


async def test_a_token_with_the_right_grant_works_as_well(plane: Secured) -> None:
    async with plane.client() as http:
        assert (await http.post("/v1/agents", json={"agentId": "a"})).status_code == 201
        assert (await http.get("/v1/agents")).json()["agents"][0]["agentId"] == "a"


@promise("security.keys")
async def test_a_key_is_shown_once_and_stored_as_a_hash(plane: Secured) -> None:
    async with plane.client() as http:
        made = (await http.post("/v1/apikeys", json={"name": "ci"})).json()
        assert re.fullmatch(r"rune_live_[A-Za-z0-9_-]{43}", made["key"])
        test = (await http.post("/v1/apikeys", json={"name": "ci", "test": True})).json()
        assert test["key"].startswith("rune_test_")
        listed = (await http.get("/v1/apikeys")).text
    stored = plane.store.get(ApiKey, SYSTEM, made["prefix"])
    assert stored.hash == digest(made["key"])
    assert made["prefix"] in listed
    for text in (listed, repr(stored), str(msgspec.structs.asdict(stored))):
        assert made["key"] not in text
    assert stored.hash not in repr(stored)


async def test_a_key_with_a_right_prefix_and_a_wrong_secret_is_refused(plane: Secured) -> None:
    key = await plane.key()
    async with plane.client(key[:-1] + ("A" if key[-1] != "A" else "B")) as http:
        assert (await http.get("/v1/agents")).status_code == 401


async def test_revoking_counts_from_the_next_request_and_ends_streams(plane: Secured) -> None:
    async with plane.client() as root:
        made = (await root.post("/v1/apikeys", json={"name": "ci"})).json()
        async with plane.client(made["key"]) as http:
            assert (await http.get("/v1/agents")).status_code == 200
            streaming = asyncio.ensure_future(http.get("/v1/sdk/stream", timeout=10))
            async with asyncio.timeout(5):
                while not plane.identity.waited_for:
                    await asyncio.sleep(0)
            answer = await root.post("/v1/apikeys/revoke", json={"apiKeyId": made["id"]})
            assert answer.json() == {"updated": True}
            assert (await http.get("/v1/agents")).status_code == 401
            ended = await streaming
    assert "the credential was revoked" in ended.text


async def test_an_expired_key_is_refused() -> None:
    clock = ManualClock()
    async with secured(clock) as plane:
        async with plane.client(await plane.key(expires_in_seconds=60)) as http:
            assert (await http.get("/v1/agents")).status_code == 200
            clock.advance(timedelta(minutes=1).total_seconds())
            assert (await http.get("/v1/agents")).status_code == 401


async def test_an_address_may_try_only_so_many_wrong_keys() -> None:
    async with secured(ManualClock()) as plane:  # on the wall's, a slow test is forgiven a wrong one
        key = await plane.key()
        async with plane.client("rune_live_wrong") as http:
            statuses = [(await http.get("/v1/agents")).status_code for _ in range(25)]
            refused = await http.get("/v1/agents")
        assert statuses == [401] * 20 + [429] * 5
        assert int(refused.headers["retry-after"]) >= 1
        async with plane.client(key) as http:
            assert (await http.get("/v1/agents")).status_code == 200
