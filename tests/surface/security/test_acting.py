"""A token acts in an organization that it names, when a grant lets it, over REST, gRPC and the shell."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import httpx
import pytest

from promises import promise
from rune.api.fields import Message
from rune.api.orchestrator import admin, auth
from rune.api.orchestrator.admin import Grant, PolicyRule
from rune.api.security import alerts
from rune.client.client import Client
from rune.client.grpc import GrpcTransport
from rune.core.call import Caller
from rune.errors import InvalidArgument, NotFound, PermissionDenied, Unauthenticated
from rune.orchestrator.admin import register
from rune.server.grpc import GrpcDoor, GrpcOptions
from secured import Secured, injection

pytestmark = promise("security.acting")

PATIENCE = 20.0
WHERE = "x-rune-organization"
SEES_ACME = (
    PolicyRule(resource="organizations", verbs=["use"], namespace="org:acme"),
    PolicyRule(resource="alerts", verbs=["list", "watch"], namespace="org:acme"),
)


@pytest.fixture
async def acme(plane: Secured) -> Secured:
    """A plane whose organization `acme` has an alert, and `default` has none."""
    register(plane.dispatcher, store=plane.store, rights=plane.rights, identity=plane.identity)
    key = await plane.organization("acme")
    async with plane.client(key) as http:
        assert (await http.post("/v1/events", json={"events": [injection("bot")]})).status_code == 202
        async with asyncio.timeout(PATIENCE):
            while not (await http.get("/v1/alerts")).json()["alerts"]:
                await asyncio.sleep(0)
    return plane


async def token(plane: Secured, *rules: PolicyRule) -> str:
    """A token with these rules alone."""
    grant = Grant(name="some", rules=list(rules))
    await plane.call(admin.create_grant, admin.PolicyCreateRequest(policy=grant))
    ask = auth.CreateTokenRequest(subject_name="ann", policies=["some"])
    return (await plane.call(auth.create_token, ask)).secret


def asking(plane: Secured, bearer: str, organization: str = "acme") -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {bearer}"} | ({WHERE: organization} if organization else {})
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(plane.app), base_url="http://runed", headers=headers
    )


async def test_root_sees_another_organization_by_naming_it(acme: Secured) -> None:
    for name, count in (("acme", 1), ("default", 0), ("", 0)):
        async with asking(acme, acme.token, name) as http:
            assert len((await http.get("/v1/alerts")).json()["alerts"]) == count
    async with asking(acme, acme.token, "nobody") as http:
        assert (await http.get("/v1/alerts")).status_code == 404


async def test_a_grant_in_one_organization_is_good_there_and_for_what_it_says(acme: Secured) -> None:
    bearer = await token(acme, *SEES_ACME)
    async with asking(acme, bearer) as http:
        assert len((await http.get("/v1/alerts")).json()["alerts"]) == 1
        assert (await http.get("/v1/policies")).status_code == 403
        assert (await http.post("/v1/organizations", json={"name": "mine"})).status_code == 403
    for name in ("", "default", "other", "nobody"):
        async with asking(acme, bearer, name) as http:
            assert (await http.get("/v1/alerts")).status_code == 403


async def test_who_may_not_cannot_tell_whether_there_is_such_an_organization(acme: Secured) -> None:
    bearer = await token(acme, PolicyRule(resource="*", verbs=["get", "list", "watch"]))
    texts: list[str] = []
    for name in ("acme", "nope"):
        async with asking(acme, bearer, name) as http:
            answer = await http.get("/v1/alerts")
        assert answer.status_code == 403
        texts.append(answer.json()["error"].replace(name, "NAME"))
    assert texts[0] == texts[1]


async def test_whoever_manages_the_keys_of_one_organization_makes_none_for_another(acme: Secured) -> None:
    use = PolicyRule(resource="organizations", verbs=["*"], namespace="org:default")
    keys = PolicyRule(resource="apikeys", verbs=["*"], namespace="org:default")
    bearer = await token(acme, use, keys)
    async with asking(acme, bearer, "") as http:
        assert (await http.post("/v1/apikeys", json={"name": "own"})).status_code == 201
        theirs = await http.post("/v1/apikeys", json={"name": "x", "organization": "acme"})
        assert theirs.status_code == 403
        assert (await http.post("/v1/organizations", json={"name": "mine"})).status_code == 403


async def test_an_api_key_acts_in_its_own_organization_alone(acme: Secured) -> None:
    async with acme.client(await acme.key(), **{WHERE: "acme"}) as http:
        assert (await http.get("/v1/alerts")).status_code == 403
    async with acme.client(await acme.key("acme"), **{WHERE: "acme"}) as http:
        assert len((await http.get("/v1/alerts")).json()["alerts"]) == 1


async def test_what_is_done_elsewhere_is_audited_with_the_organization(acme: Secured) -> None:
    async with asking(acme, acme.token) as http:
        await http.post("/v1/agents", json={"agentId": "seen"})
    records = [each async for each in _audited(acme)]
    assert "org:acme" in records


async def _audited(plane: Secured) -> AsyncIterator[str]:
    await plane.audit.flush()
    for entry in await plane.store.read("audit"):
        if b"register_agent" in entry.payload:
            yield "org:acme" if b"org:acme" in entry.payload else ""


async def test_a_watch_ends_when_the_right_to_act_there_does(acme: Secured) -> None:
    bearer = await token(acme, *SEES_ACME)
    caller = Caller(edge="local", request_id="1", bearer=bearer, organization="acme")

    async def asks() -> AsyncIterator[Callable[[], Message]]:
        yield alerts.WatchAlertsRequest

    watch: Any = alerts.watch

    async with (
        asyncio.timeout(PATIENCE),
        aclosing(acme.dispatcher.stream(watch, caller, asks())) as items,
    ):
        assert (await anext(items)).alert.agent_id == "bot"
        await anext(items)
        weaker = Grant(name="some", rules=list(SEES_ACME[1:]))
        await acme.call(admin.update_grant, admin.PolicyUpdateRequest(policy=weaker))
        with pytest.raises(Unauthenticated):
            await anext(items)


async def test_a_rule_names_an_organization_or_a_namespace(acme: Secured) -> None:
    with pytest.raises(InvalidArgument, match="org:"):
        await token(acme, PolicyRule(resource="alerts", verbs=["list"], namespace="org:Not One"))


@pytest.mark.system
async def test_grpc_and_the_shell_name_it_too(acme: Secured) -> None:
    door = GrpcDoor(acme.dispatcher, acme.clock, GrpcOptions(address="127.0.0.1:0"))
    address = f"127.0.0.1:{await door.open()}"
    try:
        async with Client(GrpcTransport(address, token=acme.token, organization="acme")) as client:
            found = await client.call(alerts.list_, alerts.ListAlertsRequest())
        assert [each.agent_id for each in found.alerts] == ["bot"]
        async with Client(GrpcTransport(address, token=acme.token, organization="nobody")) as client:
            with pytest.raises(NotFound):
                await client.call(alerts.list_, alerts.ListAlertsRequest())
        async with Client(GrpcTransport(address, token=await acme.key(), organization="acme")) as client:
            with pytest.raises(PermissionDenied):
                await client.call(alerts.list_, alerts.ListAlertsRequest())
        words = ("--organization", "acme", "alerts", "list", "-o", "json")
        assert json.loads(await _shell(address, acme.token, *words))["alerts"][0]["agentId"] == "bot"
    finally:
        await door.close(0)


async def _shell(address: str, bearer: str, *words: str) -> bytes:
    environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "RUNE_SERVER": address}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "rune.cli.main", *words),
        stdout=asyncio.subprocess.PIPE,
        env={**environ, "RUNE_TOKEN": bearer},
    )
    async with asyncio.timeout(PATIENCE):
        out, _ = await process.communicate()
    return out
