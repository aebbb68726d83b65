"""A real runed, real Shields, and people who decide: calls wait without holding anybody up."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from promises import promise
from rune import Shield
from rune.api.security import alerts, apikeys, approvals, organizations, policies
from runed import Runed, runed

pytestmark = [pytest.mark.system, pytest.mark.timeout(60)]
POLICY = """\
version: "1.0"
name: pay
rules:
  - {name: ask-first, type: tool_denylist, tools: [pay], action: require_approval, severity: high}
"""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Runed]:
    async with runed(tmp_path / "data") as made:
        limits = organizations.OrganizationLimits(reads_per_minute=100_000, writes_per_minute=100_000)
        change = organizations.UpdateOrganizationRequest(name="default", limits=limits)
        await made.call(organizations.update, change)
        ask = policies.CreateSecurityPolicyRequest(name="pay", yaml_content=POLICY)
        await made.call(policies.create, ask)
        yield made


@pytest.fixture
async def shield(server: Runed) -> AsyncIterator[Shield]:
    async with await shield_of(server) as made:
        assert await asyncio.to_thread(made.wait_for_policies, 10.0)
        yield made


async def shield_of(server: Runed, **more: Any) -> Shield:
    ask = apikeys.CreateApiKeyRequest(name="test", agent_id="bot")
    key = (await server.call(apikeys.create, ask)).key
    return Shield(api_key=key, endpoint=f"http://{server.http}", default_agent_id="bot", **more)


async def pending(server: Runed, count: int = 1) -> list[approvals.Approval]:
    async with asyncio.timeout(10):
        while True:
            found = (await server.call(approvals.list_, approvals.ListApprovalsRequest())).approvals
            if len(found) >= count:
                return found
            await asyncio.sleep(0.02)


@promise("approvals.wait", "approvals.once")
async def test_a_call_waits_for_a_person_and_the_loop_goes_on(server: Runed, shield: Shield) -> None:
    async with asyncio.TaskGroup() as tasks:
        call = tasks.create_task(shield.avalidate_action("pay", {"amount": 12}))
        (asked,) = await pending(server)
        assert (asked.agent_id, asked.tool, asked.rule, asked.arguments) == (
            "bot",
            "pay",
            "pay/ask-first",
            "",
        )
        (alert,) = (await server.call(alerts.list_, alerts.ListAlertsRequest())).alerts
        assert (alert.alert_type, alert.id, alert.severity) == ("approval_required", asked.alert_id, "high")
        assert not call.done()
        began = monotonic()
        ask = approvals.ApproveCallRequest(approval_id=asked.id, note="12 is fine")
        await server.call(approvals.approve, ask)
        decision = await call
    assert monotonic() - began < 2.0
    assert (decision.allowed, decision.action, decision.approval_id) == (True, "require_approval", asked.id)
    assert "approved by root: 12 is fine" in decision.explanation
    await shield.aflush()
    (alert,) = (await server.call(alerts.list_, alerts.ListAlertsRequest(status="all"))).alerts
    assert (alert.status, alert.occurrences) == ("resolved", 1)


async def test_a_call_that_is_denied_stays_denied_and_says_by_whom(server: Runed, shield: Shield) -> None:
    waiting = asyncio.create_task(asyncio.to_thread(shield.validate_action, "pay", {"amount": 9}))
    (asked,) = await pending(server)
    await server.call(approvals.deny, approvals.DenyCallRequest(approval_id=asked.id, note="no"))
    decision = await waiting
    assert (decision.allowed, "denied by root: no" in decision.explanation) == (False, True)


@promise("approvals.bounded")
async def test_many_calls_wait_on_one_thread_and_more_are_denied_at_once(server: Runed) -> None:
    async with await shield_of(server, approval_waiting_max=20) as shield:
        assert await asyncio.to_thread(shield.wait_for_policies, 10.0)
        async with asyncio.TaskGroup() as tasks:
            calls = [tasks.create_task(shield.avalidate_action("pay", {"n": n})) for n in range(20)]
            found = await pending(server, 20)
            surplus = await asyncio.wait_for(shield.avalidate_action("pay", {}), 5)
            assert "20 calls wait for an approval already" in surplus.explanation
            for each in found:
                await server.call(approvals.approve, approvals.ApproveCallRequest(approval_id=each.id))
        assert all(call.result().allowed for call in calls)


async def test_nobody_who_decides_in_time_means_no_or_what_the_settings_say(server: Runed) -> None:
    for says in ("deny", "allow"):
        async with await shield_of(
            server, approval_timeout_seconds=1, approval_on_timeout=says, policy_sync_interval_seconds=60
        ) as shield:
            assert await asyncio.to_thread(shield.wait_for_policies, 10.0)
            decision = await shield.avalidate_action("pay", {})
            assert (decision.allowed, "nobody decided" in decision.explanation) == (says == "allow", True)


async def test_a_server_that_is_away_means_no_with_a_reason(server: Runed, shield: Shield) -> None:
    await server.end()
    decision = await asyncio.wait_for(shield.avalidate_action("pay", {}), 15)
    assert not decision.allowed
    assert "could not be asked for an approval (unreachable)" in decision.explanation


async def test_a_restart_of_the_server_loses_no_call_that_waits(server: Runed, shield: Shield) -> None:
    async with asyncio.TaskGroup() as tasks:
        call = tasks.create_task(shield.avalidate_action("pay", {}))
        (asked,) = await pending(server)
        await server.end()
        await server.start("--dev")
        await server.call(approvals.approve, approvals.ApproveCallRequest(approval_id=asked.id))
    assert call.result().allowed


@promise("approvals.cli")
async def test_somebody_decides_at_the_terminal(server: Runed, shield: Shield, tmp_path: Path) -> None:
    async def rune(*words: str) -> str:
        env = {**os.environ, "RUNE_SERVER": server.grpc, "RUNE_TOKEN": server.token}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "rune.cli.main", *words, env=env, cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        out, _ = await process.communicate()
        assert process.returncode == 0, out.decode()
        return out.decode()

    async with asyncio.TaskGroup() as tasks:
        call = tasks.create_task(shield.avalidate_action("pay", {}))
        await pending(server)
        (shown,) = json.loads(await rune("approvals", "list", "-o", "json"))["approvals"]
        assert "approved" in await rune("approvals", "approve", shown["_id"], "--note", "seen")
    assert call.result().allowed
