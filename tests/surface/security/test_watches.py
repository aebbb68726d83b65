"""Watches of the security plane: what there is, a mark, then every change, in order and resumable."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, NamedTuple

import pytest

from planes import turn
from promises import promise
from rune.api import Operation, by_name
from rune.api.common import EventType
from rune.api.fields import Message
from rune.api.resource import Resource
from rune.api.security import agents, alerts, apikeys, approvals, policies
from rune.api.shape import fields
from rune.client.client import Client
from rune.client.local import LocalTransport
from rune.client.watch import Watched, follow
from rune.core.apikeys import ApiKey
from rune.core.call import Caller
from rune.errors import OutOfRange
from rune.security.kinds import Alert, Approval, Policy, Registration
from secured import POLICY, Secured, event, injection, secured

pytestmark = promise("security.watches")

PATIENCE = 10.0
TURNS = 50
"""Of the loop, in which a watch has said what there is."""
KINDS: dict[str, type[Resource]] = {
    "agents": Registration,
    "policies": Policy,
    "alerts": Alert,
    "approvals": Approval,
    "apikeys": ApiKey,
}
LISTS = (agents.list_, alerts.list_, policies.list_, approvals.list_, apikeys.list_)
ADDED, MODIFIED, DELETED = EventType.ADDED, EventType.MODIFIED, EventType.DELETED


class Told(NamedTuple):
    """An item of a watch."""

    id: str
    event: EventType
    revision: int


def caller(plane: Secured, key: str = "") -> Caller:
    return Caller(edge="local", request_id="w-1", bearer="" if key else plane.token, api_key=key)


@asynccontextmanager
async def watching(
    plane: Secured, row: Operation[Any, Any], key: str = "", **ask: Any
) -> AsyncGenerator[AsyncIterator[Any]]:
    """The items of a watch."""

    async def asks() -> AsyncIterator[Callable[[], Message]]:
        yield lambda: row.request(**ask)

    async with (
        asyncio.timeout(PATIENCE),
        aclosing(plane.dispatcher.stream(row, caller(plane, key), asks())) as items,
    ):
        yield items


def told(item: Any) -> Told:
    """What an item says, whatever it is about."""
    message: type[Message] = item.__class__
    holder = next(field.name for field in fields(message) if field.is_message)
    resource: Any = getattr(item, holder)
    return Told(resource.id if resource else "", item.event_type, item.revision)


async def until_mark(items: AsyncIterator[Any]) -> tuple[list[Told], int]:
    """What there was at the start, and where it ends."""
    found: list[Told] = []
    async for item in items:
        found.append(told(item))
        if not found[-1].id:
            return found[:-1], found[-1].revision
    raise AssertionError("the watch ended")


def newest(plane: Secured, kind: type[Resource]) -> int:
    """The revision of the last change of a kind; nothing is deleted here."""
    return max(each.revision for each in plane.store.list(kind))


async def change(plane: Secured, key: str) -> None:
    """Something of every kind, twice."""
    async with plane.client(key) as http:
        for step in ("one", "two"):
            await http.post("/v1/agents", json={"agentId": step})
            await http.post("/v1/agents/update", json={"agentId": step, "tags": ["t"]})
            made = await http.post("/v1/policies", json={"name": step, "yamlContent": POLICY})
            switch = {"policyId": made.json()["id"], "active": False}
            await http.post("/v1/policies/toggle", json=switch)
            await http.post("/v1/events", json={"events": [injection(step)]})
            call = {"approvalId": "apr_" + step.encode().hex().ljust(32, "0"), "tool": "pay", "agentId": step}
            asked = await http.post("/v1/sdk/approvals", json={**call, "waiter": "a" * 32})
            assert asked.status_code == 201, asked.text
    for step in ("three", "four"):
        await plane.key(name=step)


@pytest.mark.parametrize("row", LISTS, ids=lambda row: row.name)
async def test_a_list_goes_on_with_every_change_from_any_revision(
    plane: Secured, row: Operation[Any, Any]
) -> None:
    watch = by_name(row.watch)
    async with watching(plane, watch) as items:
        _, begin = await until_mark(items)
        await change(plane, await plane.key())
        last = plane.store.revision
        async with watching(plane, watch, resume=begin) as again:
            seen: list[Told] = []
            while not seen or seen[-1].revision < newest(plane, KINDS[row.resource]):
                seen.append(told(await anext(items)))
                assert told(await anext(again)) == seen[-1]
    revisions = [each.revision for each in seen]
    assert revisions == sorted(revisions)
    assert begin < revisions[0] <= revisions[-1] <= last
    for at in sorted({each.revision for each in seen[:-1]}):
        rest = [each for each in seen if each.revision > at]
        async with watching(plane, watch, resume=at) as items:
            assert [told(await anext(items)) for _ in rest] == rest


async def test_what_ceases_to_match_is_deleted_for_the_watcher(plane: Secured) -> None:
    async with plane.client(await plane.key()) as http, watching(plane, alerts.watch) as items:
        await until_mark(items)
        await http.post("/v1/events", json={"events": [injection()]})
        first = told(await anext(items))
        await http.post("/v1/alerts/update", json={"alertId": first.id, "status": "resolved"})
        second = told(await anext(items))
    assert (first.event, second.event, second.id) == (ADDED, DELETED, first.id)
    async with watching(plane, alerts.watch, status="resolved") as items:
        assert [each.id for each in (await until_mark(items))[0]] == [first.id]


async def test_a_policy_that_is_switched_off_is_deleted_and_comes_back(plane: Secured) -> None:
    async with plane.client(await plane.key()) as http, watching(plane, policies.watch) as items:
        await until_mark(items)
        made = await http.post("/v1/policies", json={"name": "p", "yamlContent": POLICY})
        for active in (False, True):
            switch = {"policyId": made.json()["id"], "active": active}
            await http.post("/v1/policies/toggle", json=switch)
        assert [told(await anext(items)).event for _ in range(3)] == [ADDED, DELETED, ADDED]


async def test_the_first_event_of_an_agent_is_told_with_its_figures(plane: Secured) -> None:
    async with plane.client(await plane.key()) as http, watching(plane, agents.watch) as items:
        await until_mark(items)
        await http.post("/v1/events", json={"events": [event("fresh", framework="langchain")]})
        item = await anext(items)
    assert (item.event_type, item.agent.agent_id, item.agent.framework) == (ADDED, "fresh", "langchain")
    assert (item.agent.status, item.agent.event_count) == ("active", 1)


async def test_the_watch_of_keys_tells_no_text_and_no_hash(plane: Secured) -> None:
    async with watching(plane, apikeys.watch) as items:
        await until_mark(items)
        text = await plane.key(name="ci")
        item = await anext(items)
    assert item.api_key.name == "ci"
    assert text not in repr(item)
    assert "hash" not in repr(item)


async def test_a_follower_of_alerts_lists_nothing_and_tells_the_very_first(plane: Secured) -> None:
    key = await plane.key()
    client = Client(LocalTransport(plane.dispatcher, lambda: caller(plane, key)))
    what = Watched(alerts.list_, alerts.watch)
    async with (
        asyncio.timeout(PATIENCE),
        plane.client(key) as http,
        aclosing(follow(client, what, alerts.ListAlertsRequest())) as changes,
    ):
        first = asyncio.ensure_future(anext(changes))
        for _ in range(TURNS):
            await turn()
        await http.post("/v1/events", json={"events": [injection()]})
        found = await first
        assert (found.event, found.is_first) == (ADDED, False)


async def test_a_watch_from_a_revision_that_is_forgotten_says_so() -> None:
    async with secured() as plane:
        await turn()
        with pytest.raises(OutOfRange):
            async with watching(plane, alerts.watch, resume=1_000_000) as items:
                await anext(items)
