"""Quarantine over the real road: by hand and by policy, its reason in the audit log, and the way out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from promises import promise
from rune.api.orchestrator.guard import QuarantineWhen, ServiceAgent
from rune.api.orchestrator.instances import DesiredState, Instance
from rune.api.orchestrator.services import Service
from rune.core.apikeys import ApiKey
from rune.core.audit import Audit
from rune.core.clock import SystemClock
from rune.core.records import Record
from rune.core.store.base import Delete, Put
from rune.core.store.memory import MemoryStore
from rune.core.tokens import SYSTEM
from rune.daemon import assembly
from rune.security.kinds import Registration
from rune.security.workloads import Workloads
from secured import Secured, event, injection, secured

pytestmark = [pytest.mark.timeout(20), promise("agents.quarantine")]


def service(name: str = "bot", *, agent: str = "bot", **said: Any) -> Service:
    given: dict[str, Any] = {"id": agent, "quarantine": QuarantineWhen.ON_CRITICAL, **said}
    return Service(name=name, namespace="default", scale=1, agent=ServiceAgent(**given))


async def until(plane: Secured, condition: Callable[[], Any]) -> Any:
    async with asyncio.timeout(10):
        changes = plane.store.watch(plane.store.revision)
        while not (found := condition()):
            await anext(changes)
        return found


def guard(plane: Secured, name: str = "bot") -> Any:
    return plane.store.get(Service, "default", name).guard


async def cast(plane: Secured, made: Service | None = None) -> None:
    made = made or service()
    await plane.store.commit(Put(made))
    await until(plane, lambda: guard(plane, made.name))


async def heard(plane: Secured, operation: str) -> list[Record]:
    return [record async for _, record in plane.audit.newest() if record.operation == operation]


@promise("agents.quarantine-by-hand", "agents.release")
async def test_by_hand_the_keys_are_refused_and_a_release_makes_them_good_again() -> None:
    async with secured() as plane, plane.client() as http:
        key = await plane.key(agent_id="bot")
        async with plane.client(key) as own:
            assert (await own.post("/v1/events", json={"events": [event("bot")]})).status_code == 202
            answer = await http.post("/v1/agents/bot/quarantine", json={"reason": "odd mail"})
            assert answer.json() == {
                "agentId": "bot", "quarantined": True, "reason": "odd mail", "service": None, "keys": 1,
            }  # fmt: skip
            assert (await own.post("/v1/events", json={"events": [event("bot")]})).status_code == 401
            again = await http.post("/v1/agents/bot/quarantine", json={"reason": "another"})
            assert again.json()["reason"] == "odd mail"
            shown = (await http.get("/v1/agents/bot")).json()
            assert (shown["agent"]["status"], shown["agent"]["quarantineReason"]) == (
                "quarantined",
                "odd mail",
            )
            assert (await http.post("/v1/agents/bot/release", json={"reason": "a drill"})).status_code == 200
            assert (await own.post("/v1/events", json={"events": [event("bot")]})).status_code == 202
        (entry, *_) = await heard(plane, "release_agent")
        assert (entry.name, entry.message) == ("bot", "a drill")
        assert [each.message for each in await heard(plane, "quarantine_agent")] == ["another", "odd mail"]


@promise("agents.quarantine")
async def test_by_policy_a_critical_alert_changes_agent_key_and_service_and_the_audit_log_says_why() -> None:
    async with secured() as plane, plane.client() as http:
        await cast(plane)
        key = await plane.key(agent_id="bot")
        async with plane.client(key) as own:
            assert (await own.post("/v1/events", json={"events": [injection("bot")]})).status_code == 202
        found = await until(plane, lambda: guard(plane).quarantined and guard(plane))
        (alert,) = (await http.get("/v1/alerts")).json()["alerts"]
        assert (found.by, found.alert) == ("policy", alert["_id"])
        assert [each.suspended for each in plane.store.list(ApiKey, SYSTEM)] == [True]
        async with asyncio.timeout(5):
            while not (records := await heard(plane, "quarantine_agent")):
                await asyncio.sleep(0.01)
        (entry,) = records
        assert (entry.actor, entry.names["alert_id"]) == ("policy", alert["_id"])
        assert alert["title"] in entry.message


async def test_after_a_release_the_old_alert_does_not_lead_back_and_a_new_event_does() -> None:
    async with secured() as plane, plane.client() as http:
        await cast(plane)
        send = lambda: http.post("/v1/events", json={"events": [injection("bot")]})  # noqa: E731 - a verb of this test
        await send()
        await until(plane, lambda: guard(plane).quarantined)
        await http.post("/v1/agents/bot/release", json={})
        (alert,) = (await http.get("/v1/alerts")).json()["alerts"]
        change = {"alertId": alert["_id"], "status": "investigating", "note": "looking"}
        await http.post("/v1/alerts/update", json=change)
        await plane.store.commit(Put(service("other", agent="other")))
        await until(plane, lambda: guard(plane, "other"))  # what came before was looked at by now
        assert not guard(plane).quarantined
        await send()
        await until(plane, lambda: guard(plane).quarantined)


@pytest.mark.parametrize(
    ("when", "risk"), [(QuarantineWhen.NEVER, "critical"), (QuarantineWhen.ON_CRITICAL, "high")]
)
async def test_an_alert_that_the_spec_does_not_mean_leads_nowhere(when: QuarantineWhen, risk: str) -> None:
    async with secured() as plane, plane.client() as http:
        await cast(plane, service(quarantine=when))
        told = injection("bot")
        told["scan_result"]["threats_detected"][0]["severity"] = risk
        await http.post("/v1/events", json={"events": [told]})
        assert (await http.get("/v1/alerts")).json()["alerts"][0]["severity"] == risk
        await cast(plane, service("other", agent="other"))
        assert not guard(plane).quarantined


async def test_alerts_from_before_it_was_a_service_lead_nowhere() -> None:
    async with secured() as plane, plane.client() as http:
        await http.post("/v1/events", json={"events": [injection("bot")]})
        await cast(plane)
        assert not guard(plane).quarantined


async def test_deleting_and_casting_the_service_again_is_no_way_out() -> None:
    async with secured() as plane, plane.client() as http:
        await cast(plane)
        await http.post("/v1/agents/bot/quarantine", json={})
        await plane.store.commit(Delete(service().key))
        await cast(plane)
        assert guard(plane).quarantined


async def test_one_agent_is_one_service_and_the_first_has_the_name() -> None:
    async with secured() as plane, plane.client() as http:
        await cast(plane)
        await cast(plane, service("thief"))
        assert "is service default/bot already" in guard(plane, "thief").waits
        assert (await http.get("/v1/agents/bot")).json()["service"] == "default/bot"
        await plane.store.commit(Delete(service().key))
        await until(plane, lambda: not guard(plane, "thief").waits)


async def test_a_service_waits_for_the_policies_that_it_names() -> None:
    async with secured() as plane, plane.client() as http:
        await cast(plane, service(policies=["production"]))
        assert "'production' is not there" in guard(plane).waits
        text = 'version: "1.0"\nrules: [{name: n, type: tool_denylist, tools: [rm], action: block}]\n'
        await http.post("/v1/policies", json={"name": "production", "yamlContent": text})
        await until(plane, lambda: not guard(plane).waits)


async def test_a_key_made_for_an_instance_goes_when_its_start_is_over() -> None:
    async with secured() as plane:
        await cast(plane)
        running = Instance(id="b-1", namespace="default", service_name="bot", desired=DesiredState.RUNNING)
        await plane.store.commit(Put(running))
        key = ApiKey(
            prefix="rune_live_AAAAAAAA", name="k", organization="default", hash="h",
            agent_id="bot", instance="default/b-1", attempt=1,
        )  # fmt: skip
        await plane.store.commit(Put(key))
        stored = plane.store.get(Instance, "default", "b-1")
        await plane.store.commit(Delete(stored.key, stored.revision))
        await until(plane, lambda: not plane.store.list(ApiKey, SYSTEM))


async def test_another_organization_cannot_touch_it() -> None:
    async with secured() as plane:
        await cast(plane)
        theirs = await plane.organization("acme")
        async with plane.client(theirs) as http:
            assert (await http.post("/v1/agents/bot/quarantine", json={})).status_code == 404
            await http.post("/v1/events", json={"events": [injection("bot")]})
            assert (await http.post("/v1/agents/bot/quarantine", json={})).status_code == 200
        assert not guard(plane).quarantined


@pytest.mark.parametrize("organization", ["default", "acme"])
async def test_a_key_that_is_made_in_quarantine_is_good_after_the_release_alone(organization: str) -> None:
    async with secured() as plane:
        admin = await (plane.organization("acme") if organization == "acme" else plane.key())
        async with plane.client(admin) as http:
            await http.post("/v1/agents", json={"agentId": "bot"})
            await http.post("/v1/agents/bot/quarantine", json={})
            async with plane.client(await plane.key(organization, agent_id="bot")) as own:
                assert (await own.get("/v1/sdk/bundle")).status_code == 401
                await http.post("/v1/agents/bot/release", json={})
                assert (await own.get("/v1/sdk/bundle")).status_code == 200


@pytest.mark.parametrize("organization", ["default", "acme"])
async def test_a_key_that_slipped_in_while_quarantine_began_is_suspended(organization: str) -> None:
    """As after a crash between the two: every key is looked at when the server starts."""
    clock = SystemClock()
    agent = Registration(organization=organization, id="bot", quarantined=True)
    key = ApiKey(prefix="rune_live_12345678", name="k", organization=organization, agent_id="bot", hash="h")
    async with MemoryStore(assembly.KINDS) as store, asyncio.TaskGroup() as tasks:
        await store.commit(Put(agent), Put(key))
        running = tasks.create_task(Workloads(store, Audit(store, clock), clock=clock).run())
        for prefix in (key.prefix, "rune_live_87654321"):
            if store.find(ApiKey, SYSTEM, prefix) is None:
                await store.commit(Put(msgspec.structs.replace(key, prefix=prefix)))
            async with asyncio.timeout(10):
                changes = store.watch(0)
                while not store.get(ApiKey, SYSTEM, prefix).suspended:
                    await anext(changes)
        running.cancel()
