"""A server with something of everything, so that each page of the dashboard has a story to show."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from browser.test_settle import settled
from rune.api.orchestrator import admin, auth, configmaps, namespaces, secrets, services
from rune.api.orchestrator.configmaps import Configmap
from rune.api.orchestrator.namespaces import Namespace
from rune.api.orchestrator.secrets import Secret
from rune.api.orchestrator.services import ServiceStatus
from rune.api.security import agents, alerts, apikeys, approvals, events, policies
from rune.api.security.events import EventPolicy, EventScan, EventTool, SecurityEvent
from rune.core.clock import SystemClock
from runed import PATIENCE, Runed

TALKS: Final = 'i=0; while :; do i=$((i+1)); echo "GET /orders/$i 200 in $((i % 7 + 3)) ms"; sleep 0.3; done'
POLICY: Final = """\
version: "1.0"
rules:
  - name: block-injection
    scanner: prompt_injection
    action: block
    severity: critical
  - name: ask-before-paying
    type: tool_denylist
    tools: [pay_invoice]
    action: require_approval
    severity: high
  - name: only-known-tools
    type: tool_allowlist
    tools: [search, "read_*", send, pay_invoice]
    action: block
    severity: high
"""
WAITING: Final = "apr_" + "1" * 32
DECIDED: Final = "apr_" + "2" * 32


@dataclass(frozen=True)
class Habit:
    """What an agent does all day, and how often that goes wrong."""

    agent: str
    name: str
    framework: str
    tools: tuple[str, ...]
    threat: str
    every: int
    """One in so many of its events is blocked."""


HABITS: Final = (
    Habit("support-bot", "Support", "langgraph", ("search", "read_ticket", "send"), "prompt_injection", 6),
    Habit("billing-agent", "Billing", "crewai", ("read_invoice", "pay_invoice"), "pii", 9),
    Habit("research-agent", "Research", "openai-agents", ("search", "read_page"), "data_exfiltration", 20),
)  # fmt: skip


def day(habit: Habit) -> Iterator[SecurityEvent]:
    """Its events of the last day: more of them lately."""
    now = SystemClock().now()
    for number in range(24):
        is_bad = number % habit.every == habit.every - 1
        minutes = 1430 * (1 - number / 24) ** 1.6 + (number * 37 % 5)
        tool = habit.tools[number * 7 // 5 % len(habit.tools)]
        scan = EventScan(
            risk_score=0.93 if is_bad else 0.02 + number % 5 / 100, blocked=is_bad, scan_latency_ms=1.7,
            threat_type=habit.threat if is_bad else None, l1_result="block" if is_bad else "pass",
        )  # fmt: skip
        yield SecurityEvent(
            event_id=f"{habit.agent}-{number:02}", timestamp=now - timedelta(minutes=minutes + 0.1),
            agent_id=habit.agent, event_type="scan" if is_bad else "tool_call",
            session_id=f"s-{number // 6}", framework=habit.framework, tool=EventTool(name=tool),
            scan_result=scan,
            policy_result=EventPolicy(
                allowed=not is_bad, action="block" if is_bad else "allow", policy="production",
                rule="block-injection" if is_bad else "", severity="critical" if is_bad else None,
            ),
        )  # fmt: skip


async def furnish(server: Runed) -> dict[str, str]:
    """Bring it all; returns what stands in the braces of the pages' paths."""
    await _workloads(server)
    await _people(server)
    await settled(server)
    policy = await _guarded(server)
    found = await _alerts(server)
    await server.until("shop", lambda shop: len(shop.instances) == 2 and shop.status is ServiceStatus.RUNNING)
    return {
        "namespace": "default", "name": "shop", "version": "2",
        "instance": (await server.copies("shop"))[0].id,
        "agent": "support-bot", "alert": found[0].id, "event": "support-bot-05", "policy": policy,
        "approval": WAITING,
    }  # fmt: skip


async def _workloads(server: Runed) -> None:
    await server.call(
        namespaces.create, namespaces.CreateNamespaceRequest(namespace=Namespace(name="staging"))
    )
    await server.cast("shop", ["/bin/sh", "-c", TALKS], scale=0, env={"COLOUR": "blue"})
    await server.update("shop", ["/bin/sh", "-c", TALKS], scale=2, env={"COLOUR": "green"})
    await server.cast("queue", ["/bin/sleep", "1000"])
    await server.cast("preview", ["/bin/sleep", "1000"], namespace="staging")
    await server.cast("nightly-report", ["/bin/false"])
    await server.cast("retired", ["/bin/sleep", "1000"])
    await server.call(services.delete, services.DeleteServiceRequest(name="retired", detach=True))
    sealed = Secret(name="shop", data={"database-password": "v", "signing-key": "v"})
    await server.call(secrets.create, secrets.CreateSecretRequest(secret=sealed))
    plain = Configmap(name="shop", data={"colour": "blue", "greeting": "hello"})
    await server.call(configmaps.create, configmaps.CreateConfigmapRequest(configmap=plain))
    for patch in ({"colour": "green"}, {"colour": "teal"}):
        await server.call(configmaps.patch, configmaps.PatchConfigmapRequest(name="shop", set=patch))
    await server.call(secrets.patch, secrets.PatchSecretRequest(name="shop", set={"signing-key": "w"}))


async def _people(server: Runed) -> None:
    await server.call(
        admin.create_user,
        admin.UserCreateRequest(name="ann", email="ann@example.com", policies=["readonly"]),
    )
    await server.call(
        auth.create_token, auth.CreateTokenRequest(subject_name="ann", name="laptop", ttl_seconds=86_400 * 90)
    )
    rules = [admin.PolicyRule(resource="services", verbs=["get", "list", "update"], namespace="staging")]
    await server.call(
        admin.create_grant,
        admin.PolicyCreateRequest(
            policy=admin.Grant(name="stagers", description="May change staging", rules=rules)
        ),
    )
    await server.call(apikeys.create, apikeys.CreateApiKeyRequest(name="support-bot"))


async def _guarded(server: Runed) -> str:
    for habit in HABITS:
        await server.call(
            agents.register,
            agents.RegisterAgentRequest(
                agent_id=habit.agent, name=habit.name, framework=habit.framework, tags=["production"]
            ),
        )
    batch = sorted((event for habit in HABITS for event in day(habit)), key=lambda event: event.timestamp)
    await server.call(events.ingest, events.IngestEventsRequest(events=batch))
    made = await server.call(
        policies.create, policies.CreateSecurityPolicyRequest(name="production", yaml_content=POLICY)
    )
    stricter = POLICY.replace("severity: high", "severity: critical", 1)
    await server.call(
        policies.update, policies.UpdateSecurityPolicyRequest(policy_id=made.id, yaml_content=stricter)
    )
    await server.call(
        policies.update,
        policies.UpdateSecurityPolicyRequest(policy_id=made.id, yaml_content=stricter.replace(" send,", "")),
    )
    for approval, amount in ((DECIDED, 12), (WAITING, 4200)):
        await server.call(
            approvals.request,
            approvals.RequestApprovalRequest(
                approval_id=approval, waiter="f" * 32, agent_id="billing-agent", tool="pay_invoice",
                rule="production/ask-before-paying", severity="high", wait_seconds=3600,
                arguments=f'{{"to": "supplier-7", "amount": {amount}, "currency": "EUR"}}',
            ),
        )  # fmt: skip
    await server.call(
        approvals.approve, approvals.ApproveCallRequest(approval_id=DECIDED, note="the usual amount")
    )
    return made.id


async def _alerts(server: Runed) -> list[alerts.Alert]:
    async with asyncio.timeout(PATIENCE):
        while True:
            found = (await server.call(alerts.list_, alerts.ListAlertsRequest(agent_id="support-bot"))).alerts
            if found:
                break
            await asyncio.sleep(0.05)  # noqa: TID251 - nothing tells a client of detection
    note = alerts.UpdateAlertRequest(alert_id=found[0].id, status="investigating", note="looking into it")
    await server.call(alerts.update, note)
    return found
