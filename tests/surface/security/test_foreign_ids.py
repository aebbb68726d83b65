"""Every operation of the plane, asked for what another organization has: the answer, and the work that it
takes, are those for what never was.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, NamedTuple

import pytest
from httpx import AsyncClient

from promises import promise
from rune.api import OPERATIONS, Access, Operation
from rune.api.fields import Message
from rune.api.shape import fields
from rune.api.validate import build
from rune.client.http import split
from rune.core.call import Caller
from secured import POLICY, Secured, injection

pytestmark = promise("security.tenants")

ROWS = [row for row in OPERATIONS if row.is_security and row.access is not Access.PUBLIC]
SERVER_WIDE = {"create_organization", "list_organizations", "update_organization"}
"""About organizations themselves: for administrators of the server."""
IDS = {
    "agent_id", "alert_id", "policy_id", "false_positive_id", "approval_id", "api_key_id", "webhook_id",
    "event_id", "waiter",
}  # fmt: skip
GIVEN: dict[str, Any] = {
    "status": "resolved", "active": False, "version": 1, "yaml_content": POLICY, "name": "n", "tool": "pay",
    "url": "http://127.0.0.1:9/", "waiter": "b" * 32, "approval_id": "apr_" + "0" * 32,
}  # fmt: skip
"""What operations must be told besides."""
NEVER = {
    "agent_id": "nev-agent", "event_id": "nev-event", "waiter": "c" * 32, "approval_id": "apr_" + "c" * 32,
}  # fmt: skip
"""What never was, where the caller chooses the id."""
MASKED = re.compile(
    r"(?:agt|alrt|apr|key|pol|whk|rune_live)_[\w.-]+|\b\d{13}\b|\"request_?[iI]d\":\"[^\"]*\""
)
READS = ("find", "list", "near"), ("find", "agents", "query", "baseline", "tail")


def ids_of(row: Operation[Any, Any]) -> list[str]:
    """The fields of its request that name something."""
    if row.name == "ingest_events":
        return ["event_id"]
    return [field.name for field in fields(row.request) if field.name in IDS]


class World(NamedTuple):
    """Two organizations; red has one of everything."""

    plane: Secured
    keys: dict[str, str]
    reds: dict[str, str]

    def never(self, field: str) -> str:
        """As red's id, of what never was."""
        red = self.reds[field]
        return NEVER.get(field) or re.sub(r"[0-9a-f]{24,}|.{8}$", lambda m: "f" * len(m[0]), red, count=1)


@pytest.fixture
async def world(plane: Secured) -> World:
    keys = {name: await plane.organization(name) for name in ("red", "blue")}
    for key in keys.values():
        async with plane.client(key) as http:
            await http.post("/v1/policies", json={"name": "p", "yamlContent": POLICY})
    async with plane.client(keys["red"]) as http:
        return World(plane, keys, await filled(http, plane, keys["red"]))


async def filled(http: AsyncClient, plane: Secured, key: str) -> dict[str, str]:
    """One of everything, by the field that names it."""
    await http.post("/v1/events", json={"events": [injection("red-agent", event_id="red-event")]})
    alert = (await http.get("/v1/alerts")).json()["alerts"][0]["_id"]
    await http.post("/v1/alerts/update", json={"alertId": alert, "status": "false_positive"})
    hook = await http.post("/v1/webhooks", json={"url": "http://127.0.0.1:9/red"})
    found = {
        "agent_id": "red-agent",
        "event_id": "red-event",
        "waiter": "a" * 32,
        "alert_id": alert,
        "webhook_id": hook.json()["id"],
        "approval_id": "apr_" + "a" * 32,
        "api_key_id": f"key_{key[:18]}",
        "policy_id": (await http.get("/v1/policies")).json()["policies"][0]["_id"],
        "false_positive_id": (await http.get("/v1/false-positives")).json()["falsePositives"][0]["_id"],
    }
    call = {"approvalId": found["approval_id"], "waiter": found["waiter"], "agentId": "red-agent"}
    assert (await http.post("/v1/sdk/approvals", json={**call, "tool": "pay"})).status_code == 201
    return found


def request(row: Operation[Any, Any], **ids: str) -> Message:
    if row.name == "ingest_events":
        return build(row.request, {"events": [{**injection("some"), **ids}]})
    needed = {field.name for field in fields(row.request) if field.required}
    more = {name: value for name, value in GIVEN.items() if name in needed and name not in ids}
    known = {field.name: field.wire for field in fields(row.request)}
    return build(row.request, {known[name]: value for name, value in {**more, **ids}.items()})


async def answer(http: AsyncClient, row: Operation[Any, Any], ids: dict[str, str]) -> tuple[Any, ...]:
    """Status, body and headers, without what differs from one call to the next anyway."""
    parts = split(row, request(row, **ids))
    got = await http.request(parts.verb, parts.path, params=parts.query or None, content=parts.body or None)
    body = MASKED.sub("ID", got.text)
    for each in ids.values():
        body = body.replace(each, "ID")
    headers = {name: text for name, text in got.headers.items() if name not in ("x-request-id", "etag")}
    return got.status_code, body, headers


def counting(plane: Secured, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts what this very task looks up in the stores from now on, where calls are made in it."""
    asker = asyncio.current_task()
    looks: Counter[str] = Counter()

    def counted(of: str, known: Callable[..., Any]) -> Callable[..., Any]:
        def look(*args: Any, **named: Any) -> Any:
            looks[of] += asyncio.current_task() is asker
            return known(*args, **named)

        return look

    for store, names in zip((plane.store, plane.events), READS, strict=True):
        for name in names:
            of = f"{type(store).__name__}.{name}"
            monkeypatch.setattr(store, name, counted(of, getattr(store, name)))
    return looks


@pytest.mark.parametrize("by", ["key", "token"])
@pytest.mark.parametrize(
    "row", [row for row in ROWS if ids_of(row) and not row.streams], ids=lambda row: row.name
)
async def test_what_another_organization_has_is_as_what_never_was(
    world: World, row: Operation[Any, Any], by: str
) -> None:
    plane = world.plane
    where = {"x-rune-organization": "blue"} if by == "token" else {}
    async with plane.client(world.keys["blue"] if by == "key" else "", **where) as http:
        http.headers["content-type"] = "application/json"
        reds = {name: world.reds[name] for name in ids_of(row)}
        nevers = {name: world.never(name) for name in ids_of(row)}
        assert reds != nevers
        never = await answer(http, row, nevers)
        assert await answer(http, row, reds) == never
        assert never[0] < 500


@pytest.mark.parametrize(
    "row", [row for row in ROWS if ids_of(row) and row.effect == "read" and not row.streams],
    ids=lambda row: row.name,
)  # fmt: skip
async def test_what_another_organization_has_takes_the_work_of_what_never_was(
    world: World, row: Operation[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = counting(world.plane, monkeypatch)
    async with world.plane.client(world.keys["blue"]) as http:
        await answer(http, row, {name: world.never(name) for name in ids_of(row)})
        never, before = Counter(looks), Counter(looks)
        await answer(http, row, {name: world.reds[name] for name in ids_of(row)})
    assert looks - before == never


def is_list(row: Operation[Any, Any]) -> bool:
    return "cursor" in {field.name for field in fields(row.request)}


@pytest.mark.parametrize("row", [row for row in ROWS if is_list(row)], ids=lambda row: row.name)
async def test_a_cursor_of_another_organization_is_no_cursor(world: World, row: Operation[Any, Any]) -> None:
    plane = world.plane
    place = {"policy_id": world.reds["policy_id"]} if "policy_id" in ids_of(row) else {}
    parts = split(row, request(row, **place))
    own = str(parts.path)
    async with plane.client(**{"x-rune-organization": "red"}) as red:
        for number in range(2):
            await red.post("/v1/agents", json={"agentId": f"more-{number}"})
            await red.post("/v1/webhooks", json={"url": "http://127.0.0.1:9/"})
            await red.post("/v1/policies", json={"name": "q", "yamlContent": POLICY})
            await red.post("/v1/apikeys", json={"name": "k"})
            await red.post("/v1/events", json={"events": [injection(f"agent-{number}")]})
            call = {"approvalId": f"apr_{number:032}", "waiter": "a" * 32, "agentId": "x", "tool": "t"}
            await red.post("/v1/sdk/approvals", json=call)
            update = {"policyId": world.reds["policy_id"], "yamlContent": f"{POLICY}# {number}\n"}
            await red.post("/v1/policies/update", json=update)
        for alert in (await red.get("/v1/alerts")).json()["alerts"]:
            if row.name == "list_false_positives":
                change = {"alertId": alert["_id"], "status": "false_positive"}
                await red.post("/v1/alerts/update", json=change)
        cursor = (await red.get(own, params={"limit": 1})).json()["next_cursor"]
        assert (await red.get(own, params={"cursor": cursor})).status_code == 200
    other = own
    if place:
        async with plane.client(world.keys["blue"]) as http:
            mine = (await http.get("/v1/policies")).json()["policies"][0]["_id"]
        other = own.replace(world.reds["policy_id"], mine)
    async with plane.client(**{"x-rune-organization": "blue"}) as blue:
        stolen = await blue.get(other, params={"cursor": cursor})
        made_up = await blue.get(other, params={"cursor": "x" * len(cursor)})
    if row.name in SERVER_WIDE:
        return  # whoever may list organizations sees them all
    assert stolen.status_code == made_up.status_code == 400
    assert MASKED.sub("", stolen.text) == MASKED.sub("", made_up.text)


@pytest.mark.parametrize("row", [row for row in ROWS if row.streams], ids=lambda row: row.name)
async def test_a_stream_tells_nothing_of_another_organization(world: World, row: Operation[Any, Any]) -> None:
    plane = world.plane
    begin = {"resume": plane.store.oldest + 1} if "resume" in row.request.__struct_fields__ else {}
    if row.name == "tail_events":  # it counts positions of events
        begin = {"resume": 0}
    caller = Caller(edge="local", request_id="1", bearer=plane.token, organization="blue")

    async def asks() -> AsyncIterator[Callable[[], Message]]:
        yield lambda: row.request(**begin)

    async with asyncio.timeout(20), aclosing(plane.dispatcher.stream(row, caller, asks())) as items:
        told = asyncio.ensure_future(_until(items, "blue-last"))
        await asyncio.sleep(0)
        async with plane.client(**{"x-rune-organization": "red"}) as red:
            await changed(red, "red-later", "d")
        async with plane.client(**{"x-rune-organization": "blue"}) as blue:
            await changed(blue, "blue-last", "e")
        said = await told
    assert "blue-last" in said
    assert not [each for each in ("red-", *world.reds.values()) if each in said]


async def changed(http: AsyncClient, mark: str, digit: str) -> None:
    """Something for every stream, with the mark in it."""
    yaml = POLICY.replace("block-injection", mark)
    await http.post("/v1/policies", json={"name": mark, "yamlContent": yaml})
    await http.post("/v1/apikeys", json={"name": mark})
    call = {"approvalId": f"apr_{digit * 32}", "waiter": digit * 32, "agentId": mark, "tool": "t"}
    assert (await http.post("/v1/sdk/approvals", json=call)).status_code == 201
    await http.post("/v1/agents", json={"agentId": mark})
    await http.post("/v1/events", json={"events": [injection(event_id=mark, agent_id=mark)]})


async def _until(items: AsyncIterator[Any], mark: str) -> str:
    """Everything that is told up to the mark."""
    said = ""
    async for item in items:
        said += repr(item)
        if mark in said:
            return said
    raise AssertionError("the stream ended")


def test_every_operation_that_names_lists_or_streams_is_tried() -> None:
    rest = {row.name for row in ROWS if not (ids_of(row) or is_list(row) or row.streams)}
    assert rest - SERVER_WIDE == {
        "create_policy", "validate_policy", "create_webhook", "get_activity", "get_bundle", "get_overview",
        "get_timeseries", "get_top_threats",
    }  # fmt: skip
