"""Events in and out: all or nothing, once, with what we do not know kept."""

from __future__ import annotations

from typing import Any

import pytest

from promises import promise
from rune.api.security import events as api
from rune.api.validate import build
from rune.errors import PermissionDenied
from secured import Secured, event, injection

pytestmark = promise("security.events")


async def test_one_bad_event_refuses_the_batch_and_is_named(plane: Secured) -> None:
    bad = event(scan_result={"risk_score": 1.5})
    async with plane.client(await plane.key()) as http:
        answer = await http.post("/v1/events", json={"events": [event(), bad, event(event_type="dance")]})
        listed = (await http.get("/v1/events")).json()
    assert answer.status_code == 400
    assert "events[1].scan_result.risk_score" in answer.json()["error"]
    assert "events[2].event_type" in answer.json()["error"]
    assert listed["events"] == []


@promise("security.idempotent")
async def test_an_event_that_comes_again_is_stored_once_and_raises_one_alert(plane: Secured) -> None:
    sent = injection()
    async with plane.client(await plane.key()) as http:
        for _ in range(3):
            answer = await http.post("/v1/events", json={"events": [sent, sent]})
            assert answer.json() == {"accepted": 2}
        (alert,) = (await http.get("/v1/alerts")).json()["alerts"]
        assert len((await http.get("/v1/events")).json()["events"]) == 1
    assert alert["occurrences"] == 1


async def test_what_is_no_field_is_kept_in_the_metadata(plane: Secured) -> None:
    sent = event(colour="red", metadata={"kept": 1}, scan_result={"risk_score": 0.1, "mood": "good"})
    async with plane.client(await plane.key()) as http:
        assert (await http.post("/v1/events", json={"events": [sent]})).status_code == 202
        found = (await http.get(f"/v1/events/{sent['event_id']}")).json()
    assert found["metadata"] == {"kept": 1, "colour": "red", "scan_result.mood": "good"}


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({"events": []}, 400, "events"),
        ({"events": [event()] * 1001}, 400, "events"),
        ({"events": [event(metadata={"x": "y" * (6 << 20)})]}, 413, "larger"),
        ({"events": [event(metadata={"x": "y" * (300 << 10)})]}, 400, "events[0]"),
        ({}, 400, "events"),
    ],
    ids=["none", "too many", "over 5 MiB", "one too large", "nothing"],
)
async def test_a_batch_past_the_limits_is_refused(
    plane: Secured, body: dict[str, Any], status: int, word: str
) -> None:
    async with plane.client(await plane.key()) as http:
        answer = await http.post("/v1/events", json=body)
    assert answer.status_code == status, answer.text
    assert word in answer.json()["error"]


async def test_events_are_found_by_agent_type_threat_and_outcome(plane: Secured) -> None:
    batch = [injection("a"), event("a", event_type="tool_call"), event("b")]
    async with plane.client(await plane.key()) as http:
        await http.post("/v1/events", json={"events": batch})

        async def ids(query: str) -> list[str]:
            return [each["event_id"] for each in (await http.get(f"/v1/events?{query}")).json()["events"]]

        first, second, third = (each["event_id"] for each in batch)
        assert await ids("agent_id=a") == [second, first]
        assert await ids("eventType=tool_call") == [second]
        assert await ids("threat_type=prompt_injection") == [first]
        assert await ids("blocked=true") == [first]
        assert await ids("blocked=false") == [third, second]


async def test_a_key_of_one_agent_sends_and_reads_its_events_alone(plane: Secured) -> None:
    full, narrow = await plane.key(), await plane.key(agent_id="a")
    async with plane.client(full) as http:
        await http.post("/v1/events", json={"events": [event("a"), event("b", event_id="of-b")]})
    async with plane.client(narrow) as http:
        assert (await http.post("/v1/events", json={"events": [event("a")]})).status_code == 202
        assert (await http.post("/v1/events", json={"events": [event("a"), event("b")]})).status_code == 403
        assert {each["agent_id"] for each in (await http.get("/v1/events")).json()["events"]} == {"a"}
        assert (await http.get("/v1/events?agent_id=b")).status_code == 403
        assert (await http.get("/v1/events/of-b")).status_code == 404
        assert (await http.get("/v1/sdk/bundle")).status_code == 200
        for path in ("/v1/agents", "/v1/alerts", "/v1/policies", "/v1/stats/overview", "/v1/webhooks"):
            assert (await http.get(path)).status_code == 403, path


async def test_a_quarantined_agents_own_key_is_refused_until_it_is_released(plane: Secured) -> None:
    full, narrow = await plane.key(), await plane.key(agent_id="a")
    async with plane.client(full) as http, plane.client(narrow) as agent:
        await agent.post("/v1/events", json={"events": [event("a")]})
        await http.post("/v1/agents/update", json={"agentId": "a", "quarantined": True})
        assert (await http.get("/v1/agents")).json()["agents"][0]["status"] == "quarantined"
        assert (await agent.post("/v1/events", json={"events": [event("a")]})).status_code == 401
        await http.post("/v1/agents/update", json={"agentId": "a", "quarantined": False})
        assert (await agent.post("/v1/events", json={"events": [event("a")]})).status_code == 202


async def test_the_same_events_go_over_grpc_too(plane: Secured) -> None:
    key = await plane.key(permissions=["alerts:write"])
    ask = build(api.IngestEventsRequest, {"events": [injection()]})
    assert (await plane.call(api.ingest, ask, key=key)).accepted == 1
    with pytest.raises(PermissionDenied):
        await plane.call(api.ingest, ask, key=await plane.key(agent_id="other"))
