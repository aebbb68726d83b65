"""Two organizations, whatever they do: nothing of one is ever seen, changed or counted by the other."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promises import promise
from secured import POLICY, Secured, injection, secured

pytestmark = promise("security.tenants")

EVERY: Any = list(HealthCheck)
GETS = (
    "/v1/agents",
    "/v1/policies?include_inactive=true",
    "/v1/alerts?status=all",
    "/v1/events",
    "/v1/false-positives",
    "/v1/webhooks",
    "/v1/sdk/bundle",
    "/v1/stats/overview",
    "/v1/stats/top-threats",
)
ACTIONS = ("event", "agent", "policy", "alert", "webhook", "page", "steal")
STEPS = st.lists(st.tuples(st.sampled_from(("red", "blue")), st.sampled_from(ACTIONS)), max_size=14)


class Side:
    """One organization: everything it says carries its mark."""

    def __init__(self, name: str, http: httpx.AsyncClient) -> None:
        self.name, self.http = name, http
        self.mark = f"{name}mark"
        self.ids: list[str] = []
        self.cursors: list[tuple[str, str]] = []
        self.number = 0

    async def post(self, path: str, **body: Any) -> httpx.Response:
        return await self.http.post(path, json=body)

    async def act(self, action: str, other: Side) -> str:
        """Do it; returns everything that came back."""
        self.number += 1
        label = f"{self.mark}-{self.number}"
        match action:
            case "event":
                sent = injection(
                    label, event_id=f"shared-{self.number}", metadata={"content_fingerprint": label}
                )
                answer = await self.post("/v1/events", events=[sent])
            case "agent":
                answer = await self.post("/v1/agents", agentId=f"shared-{self.number}", name=label)
            case "policy":
                answer = await self.post(
                    "/v1/policies", name=label, yamlContent=POLICY.replace("block-i", label)
                )
                self.ids.append(answer.json()["id"])
            case "webhook":
                answer = await self.post("/v1/webhooks", url=f"http://127.0.0.1:9/{label}")
                self.ids.append(answer.json()["id"])
            case "alert":
                answer = await self._judge(label)
            case "page":
                answer = await self._page()
            case _:
                return await self._steal(other)
        return answer.text

    async def _judge(self, label: str) -> httpx.Response:
        listed = await self.http.get("/v1/alerts?status=all")
        for alert in listed.json()["alerts"][:1]:
            self.ids.append(alert["_id"])
            await self.post("/v1/alerts/update", alertId=alert["_id"], status="false_positive", note=label)
        return listed

    async def _page(self) -> httpx.Response:
        for path in ("/v1/agents", "/v1/alerts", "/v1/events", "/v1/policies"):
            answer = await self.http.get(f"{path}?limit=1")
            if "next_cursor" in answer.json():
                self.cursors.append((path, answer.json()["next_cursor"]))
        return answer

    async def _steal(self, other: Side) -> str:
        """Everything that the other one was given, tried as one's own: it must be as if it did not exist."""
        texts: list[str] = []
        for stolen in other.ids:
            tries = (
                ("/v1/policies/update", {"policyId": stolen, "name": "stolen"}),
                ("/v1/policies/toggle", {"policyId": stolen, "active": False}),
                ("/v1/policies/delete", {"policyId": stolen}),
                ("/v1/policies/rollback", {"policyId": stolen, "version": 1}),
                ("/v1/alerts/update", {"alertId": stolen, "status": "resolved"}),
                ("/v1/webhooks/delete", {"webhookId": stolen}),
                ("/v1/false-positives/delete", {"falsePositiveId": stolen}),
            )
            texts += [await self._refused(await self.post(path, **body), 404) for path, body in tries]
            reads = (f"/v1/policies/{stolen}", f"/v1/policies/{stolen}/versions", f"/v1/alerts/{stolen}")
            texts += [await self._refused(await self.http.get(path), 404) for path in reads]
        pages = [f"{path}?cursor={cursor}" for path, cursor in other.cursors]
        texts += [await self._refused(await self.http.get(page), 400) for page in pages]
        return "".join(texts)

    async def _refused(self, answer: httpx.Response, status: int) -> str:
        assert answer.status_code == status, answer.text
        return answer.text

    async def everything(self) -> str:
        """All that this organization can read."""
        answers = [await self.http.get(path) for path in GETS]
        assert {answer.status_code for answer in answers} == {200}
        return json.dumps([answer.json() for answer in answers])


async def tried(steps: list[tuple[str, str]]) -> None:
    async with secured() as plane:
        red_key, blue_key = await plane.organization("red"), await plane.organization("blue")
        async with plane.client(red_key) as red_http, plane.client(blue_key) as blue_http:
            sides = {"red": Side("red", red_http), "blue": Side("blue", blue_http)}
            for name, action in steps:
                side, other = sides[name], sides["blue" if name == "red" else "red"]
                before = await other.everything()
                said = await side.act(action, other)
                assert other.mark not in said
                assert _timeless(await other.everything()) == _timeless(before)
            for side, other in ((sides["red"], sides["blue"]), (sides["blue"], sides["red"])):
                assert other.mark not in await side.everything()


def _timeless(text: str) -> Any:
    """Without what changes by itself: the start of the overview's time, and how deliveries went."""
    found = json.loads(text)
    found[GETS.index("/v1/stats/overview")].pop("since")
    for hook in found[GETS.index("/v1/webhooks")]["webhooks"]:
        hook.pop("lastError")
    return found


@promise("security.tenants")
@settings(max_examples=12, deadline=None, database=None, suppress_health_check=EVERY)
@given(steps=STEPS)
def test_nothing_of_one_organization_reaches_another(steps: list[tuple[str, str]]) -> None:
    asyncio.run(tried(steps))


def test_nothing_of_one_reaches_another_when_both_have_everything() -> None:
    both = [(name, action) for action in ACTIONS for name in ("red", "blue")]
    asyncio.run(tried(both * 2))


async def test_the_same_event_and_agent_ids_are_two_of_each(plane: Secured) -> None:
    keys = [await plane.organization(name) for name in ("red", "blue")]
    sent = injection("shared", event_id="shared")
    ids: list[str] = []
    for key in keys:
        async with plane.client(key) as http:
            await http.post("/v1/events", json={"events": [sent]})
            (agent,) = (await http.get("/v1/agents")).json()["agents"]
            (alert,) = (await http.get("/v1/alerts")).json()["alerts"]
            assert (agent["eventCount"], alert["occurrences"]) == (1, 1)
            ids += [agent["_id"], alert["_id"]]
    assert len(set(ids)) == 4


async def test_a_stream_tells_of_ones_own_changes_alone(plane: Secured) -> None:
    red, blue = [await plane.organization(name) for name in ("red", "blue")]
    async with plane.client(red) as mine, plane.client(blue) as theirs:
        tag = (await mine.get("/v1/sdk/bundle")).headers["etag"]
        waiting = asyncio.ensure_future(
            mine.get("/v1/sdk/bundle?wait=1", headers={"if-none-match": tag}, timeout=10)
        )
        await theirs.post("/v1/policies", json={"name": "p", "yamlContent": POLICY})
        assert (await waiting).status_code == 304


async def test_only_administrators_of_the_server_make_keys_of_another_organization(plane: Secured) -> None:
    async with plane.client() as http:
        assert (await http.post("/v1/apikeys", json={"name": "x", "organization": "red"})).status_code == 404
        await http.post("/v1/organizations", json={"name": "red"})
        made = await http.post("/v1/apikeys", json={"name": "x", "organization": "red"})
        assert made.status_code == 201
        assert (await http.get("/v1/apikeys")).json()["apiKeys"] == []
        (listed,) = (await http.get("/v1/apikeys?organization=red")).json()["apiKeys"]
    assert listed["organization"] == "red"
