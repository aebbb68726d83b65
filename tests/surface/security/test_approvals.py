"""Approvals over the real road: who may ask, who may decide, and that it is decided once."""

from __future__ import annotations

from typing import Any

import pytest

from promises import promise
from rune.core.clock import ManualClock
from rune.security import approvals
from secured import Secured, secured

pytestmark = promise("approvals.once")

WAITER = "a" * 32


def asked(number: int = 0, **more: Any) -> dict[str, Any]:
    given = {"approvalId": f"apr_{number:032x}", "waiter": WAITER, "agentId": "bot", "tool": "pay"}
    return {**given, "rule": "p/r", "severity": "high", **more}


@promise("approvals.once")
async def test_it_is_decided_once_and_the_audit_log_has_who_and_why(plane: Secured) -> None:
    async with plane.client() as http, plane.client(await plane.key(agent_id="bot")) as own:
        made = await own.post("/v1/sdk/approvals", json=asked())
        assert (made.status_code, made.json()["status"]) == (201, "pending")
        path = f"/v1/approvals/{made.json()['_id']}"
        first = await http.post(f"{path}/approve", json={"note": "fine"})
        assert (first.json()["status"], first.json()["decidedBy"]) == ("approved", "root")
        second = await http.post(f"{path}/deny", json={})
        assert second.status_code == 412
        assert "is approved by root: it is decided once" in second.json()["error"]
        heard = [each async for _, each in plane.audit.newest() if each.operation == "approve_call"]
        assert [(each.actor, each.message) for each in heard] == [("root", "fine")]


@promise("approvals.people")
@pytest.mark.parametrize("given", [{}, {"agent_id": "bot"}, {"permissions": ["alerts:write"]}])
async def test_no_key_allows_itself_what_it_asks_for(plane: Secured, given: dict[str, Any]) -> None:
    async with plane.client(await plane.key(**given)) as own:
        made = (await own.post("/v1/sdk/approvals", json=asked())).json()
        answer = await own.post(f"/v1/approvals/{made['_id']}/approve", json={})
        assert answer.status_code == 403
    async with plane.client(await plane.key(permissions=["approvals:write"])) as other:
        assert (await other.post(f"/v1/approvals/{made['_id']}/approve", json={})).status_code == 200


async def test_asking_twice_is_asking_once_and_only_for_oneself(plane: Secured) -> None:
    async with plane.client(await plane.key(agent_id="bot")) as own, plane.client() as http:
        for _ in range(2):
            assert (await own.post("/v1/sdk/approvals", json=asked())).status_code == 201
        assert (await own.post("/v1/sdk/approvals", json=asked(1, agentId="other"))).status_code == 403
        stolen = asked(waiter="b" * 32)
        assert (await own.post("/v1/sdk/approvals", json=stolen)).status_code == 403
        assert len((await http.get("/v1/approvals")).json()["approvals"]) == 1
        (alert,) = (await http.get("/v1/alerts")).json()["alerts"]
        assert (alert["alertType"], alert["occurrences"]) == ("approval_required", 1)


async def test_whoever_waits_hears_the_decisions_since_and_no_others(plane: Secured) -> None:
    async with plane.client(await plane.key(agent_id="bot")) as own, plane.client() as http:
        for number in range(3):
            await own.post("/v1/sdk/approvals", json=asked(number, waiter="ab"[number == 2] * 32))
        for number in (0, 2):
            await http.post(f"/v1/approvals/apr_{number:032x}/deny", json={"note": "no"})
        path = f"/v1/sdk/approvals?waiter={WAITER}&wait=5"
        first = (await own.get(path)).json()
        assert [each["_id"] for each in first["approvals"]] == [f"apr_{0:032x}"]
        await http.post(f"/v1/approvals/apr_{1:032x}/approve", json={})
        second = (await own.get(f"{path}&after={first['revision']}")).json()
        assert [each["status"] for each in second["approvals"]] == ["approved"]


async def test_what_waited_too_long_is_expired_and_cannot_be_decided() -> None:
    clock = ManualClock()
    async with secured(clock) as plane, plane.client() as http:
        await http.post("/v1/sdk/approvals", json=asked(waitSeconds=5))
        clock.advance(6)
        path = f"/v1/approvals/apr_{0:032x}"
        assert (await http.get(path)).json()["status"] == "expired"
        assert (await http.post(f"{path}/approve", json={})).status_code == 412
        told = (await http.get(f"/v1/sdk/approvals?waiter={WAITER}&wait=5")).json()
        assert [each["status"] for each in told["approvals"]] == ["expired"]


async def test_another_organization_sees_and_decides_nothing(plane: Secured) -> None:
    async with plane.client() as http:
        await http.post("/v1/sdk/approvals", json=asked())
    async with plane.client(await plane.organization("acme")) as theirs:
        assert (await theirs.get("/v1/approvals")).json()["approvals"] == []
        assert (await theirs.get(f"/v1/approvals/apr_{0:032x}")).status_code == 404


async def test_one_agents_calls_leave_room_for_those_of_others(
    plane: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(approvals, "MOST_OF_ONE", 2)
    async with plane.client(await plane.key()) as own:
        answers = [await own.post("/v1/sdk/approvals", json=asked(number)) for number in range(3)]
        other = await own.post("/v1/sdk/approvals", json=asked(9, agentId="other"))
    assert [each.status_code for each in (*answers, other)] == [201, 201, 429, 201]
    assert "2 of one agent" in answers[2].json()["error"]
