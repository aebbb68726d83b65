"""A real runed: admin operations at each door, /healthz when the store is gone, and reloads."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx
import pytest

from promises import promise
from rune.api.orchestrator import admin, audit, auth, health, users
from rune.errors import FailedPrecondition
from runed import PATIENCE, Runed, runed

pytestmark = [pytest.mark.system, pytest.mark.timeout(60)]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[Runed]:
    async with runed(tmp_path / "data") as started:
        yield started


def rest(server: Runed) -> httpx.AsyncClient:
    """REST with the root token."""
    return httpx.AsyncClient(
        base_url=f"http://{server.http}", headers={"authorization": f"Bearer {server.token}"}
    )


async def status(client: httpx.AsyncClient, wanted: int) -> dict[str, Any]:
    """What /healthz says once it has that status."""
    async with asyncio.timeout(PATIENCE):
        while (answer := await client.get("/healthz")).status_code != wanted:
            await asyncio.sleep(0.05)
    found: dict[str, Any] = answer.json()
    return found


@promise("doors.health")
async def test_healthz_is_503_while_the_stores_file_is_gone_and_200_again_after(server: Runed) -> None:
    state, away = server.folder / "state.db", server.folder / "away.db"
    async with rest(server) as client:
        assert await status(client, 200) == {"status": "ok"}
        state.rename(away)
        assert "does not answer" in (await status(client, 503))["status"]
        ready = await server.call(health.version, health.GetServerVersionRequest())
        assert not ready.ready
        away.rename(state)
        assert await status(client, 200) == {"status": "ok"}


async def test_users_and_policies_over_rest(server: Runed) -> None:
    async with rest(server) as client:
        made = await client.post("/v1/admin/users", json={"name": "ann", "policies": ["readonly"]})
        assert made.json()["user"]["policies"] == ["readonly"]
        changed = await client.put("/v1/admin/users/ann", json={"email": "ann@example.com"})
        assert changed.json()["user"]["email"] == "ann@example.com"
        assert (await client.get("/v1/admin/users/ann")).json()["user"]["name"] == "ann"
        rule = {"resource": "services", "verbs": ["get"], "namespace": "prod"}
        await client.post("/v1/admin/policies", json={"name": "reader", "rules": [rule]})
        await client.post("/v1/admin/policies/reader/attach", json={"subjectName": "ann"})
        assert (await client.get("/v1/admin/users/ann")).json()["user"]["policies"] == ["readonly", "reader"]
        gone = await client.delete("/v1/admin/users/ann")
        assert gone.json() == {"deleted": True, "tokens": 0}
        assert (await client.get("/v1/admin/users/ann")).status_code == 404
        forbidden = await client.delete(f"/v1/auth/tokens/{server.token[:36]}")
        assert forbidden.status_code == 412


async def test_the_same_over_grpc(server: Runed) -> None:
    await server.call(admin.create_user, admin.UserCreateRequest(name="ann"))
    await server.call(users.update, users.UserUpdateRequest(name="ann", policies=["readwrite"]))
    got = await server.call(users.get, users.UserGetRequest(name="ann"))
    assert got.user
    assert got.user.policies == ["readwrite"]
    assert (await server.call(users.delete, users.UserDeleteRequest(name="ann"))).deleted
    with pytest.raises(FailedPrecondition, match="last good token"):
        await server.call(auth.revoke_token, auth.RevokeTokenRequest(id=server.token[:36]))


async def test_the_audit_log_survives_a_kill_and_knows_an_entry_noted_elsewhere(server: Runed) -> None:
    for number in range(5):
        await server.call(admin.create_user, admin.UserCreateRequest(name=f"u{number}"))
    verdict = await server.call(audit.verify, audit.VerifyAuditRequest())
    assert (verdict.intact, verdict.entries) == (True, 5)
    await server.end(signal.SIGKILL)
    await server.start("--dev")
    seal = verdict.seal
    assert seal
    known = audit.VerifyAuditRequest(sequence=seal.sequence, hash=seal.hash)
    assert (await server.call(audit.verify, known)).intact
    wrong = audit.VerifyAuditRequest(sequence=seal.sequence, hash="0" * 64)
    assert "is not there with the hash" in (await server.call(audit.verify, wrong)).problem


async def test_sighup_changes_the_log_level_and_a_bad_runefile_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "runefile.yaml"
    file.write_text("server: {log-level: info}", encoding="utf-8")
    async with runed(tmp_path / "data", "--config", str(file)) as server:
        file.write_text("server: {log-level: debug}", encoding="utf-8")
        await server.signal(signal.SIGHUP, until='"event": "reloaded"')
        file.write_text("server: {log-level: loud}", encoding="utf-8")
        await server.signal(signal.SIGHUP, until="not reloaded, what was there stays in use")
        assert (await server.call(auth.whoami, auth.WhoAmIRequest())).subject_name == "root"
