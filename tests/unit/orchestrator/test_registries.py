"""Registries: credentials that are sealed, chosen by image, and tried at a real door."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from controlplane import control_plane
from registry import Registry
from rune.api import codec
from rune.api.orchestrator import registries as api
from rune.api.orchestrator import secrets
from rune.api.orchestrator.registries import RegistryAuthConfig, RegistryConfig
from rune.core import runefile
from rune.core.access import rule
from rune.core.call import Caller
from rune.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
)
from rune.orchestrator.registries import KeptRegistry, Registries
from rune.orchestrator.secrets import Secrets
from unit.orchestrator.plane import Plane, new_plane
from unit.orchestrator.test_ecr import HOST, token
from vaults import opened

PLANTED = "hunter2-planted-value"


@dataclass
class Here:
    """A plane with registries."""

    plane: Plane
    registries: Registries
    environ: dict[str, str]

    async def call(self, operation: Any, ask: Any, who: str = "root") -> Any:
        caller = Caller(edge="local", request_id="r1", bearer=who, is_local=True)
        return await self.plane.dispatcher.call(operation, caller, lambda: ask)

    async def add(self, name: str, host: str, **auth: Any) -> RegistryConfig:
        config = RegistryConfig(name=name, registry=host, auth=RegistryAuthConfig(**auth))
        answer = await self.call(api.add_registry, api.AddRegistryRequest(registry=config))
        assert isinstance(answer.registry, RegistryConfig)
        return answer.registry

    async def update(self, name: str, host: str, **auth: Any) -> None:
        config = RegistryConfig(name=name, registry=host, auth=RegistryAuthConfig(**auth))
        await self.call(api.update_registry, api.UpdateRegistryRequest(registry=config))

    async def tested(self, name: str, image: str = "") -> api.TestRegistryResponse:
        answer = await self.call(api.test_registry, api.TestRegistryRequest(name=name, image_ref=image))
        assert isinstance(answer, api.TestRegistryResponse)
        return answer

    async def login(self, image: str) -> tuple[str, str]:
        found = await self.registries.credentials(image)
        return (found.username, found.password or found.identity_token) if found else ("", "")


@pytest.fixture
async def here() -> AsyncIterator[Here]:
    plane = await new_plane()
    environ: dict[str, str] = {}
    safe = opened(plane.store).safe
    registries = Registries(safe, (), environ, clock=plane.clock)
    registries.register(plane.dispatcher)
    Secrets(safe, clock=plane.clock, used_by=(registries.users_of,)).register(plane.dispatcher)
    async with plane.store:
        yield Here(plane, registries, environ)


def config_json(host: str, user: str, password: str) -> str:
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    return json.dumps({"auths": {host: {"auth": auth}}})


async def test_credentials_go_in_and_never_come_back(here: Here) -> None:
    given: dict[str, Any] = {"username": "me", "password": PLANTED, "token": f"{PLANTED}2"}
    given["data"] = {"x": f"{PLANTED}3"}
    answers: list[Any] = [await here.add("hub", "docker.io", **given)]
    answers += [
        await here.call(api.list_registries, api.ListRegistriesRequest()),
        await here.call(api.get_registry, api.GetRegistryRequest(name="hub")),
        await here.call(api.registries_status, api.RegistriesStatusRequest()),
    ]
    stored = msgspec.json.encode(here.plane.store.list(KeptRegistry))
    assert PLANTED not in f"{[codec.encode(each) for each in answers]}{answers}{stored}"
    assert PLANTED not in repr(RegistryAuthConfig(**given))
    assert answers[2].registry.auth.username == "me"
    assert await here.login("alpine") == ("me", PLANTED)


@pytest.mark.parametrize(
    ("image", "user"),
    [
        ("registry.example.com/app", "exact"),
        ("eu.example.com/app", "wide"),
        ("a.eu.example.com/app", "narrow"),
        ("REGISTRY.EXAMPLE.COM/app", "exact"),
        ("alpine", ""),
        ("example.com/app", ""),
    ],
)
async def test_the_most_exact_registry_wins(here: Here, image: str, user: str) -> None:
    for name, host in (
        ("wide", "*.example.com"),
        ("exact", "registry.example.com"),
        ("narrow", "*.eu.example.com"),
    ):
        await here.add(name, host, username=name, password="x")
    assert (await here.login(image))[0] == user


@pytest.mark.parametrize(
    ("auth", "login"),
    [
        ({"username": "me", "password": "pw"}, ("me", "pw")),
        ({"type": "token", "token": "tk"}, ("token", "tk")),
        ({"type": "token", "username": "me", "token": "tk"}, ("me", "tk")),
        (
            {"type": "dockerconfigjson", "data": {".dockerconfigjson": config_json("r.io", "u", "p")}},
            ("u", "p"),
        ),
        ({"type": "dockerconfigjson", "data": {"config.json": config_json("x.io", "u", "p")}}, ("", "")),
        ({"data": {"user": "me", "pass": "pw"}}, ("me", "pw")),
        ({}, ("", "")),
    ],
)
async def test_each_type_gives_its_credentials(
    here: Here, auth: dict[str, Any], login: tuple[str, str]
) -> None:
    await here.add("r", "r.io", **auth)
    assert await here.login("r.io/app") == login


async def test_what_is_missing_is_named_and_remembered(here: Here) -> None:
    await here.add("r", "r.io", username="me")
    with pytest.raises(FailedPrecondition, match="registry r: basic needs 'password'"):
        await here.login("r.io/app")
    status = await here.call(api.registries_status, api.RegistriesStatusRequest())
    assert status.registries[0].last_error == "registry r: basic needs 'password'"


async def test_credentials_come_from_a_secret_which_then_stays(here: Here) -> None:
    secret = secrets.Secret(name="hub", namespace="system", data={"username": "me", "password": PLANTED})
    await here.call(secrets.create, secrets.CreateSecretRequest(secret=secret))
    await here.add("hub", "docker.io", from_secret="hub")
    assert await here.login("alpine") == ("me", PLANTED)
    with pytest.raises(FailedPrecondition, match="in use by: registry hub"):
        await here.call(secrets.delete, secrets.DeleteSecretRequest(name="hub", namespace="system"))


async def test_ecr_trades_keys_for_a_password(here: Here) -> None:
    with control_plane() as aws:
        here.environ["AWS_ENDPOINT_URL_ECR"] = aws.url
        aws.on_events = lambda _: token(here.plane.clock, "fresh")  # pyright: ignore[reportArgumentType] - a ManualClock
        await here.add("ecr", HOST, type="ecr", username="AKID", password=PLANTED)
        assert await here.login(f"{HOST}/app") == ("AWS", "fresh")
        here.environ |= {"AWS_ACCESS_KEY_ID": "AKIDOWN", "AWS_SECRET_ACCESS_KEY": "own"}
        await here.update("ecr", "ecr.internal", type="ecr", region="eu-west-1", password="x", username="")
        assert (await here.login("ecr.internal/app"))[0] == "AWS"
    assert "Credential=AKID/" in str(aws.asked[0].headers)
    assert "Credential=AKIDOWN/" in str(aws.asked[1].headers)
    assert PLANTED.encode() not in aws.bytes


@pytest.mark.parametrize(
    ("stand_in", "auth", "ok", "said"),
    [
        (Registry(b""), {}, True, "answers 200"),
        (Registry(b"", password="pw"), {"username": "somebody", "password": "pw"}, True, "answers 200"),
        (Registry(b"", password="pw"), {"username": "somebody", "password": PLANTED}, False, "are refused"),
        (Registry(b"", password="pw"), {}, False, "it asks for a log-in, and there are no credentials"),
        (
            Registry(b"", refresh="rt"),
            {"username": "somebody", "password": "pw"},
            False,
            "refused at log-in: 401",
        ),
    ],
)
async def test_a_test_really_knocks(
    here: Here, stand_in: Registry, auth: dict[str, Any], ok: bool, said: str
) -> None:
    stand_in.port = 0
    async with stand_in.serving():
        await here.add("r", f"127.0.0.1:{stand_in.port}", **auth)
        answer = await here.tested("r", stand_in.image)
    assert (answer.ok, said in answer.message) == (ok, True), answer.message
    assert PLANTED not in answer.message


async def test_a_token_is_traded_at_the_registrys_own_door(here: Here) -> None:
    stand_in = Registry(b"", refresh="rt")
    async with stand_in.serving():
        host = f"127.0.0.1:{stand_in.port}"
        config = json.dumps({"auths": {host: {"identitytoken": "rt"}}})
        await here.add("r", host, type="dockerconfigjson", data={".dockerconfigjson": config})
        assert (await here.tested("r")).ok
        missing = await here.tested("r", f"{host}/other:2")
    assert not missing.ok
    assert "answers 404: not found" in missing.message


async def test_a_registry_out_of_reach_is_an_answer_not_a_failure(here: Here) -> None:
    stand_in = Registry(b"")
    async with stand_in.serving():
        host = f"127.0.0.1:{stand_in.port}"
    await here.add("r", host)
    answer = await here.tested("r")
    assert not answer.ok
    assert "cannot be reached" in answer.message
    status = await here.call(api.registries_status, api.RegistriesStatusRequest())
    assert "cannot be reached" in status.registries[0].last_error


async def test_a_pattern_is_tested_with_an_image_of_its_own(here: Here) -> None:
    await here.add("r", "*.example.com")
    with pytest.raises(InvalidArgument, match="is many registries"):
        await here.tested("r")
    with pytest.raises(InvalidArgument, match="is an image of index.docker.io"):
        await here.tested("r", "alpine")


async def test_an_update_keeps_credentials_for_the_same_host_alone(here: Here) -> None:
    await here.add("r", "r.io", username="me", password=PLANTED)
    await here.update("r", "r.io", username="you")
    assert await here.login("r.io/app") == ("you", PLANTED)
    with pytest.raises(InvalidArgument, match="give the credentials again"):
        await here.update("r", "evil.io", username="you")
    await here.update("r", "other.io", username="you", password="new")
    assert await here.login("other.io/app") == ("you", "new")


async def test_removed_is_removed(here: Here) -> None:
    await here.add("r", "r.io", username="me", password="x")
    await here.call(api.remove_registry, api.RemoveRegistryRequest(name="r"))
    assert await here.login("r.io/app") == ("", "")
    with pytest.raises(NotFound, match="registry not found: r"):
        await here.call(api.remove_registry, api.RemoveRegistryRequest(name="r"))


async def bootstrapped(here: Here, **ask: Any) -> int:
    return (await here.call(api.bootstrap_registries, api.BootstrapAuthRequest(**ask))).updated


async def test_bootstrap_makes_the_secret_once_and_brings_it_up_to_date(here: Here) -> None:
    data = {"username": "me", "password": PLANTED}
    await here.add("hub", "docker.io", from_secret="system/hub", bootstrap=True, data=data)
    await here.add("plain", "r.io", username="me", password="x")
    assert await bootstrapped(here, all=True) == 1
    assert await here.login("alpine") == ("me", PLANTED)
    assert await bootstrapped(here, name="hub") == 0
    changed = {**data, "password": "new"}
    await here.update("hub", "docker.io", from_secret="system/hub", bootstrap=True, data=changed)
    assert await bootstrapped(here, type="basic") == 1
    assert await here.login("alpine") == ("me", "new")
    with pytest.raises(InvalidArgument, match="name: is required"):
        await bootstrapped(here)


@pytest.mark.parametrize("auth", [{"immutable": True}, {"manage": "ignore"}])
async def test_bootstrap_leaves_a_secret_alone_that_is_not_its_own(here: Here, auth: dict[str, Any]) -> None:
    secret = secrets.Secret(name="hub", namespace="system", data={"username": "own", "password": "own"})
    await here.call(secrets.create, secrets.CreateSecretRequest(secret=secret))
    await here.add("hub", "docker.io", from_secret="hub", bootstrap=True, data={"username": "x"}, **auth)
    assert await bootstrapped(here, all=True) == 0
    assert await here.login("alpine") == ("own", "own")


async def test_the_runefiles_registries_are_changed_there_alone(here: Here, tmp_path: Path) -> None:
    file = tmp_path / "pw"
    file.write_text(f"{PLANTED}\n", encoding="utf-8")
    entry = runefile.Registry(name="hub", server="docker.io", username="me", password_file=str(file))
    here.registries.configure([entry])
    assert await here.login("alpine") == ("me", PLANTED)
    file.write_text("changed\n", encoding="utf-8")
    assert await here.login("alpine") == ("me", "changed")
    with pytest.raises(FailedPrecondition, match="registry hub is in the Runefile: change it there"):
        await here.update("hub", "docker.io")
    with pytest.raises(AlreadyExists):
        await here.add("hub", "r.io")
    file.unlink()
    with pytest.raises(FailedPrecondition, match="pw cannot be read: No such file"):
        await here.login("alpine")


WRONG: Sequence[tuple[dict[str, Any], str]] = (
    ({"name": "", "registry": "r.io"}, "registry.name"),
    ({"name": "r", "registry": "https://r.io/x"}, "registry.registry"),
    ({"name": "r", "registry": "a*.io"}, "registry.registry"),
    ({"name": "r", "registry": "r.io", "auth": RegistryAuthConfig(type="gcr")}, "registry.auth.type"),
    ({"name": "r", "registry": "r.io", "auth": RegistryAuthConfig(from_secret="a/b/c")}, "from_secret"),
)


@pytest.mark.parametrize(("config", "where"), WRONG)
async def test_what_is_wrong_is_named(here: Here, config: dict[str, Any], where: str) -> None:
    with pytest.raises(InvalidArgument, match=where):
        await here.call(api.add_registry, api.AddRegistryRequest(registry=RegistryConfig(**config)))


async def test_only_who_may_do_everything_looks_after_registries(here: Here) -> None:
    here.plane.people.rules["ann"] = (rule("*", ["get", "list", "create", "update", "delete"]),)
    with pytest.raises(PermissionDenied):
        await here.call(api.list_registries, api.ListRegistriesRequest(), "ann")
