"""Alerts: raised from events, counted, answered, and turned into what scanners let pass."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from promises import promise
from secured import Secured, event, injection

pytestmark = promise("security.alerts")

STATUSES = ("open", "investigating", "resolved", "false_positive")


async def alerts(http: httpx.AsyncClient, query: str = "status=all") -> list[dict[str, Any]]:
    return (await http.get(f"/v1/alerts?{query}")).json()["alerts"]


async def test_events_of_one_kind_count_up_one_alert_until_it_is_closed(plane: Secured) -> None:
    async with plane.client(await plane.key()) as http:
        await http.post("/v1/events", json={"events": [injection(), injection()]})
        await http.post("/v1/events", json={"events": [injection(), injection("other-agent")]})
        first = {alert["agentId"]: alert for alert in await alerts(http)}
        assert {agent: alert["occurrences"] for agent, alert in first.items()} == {
            "research-agent": 3,
            "other-agent": 1,
        }
        await http.post(
            "/v1/alerts/update", json={"alertId": first["research-agent"]["_id"], "status": "resolved"}
        )
        await http.post("/v1/events", json={"events": [injection()]})
        mine = await alerts(http, "agent_id=research-agent&status=all")
    assert [(alert["status"], alert["occurrences"]) for alert in mine] == [("open", 1), ("resolved", 3)]


async def test_an_alert_goes_from_any_status_to_any_and_tells_who_when_and_why(plane: Secured) -> None:
    async with plane.client(await plane.key()) as http:
        await http.post("/v1/events", json={"events": [injection()]})
        known = (await alerts(http))[0]["_id"]
        steps = [(was, status) for was in STATUSES for status in STATUSES if was != status]
        for was, status in steps:
            for wanted in (was, status):
                change = {"alertId": known, "status": wanted, "note": f"to {wanted}"}
                assert (await http.post("/v1/alerts/update", json=change)).json() == {"updated": True}
        found = (await http.get(f"/v1/alerts/{known}")).json()
        last = found["history"][-1]
        assert (last["status"], last["by"], last["note"]) == (steps[-1][1], "test", f"to {steps[-1][1]}")
        assert isinstance(last["at"], int)
        assert found["details"]["scan_result"]["risk_score"] == 0.95
        wrong = await http.post("/v1/alerts/update", json={"alertId": known, "status": "done"})
    assert wrong.status_code == 400
    assert "open, investigating, resolved and false_positive" in wrong.json()["error"]


@promise("security.false-positive")
async def test_a_false_positive_becomes_a_pattern_in_the_same_commit_and_goes_when_reopened(
    plane: Secured,
) -> None:
    marked = injection(metadata={"content_fingerprint": "hs256:ab"})
    async with plane.client(await plane.key()) as http:
        await http.post("/v1/events", json={"events": [marked]})
        known = (await alerts(http))[0]["_id"]
        before = plane.store.revision
        await http.post("/v1/alerts/update", json={"alertId": known, "status": "false_positive"})
        assert plane.store.revision == before + 1
        bundle = (await http.get("/v1/sdk/bundle")).json()
        assert bundle["falsePositives"] == [
            {
                "threatType": "prompt_injection",
                "rule": "pi-1",
                "fingerprint": "hs256:ab",
                "agentId": "research-agent",
            }
        ]
        (pattern,) = (await http.get("/v1/false-positives")).json()["falsePositives"]
        assert (pattern["alertId"], pattern["createdBy"]) == (known, "test")
        await http.post("/v1/alerts/update", json={"alertId": known, "status": "open"})
        assert (await http.get("/v1/sdk/bundle")).json()["falsePositives"] == []


async def test_an_agent_that_reports_a_false_positive_adds_a_note_and_decides_nothing(plane: Secured) -> None:
    sent = injection()
    report = event(
        event_type="custom",
        metadata={"kind": "false_positive", "of_event": sent["event_id"], "note": "a quote"},
    )
    async with plane.client(await plane.key()) as http:
        await http.post("/v1/events", json={"events": [sent]})
        await http.post("/v1/events", json={"events": [report]})
        known = (await alerts(http))[0]["_id"]
        found = (await http.get(f"/v1/alerts/{known}")).json()
    assert found["alert"]["status"] == "open"
    (step,) = found["history"]
    assert step["by"] == "agent research-agent"
    assert step["note"] == "reported as a false positive: a quote"


async def test_pages_of_alerts_neither_skip_nor_repeat_while_others_come(plane: Secured) -> None:
    key = await plane.key()
    async with plane.client(key) as http:
        await http.post("/v1/events", json={"events": [injection(f"agent-{n:03d}") for n in range(120)]})
        expected = {f"agent-{n:03d}" for n in range(120)}
        seen: list[str] = []
        cursor = ""
        while True:
            page = (await http.get(f"/v1/alerts?limit=50&cursor={cursor}")).json()
            seen += [alert["agentId"] for alert in page["alerts"]]
            await http.post("/v1/events", json={"events": [injection(f"late-{len(seen)}")]})
            if "next_cursor" not in page:
                break
            cursor = page["next_cursor"]
    assert [name for name in seen if name in expected] == sorted(set(seen) & expected, key=seen.index)
    assert expected <= set(seen)
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize("limit", ["0", "201", "-1", "many"])
async def test_a_limit_that_is_none_is_refused(plane: Secured, limit: str) -> None:
    async with plane.client(await plane.key()) as http:
        assert (await http.get(f"/v1/alerts?limit={limit}")).status_code == 400
