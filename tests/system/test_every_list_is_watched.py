"""Every list of resources goes on as a watch, over gRPC, REST and `rune get --watch`."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest

from promises import promise
from rune.api import OPERATIONS
from rune.api.common import EventType
from rune.api.orchestrator import admin, auth, following, registries, secrets
from rune.api.orchestrator.admin import Grant, PolicyRule
from rune.api.orchestrator.registries import RegistryAuthConfig, RegistryConfig
from rune.api.orchestrator.secrets import Secret
from rune.api.security import alerts
from rune.cli.views import VIEWS
from rune.client.watch import Watched, follow
from runed import PATIENCE, Runed, runed
from secured import injection

pytestmark = [pytest.mark.system, pytest.mark.timeout(60)]

SECRET = "never-to-be-seen"
RULE = PolicyRule(resource="services", verbs=["get"])
MADE: dict[str, tuple[Watched, Any, Any, str]] = {
    "secret": (
        Watched(secrets.list_, secrets.watch),
        secrets.create,
        secrets.CreateSecretRequest(secret=Secret(name="one", data={"k": SECRET})),
        "/v1/namespaces/default/secrets",
    ),
    "user": (
        Watched(admin.list_users, following.watch_users),
        admin.create_user,
        admin.UserCreateRequest(name="one"),
        "/v1/admin/users",
    ),
    "policy": (
        Watched(admin.list_grants, following.watch_grants),
        admin.create_grant,
        admin.PolicyCreateRequest(policy=Grant(name="one", rules=[RULE])),
        "/v1/admin/policies",
    ),
    "registry": (
        Watched(registries.list_registries, following.watch_registries),
        registries.add_registry,
        registries.AddRegistryRequest(
            registry=RegistryConfig(
                name="one", registry="r.example", auth=RegistryAuthConfig(username="u", password=SECRET)
            )
        ),
        "/v1/admin/registries",
    ),
}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[Runed]:
    """A server of this test."""
    async with runed(tmp_path / "data") as found:
        yield found


def test_every_list_of_the_orchestrator_that_rune_get_shows_has_a_watch() -> None:
    assert not [view.plural for view in VIEWS if not view.watch_name]
    for view in VIEWS:
        assert view.operation(view.watch_name) in OPERATIONS
        assert view.operation(view.list_name).watch == view.operation(view.watch_name).name


@promise("watch.lists")
@pytest.mark.parametrize("noun", MADE)
async def test_a_list_goes_on_with_every_change_and_without_secrets(server: Runed, noun: str) -> None:
    what, create, ask, path = MADE[noun]
    async with (
        asyncio.timeout(PATIENCE),
        aclosing(follow(server.client, what, what.list.request())) as changes,
    ):
        told = asyncio.ensure_future(_until(changes))
        await server.call(create, ask)
        change = await told
        assert change.event is EventType.ADDED
        assert SECRET not in repr(change)
    text = await _over_rest(server, path, noun)
    assert '"one"' in text
    assert SECRET not in text


async def _until(changes: AsyncGenerator[Any]) -> Any:
    """The change about the one that is made."""
    async for change in changes:
        if change.resource.name == "one":
            return change
    raise AssertionError("the watch ended")


async def _over_rest(server: Runed, path: str, noun: str) -> str:
    headers = {"authorization": f"Bearer {server.token}"}
    async with (
        httpx.AsyncClient(base_url=f"http://{server.http}", headers=headers, timeout=PATIENCE) as client,
        client.stream("GET", path, params={"watch": "true"}) as answer,
    ):
        assert answer.status_code == 200, await answer.aread()
        async for line in answer.aiter_lines():
            if line.startswith("data: ") and json.loads(line[6:]).get(noun, {}).get("name") == "one":
                return line
    raise AssertionError("the watch ended")


async def test_tokens_and_their_revocation_are_told_without_the_secret(server: Runed) -> None:
    what = Watched(admin.list_tokens, following.watch_tokens)
    async with (
        asyncio.timeout(PATIENCE),
        aclosing(follow(server.client, what, admin.TokenListRequest())) as changes,
    ):
        await server.call(admin.create_user, admin.UserCreateRequest(name="robot"))
        made = await server.call(auth.create_token, auth.CreateTokenRequest(name="one", subject_name="robot"))
        first = await _until(changes)
        assert made.secret not in repr(first)
        await server.call(auth.revoke_token, auth.RevokeTokenRequest(id=made.id))
        again = await _until(changes)
        assert (again.event, again.resource.revoked) == (EventType.MODIFIED, True)


@promise("security.watches")
async def test_alerts_are_watched_over_grpc_rest_and_the_shell(server: Runed, tmp_path: Path) -> None:
    what = Watched(alerts.list_, alerts.watch)
    headers = {"x-rune-key": server.api_key}
    watcher = await _shell(server, "alerts", "list", "--watch", "-o", "json")
    async with (
        asyncio.timeout(PATIENCE),
        httpx.AsyncClient(base_url=f"http://{server.http}", headers=headers, timeout=PATIENCE) as http,
        http.stream("GET", "/v1/alerts", params={"watch": "true"}) as answer,
        aclosing(follow(server.client, what, alerts.ListAlertsRequest())) as changes,
    ):
        lines = answer.aiter_lines()
        mark = await _data(lines)
        assert mark["alert"] is None
        told = asyncio.ensure_future(anext(changes))
        sent = await http.post("/v1/events", json={"events": [injection("bot")]})
        assert sent.status_code == 202, sent.text
        assert (await told).resource.agent_id == "bot"
        seen = await _data(lines)
        assert (seen["alert"]["agentId"], seen["eventType"]) == ("bot", "EVENT_TYPE_ADDED")
        assert int(seen["revision"]) > int(mark["revision"])
        assert watcher.stdout
        printed = json.loads(await watcher.stdout.readline())
    watcher.terminate()
    await watcher.communicate()
    assert (printed["type"], printed["object"]["agentId"]) == ("ADDED", "bot")


async def _data(lines: AsyncIterator[str]) -> Any:
    async for line in lines:
        if line.startswith("data: "):
            return json.loads(line[6:])
    raise AssertionError("the watch ended")


async def _shell(server: Runed, *words: str) -> asyncio.subprocess.Process:
    environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "RUNE_SERVER": server.grpc}
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "rune.cli.main", *words),
        stdout=pipe,
        env={**environ, "RUNE_TOKEN": server.token},
    )
