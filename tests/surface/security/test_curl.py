"""Every example of the published contract, run by curl as it is written, but for host, key and ids."""

# ruff: noqa: E501 - the examples stand here as they are published
from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest

from promises import promise
from rune.server.http import HttpDoor, HttpOptions
from secured import POLICY, Secured, secured

pytestmark = [pytest.mark.system, pytest.mark.requires("curl"), promise("security.curl")]

EVENTS = r"""curl -X POST https://events.runesec.dev/v1/events \
  -H "X-Rune-Key: rune_live_xxx" \
  -H "Content-Type: application/json" \
  -d '{
    "events": [
      {
        "event_id": "evt_abc123",
        "timestamp": "2025-01-15T10:30:00Z",
        "agent_id": "my-agent",
        "event_type": "tool_call",
        "direction": "outbound",
        "scan_result": {
          "risk_score": 0.95,
          "l1_result": "block",
          "threats_detected": [{"type": "prompt_injection"}]
        }
      }
    ]
  }'"""
LIST_AGENTS = r"""curl https://your-convex.convex.site/v1/agents \
  -H "X-Rune-Key: rune_live_xxx" """
REGISTER = r"""curl -X POST https://your-convex.convex.site/v1/agents \
  -H "X-Rune-Key: rune_live_xxx" \
  -H "Content-Type: application/json" \
  -d '{
    "agentId": "support-agent",
    "name": "Customer Support Agent",
    "framework": "openai",
    "tags": ["prod", "support"]
  }'"""
LIST_POLICIES = r"""curl https://your-convex.convex.site/v1/policies \
  -H "X-Rune-Key: rune_live_xxx" """
CREATE_POLICY = r"""curl -X POST https://your-convex.convex.site/v1/policies \
  -H "X-Rune-Key: rune_live_xxx" \
  -H "Content-Type: application/json" \
  -d '{
    "name": "Production Security Policy",
    "yamlContent": "version: \"1.0\"\nrules:\n  - name: block-injection\n    scanner: prompt_injection\n    action: block\n    severity: critical"
  }'"""
UPDATE_POLICY = r"""curl -X POST https://your-convex.convex.site/v1/policies/update \
  -H "X-Rune-Key: rune_live_xxx" \
  -H "Content-Type: application/json" \
  -d '{
    "policyId": "pol789",
    "name": "Updated Policy Name",
    "yamlContent": "version: \"1.0\"\nrules: ..."
  }'"""
TOGGLE_POLICY = r"""curl -X POST https://your-convex.convex.site/v1/policies/toggle \
  -H "X-Rune-Key: rune_live_xxx" \
  -H "Content-Type: application/json" \
  -d '{"policyId": "pol789", "active": false}'"""
DELETE_POLICY = r"""curl -X POST https://your-convex.convex.site/v1/policies/delete \
  -H "X-Rune-Key: rune_live_xxx" \
  -H "Content-Type: application/json" \
  -d '{"policyId": "pol789"}'"""
VALIDATE = r"""curl -X POST https://your-convex.convex.site/v1/policies/validate \
  -H "X-Rune-Key: rune_live_xxx" \
  -H "Content-Type: application/json" \
  -d '{"yamlContent": "version: \"1.0\"\nrules:\n  - name: test\n    scanner: prompt_injection\n    action: block\n    severity: critical"}'"""
LIST_ALERTS = r"""curl https://your-convex.convex.site/v1/alerts \
  -H "X-Rune-Key: rune_live_xxx" """
UPDATE_ALERT = r"""curl -X POST https://your-convex.convex.site/v1/alerts/update \
  -H "X-Rune-Key: rune_live_xxx" \
  -H "Content-Type: application/json" \
  -d '{
    "alertId": "alrt789",
    "status": "resolved",
    "note": "False alarm — test data"
  }'"""
HEALTH = r"""curl https://your-convex.convex.site/health"""
PAGE = r"""curl "https://your-convex.convex.site/v1/alerts?limit=50&cursor=abc123" \
  -H "X-Rune-Key: rune_live_xxx" """


class Answer(NamedTuple):
    """What curl printed."""

    status: int
    body: Any
    headers: str


class Shell:
    """Runs the examples against a plane."""

    def __init__(self, plane: Secured, port: int, key: str) -> None:
        self.plane, self._port, self._key = plane, port, key

    async def run(self, example: str, **ids: str) -> Answer:
        """The answer to an example in which host, key and ids are those of the test."""
        command = re.sub(r"https://[a-z.-]+(?=/)", f"http://127.0.0.1:{self._port}", example.strip())
        command = command.replace("rune_live_xxx", self._key)
        for old, new in ids.items():
            command = command.replace(old, new)
        process = await asyncio.create_subprocess_shell(
            f"{command} -s -i --max-time 10", stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        assert process.returncode == 0
        head, _, body = out.decode().partition("\r\n\r\n")
        return Answer(int(head.split(" ")[1]), json.loads(body), head.lower())


@pytest.fixture
async def shell() -> AsyncIterator[Shell]:
    async with secured() as plane:
        door = HttpDoor(plane.app, plane.rest.streams, HttpOptions(port=0))
        port = await door.open()
        yield Shell(plane, port, await plane.key())
        await door.close(1)


@promise("security.events", "security.curl")
async def test_the_example_of_events_is_accepted(shell: Shell) -> None:
    answer = await shell.run(EVENTS)
    assert (answer.status, answer.body) == (202, {"accepted": 1})


@promise("security.agents", "security.self-registration")
async def test_the_examples_of_agents_register_and_list(shell: Shell) -> None:
    made = await shell.run(REGISTER)
    assert made.status == 201
    assert set(made.body) == {"id", "agentId"}
    assert made.body["agentId"] == "support-agent"
    await shell.run(EVENTS)
    listed = await shell.run(LIST_AGENTS)
    assert listed.status == 200
    mine, theirs = listed.body["agents"]
    assert set(mine) == {
        "_id", "agentId", "name", "framework", "status", "tags", "riskScore", "eventCount", "blockCount",
        "lastSeen",
    }  # fmt: skip
    assert (mine["agentId"], mine["eventCount"], mine["status"]) == ("my-agent", 1, "active")
    assert isinstance(mine["lastSeen"], int)
    assert (theirs["name"], theirs["tags"]) == ("Customer Support Agent", ["prod", "support"])


@promise("security.policies")
async def test_the_examples_of_policies_make_change_and_delete_one(shell: Shell) -> None:
    made = await shell.run(CREATE_POLICY)
    assert made.status == 201
    assert set(made.body) == {"id", "name"}
    known = made.body["id"]
    listed = await shell.run(LIST_POLICIES)
    (policy,) = listed.body["policies"]
    assert set(policy) == {"_id", "name", "version", "active", "updatedAt"}
    assert (policy["_id"], policy["version"], policy["active"]) == (known, 1, True)
    assert (await shell.run(UPDATE_POLICY)).status == 404
    elided = await shell.run(UPDATE_POLICY, pol789=known)
    assert elided.status == 400
    assert "line 2, column 8" in elided.body["error"]
    whole = UPDATE_POLICY.replace(r"version: \"1.0\"\nrules: ...", json.dumps(POLICY)[1:-1])
    updated = await shell.run(whole, pol789=known)
    assert (updated.status, updated.body) == (200, {"updated": True})
    toggled = await shell.run(TOGGLE_POLICY, pol789=known)
    assert (toggled.status, toggled.body) == (200, {"updated": True})
    assert (await shell.run(LIST_POLICIES)).body["policies"] == []
    deleted = await shell.run(DELETE_POLICY, pol789=known)
    assert (deleted.status, deleted.body) == (200, {"deleted": True})
    assert (await shell.run(DELETE_POLICY, pol789=known)).status == 404


async def test_the_example_of_validation_compiles_and_stores_nothing(shell: Shell) -> None:
    answer = await shell.run(VALIDATE)
    assert answer.status == 200
    assert set(answer.body) == {"valid", "compiled", "error"}
    assert (answer.body["valid"], answer.body["error"]) == (True, None)
    assert [rule["name"] for rule in answer.body["compiled"]["rules"]] == ["test"]
    assert (await shell.run(LIST_POLICIES)).body["policies"] == []


@promise("security.alerts")
async def test_the_examples_of_alerts_list_and_resolve_one(shell: Shell) -> None:
    await shell.run(EVENTS)
    listed = await shell.run(LIST_ALERTS)
    (alert,) = listed.body["alerts"]
    shown = {"_id", "severity", "alertType", "title", "status", "agentId", "occurrences"}
    assert shown <= set(alert)
    assert (alert["severity"], alert["alertType"]) == ("critical", "injection_detected")
    assert alert["title"] == "Prompt injection detected on my-agent"
    assert (await shell.run(UPDATE_ALERT)).status == 404
    answer = await shell.run(UPDATE_ALERT, alrt789=alert["_id"])
    assert (answer.status, answer.body) == (200, {"updated": True})
    assert (await shell.run(LIST_ALERTS)).body["alerts"] == []


@promise("security.pages")
async def test_the_example_of_pages_wants_a_cursor_that_was_given_out(shell: Shell) -> None:
    answer = await shell.run(PAGE)
    assert answer.status == 400
    assert "cursor" in answer.body["error"]
    assert (await shell.run(PAGE.replace("&cursor=abc123", ""))).status == 200


@promise("security.health")
async def test_the_example_of_health_needs_no_key(shell: Shell) -> None:
    answer = await shell.run(HEALTH)
    assert answer.status == 200
    assert set(answer.body) == {"status", "timestamp"}
    assert answer.body["status"] == "ok"


@promise("security.errors")
async def test_a_key_that_is_none_is_told_so_in_the_words_of_the_contract(shell: Shell) -> None:
    for example in (LIST_AGENTS.replace("rune_live_xxx", "nope"), LIST_AGENTS.partition("\\")[0]):
        answer = await shell.run(example)
        assert answer.status == 401
        assert answer.body["error"] == "Invalid or missing API key"
