"""Secrets count their versions, keep ten of them, and show a value to nobody but who may reveal it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import msgspec
import pytest

from promises import promise
from rune.api import OPERATIONS, Effect, codec, wirejson
from rune.api.orchestrator import secrets as api
from rune.api.orchestrator.secrets import Secret
from rune.api.orchestrator.services import Service
from rune.api.orchestrator.specs import DependencyRef, EnvFromSource, SecretMount
from rune.core.access import rule
from rune.core.permissions import may, principals
from rune.core.runefile import SecretLimits
from rune.core.store.base import Put
from rune.errors import (
    AlreadyExists,
    Conflict,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
)
from rune.orchestrator.safe import KeptSecret, SecretVersion
from rune.orchestrator.secrets import Secrets
from unit.orchestrator.plane import Plane, names, new_plane
from vaults import opened

PLANTED = "hunter2-planted-value"


@pytest.fixture
async def plane() -> AsyncIterator[Plane]:
    plane = await new_plane()
    limits = SecretLimits(max_keys_per_secret=4, max_value_size=100)
    Secrets(opened(plane.store).safe, clock=plane.clock, limits=limits).register(plane.dispatcher)
    async with plane.store:
        yield plane


async def create(plane: Plane, data: Mapping[str, str], name: str = "db", namespace: str = "") -> Secret:
    ask = api.CreateSecretRequest(
        secret=Secret(name=name, namespace=namespace, data=dict(data)), ensure_namespace=True
    )
    return made(await plane.call(api.create, ask))


async def update(plane: Plane, data: Mapping[str, str], revision: int = 0) -> Secret:
    secret = Secret(name="db", data=dict(data), revision=revision)
    return made(await plane.call(api.update, api.UpdateSecretRequest(secret=secret)))


async def reveal(plane: Plane, version: int = 0) -> dict[str, str]:
    ask = api.RevealSecretVersionRequest(name="db", version=version)
    return made(await plane.call(api.reveal_version, ask)).data


async def versions(plane: Plane) -> list[int]:
    answer = await plane.call(api.list_versions, api.ListSecretVersionsRequest(name="db"))
    return [item.version for item in answer.versions]


def made(answer: api.SecretResponse) -> Secret:
    assert answer.secret
    return answer.secret


async def test_a_secret_begins_at_version_1_and_shows_its_keys(plane: Plane) -> None:
    created = await create(plane, {"password": PLANTED, "user": "app"})
    assert (created.version, created.type, created.data) == (1, "static", {})
    assert created.data_keys == ["password", "user"]
    assert made(await plane.call(api.get, api.GetSecretRequest(name="db"))) == created


async def test_a_second_secret_of_a_name_is_refused(plane: Plane) -> None:
    await create(plane, {})
    with pytest.raises(AlreadyExists, match="secret default/db exists: update it instead"):
        await create(plane, {})


async def test_the_version_counts_real_changes_only(plane: Plane) -> None:
    await create(plane, {"a": "1", "b": "2"})
    assert (await update(plane, {"b": "2", "a": "1"})).version == 1
    assert (await update(plane, {"a": "2"})).version == 2
    assert await versions(plane) == [2, 1]
    assert await reveal(plane) == {"a": "2"}
    assert await reveal(plane, 1) == {"a": "1", "b": "2"}


async def test_an_update_of_an_older_revision_is_refused(plane: Plane) -> None:
    created = await create(plane, {"a": "1"})
    await update(plane, {"a": "2"}, revision=created.revision)
    with pytest.raises(Conflict, match="read it again"):
        await update(plane, {"a": "3"}, revision=created.revision)


async def test_a_patch_sets_and_removes_and_leaves_the_rest(plane: Plane) -> None:
    await create(plane, {"a": "1", "b": "2"})
    ask = api.PatchSecretRequest(name="db", set={"c": "3"}, unset=["a", "zzz"])
    assert made(await plane.call(api.patch, ask)).data_keys == ["b", "c"]
    assert await reveal(plane) == {"b": "2", "c": "3"}
    with pytest.raises(InvalidArgument, match=r"unset\[a\]"):
        await plane.call(api.patch, api.PatchSecretRequest(name="db", set={"a": "1"}, unset=["a"]))


async def test_ten_versions_are_kept(plane: Plane) -> None:
    await create(plane, {"n": "1"})
    for number in range(2, 15):
        await update(plane, {"n": str(number)})
    assert await versions(plane) == list(range(14, 4, -1))
    assert len(plane.store.list(SecretVersion)) == 10
    assert await reveal(plane, 5) == {"n": "5"}
    with pytest.raises(NotFound, match="version 4 of secret default/db is not kept: 5 to 14 are"):
        await reveal(plane, 4)


async def test_a_rollback_makes_an_earlier_version_the_newest(plane: Plane) -> None:
    await create(plane, {"by": "create"})
    with pytest.raises(FailedPrecondition, match="no version before 1"):
        await plane.call(api.rollback, api.RollbackSecretRequest(name="db"))
    await update(plane, {"by": "update"})
    back = made(await plane.call(api.rollback, api.RollbackSecretRequest(name="db")))
    assert (back.version, await reveal(plane)) == (3, {"by": "create"})
    await plane.call(api.rollback, api.RollbackSecretRequest(name="db", to_version=2))
    assert await reveal(plane) == {"by": "update"}


async def test_a_deletion_takes_the_versions_along_and_not_those_of_a_neighbour(plane: Plane) -> None:
    await create(plane, {"a": "1"}, name="db-2")
    await create(plane, {"a": "1"})
    await update(plane, {"a": "2"})
    await plane.call(api.delete, api.DeleteSecretRequest(name="db"))
    assert names(plane.store.list(KeptSecret)) == ["db-2"]
    assert [item.secret for item in plane.store.list(SecretVersion)] == ["db-2"]
    with pytest.raises(NotFound, match="secret not found: default/db"):
        await plane.call(api.delete, api.DeleteSecretRequest(name="db"))


@pytest.mark.parametrize(
    "spec",
    [
        {"secret_mounts": [SecretMount(mount_path="x", secret_name="db")]},
        {"env_from": [EnvFromSource(secret_name="db")]},
        {"dependencies": [DependencyRef(secret="db")]},
    ],
    ids=["mount", "variables", "dependency"],
)
async def test_a_secret_in_use_is_not_deleted(plane: Plane, spec: dict[str, Any]) -> None:
    await create(plane, {})
    await plane.store.commit(Put(Service(name="api", namespace="default", **spec)))
    with pytest.raises(FailedPrecondition, match="in use by: default/api"):
        await plane.call(api.delete, api.DeleteSecretRequest(name="db"))


@promise("secrets.limits")
async def test_the_limits_are_those_of_the_settings_and_at_most_the_contracts(plane: Plane) -> None:
    assert SecretLimits() == SecretLimits(max_keys_per_secret=64, max_value_size=65_536)
    with pytest.raises(InvalidArgument, match=r"secret\.data: has 5 keys; 4 are the most"):
        await create(plane, {f"k{number}": "" for number in range(5)})
    with pytest.raises(
        InvalidArgument, match=r"secret\.data\.large: has 102 bytes; 100 are the most"
    ) as caught:
        await create(plane, {"small": "x", "large": "é" * 51})
    assert "é" not in str(caught.value)
    await create(plane, {f"k{number}": "" for number in range(4)})
    with pytest.raises(InvalidArgument, match="set: has 5 keys"):
        await plane.call(api.patch, api.PatchSecretRequest(name="db", set={"more": ""}))


async def test_a_type_that_is_not_known_is_refused(plane: Plane) -> None:
    ask = api.CreateSecretRequest(secret=Secret(name="db", type="dynamic"))
    with pytest.raises(InvalidArgument, match=r"secret\.type: only `static` is known"):
        await plane.call(api.create, ask)


@promise("secrets.reveal")
async def test_revealing_takes_a_right_of_its_own_and_is_audited(plane: Plane) -> None:
    await create(plane, {"password": PLANTED})
    plane.people.rules["ann"] = (rule("*", ["get", "list", "watch", "create", "update", "delete", "exec"]),)
    plane.people.rules["eve"] = (rule("secrets", ["reveal"]),)
    with pytest.raises(PermissionDenied):
        await plane.call(api.reveal, api.RevealSecretRequest(name="db"), "ann")
    shown = made(await plane.call(api.reveal, api.RevealSecretRequest(name="db"), "eve"))
    assert shown.data == {"password": PLANTED}
    assert plane.quiet.records[-2:] == [("reveal_secret", "PERMISSION_DENIED"), ("reveal_secret", "ok")]
    allowed = {each.name for each in principals() if may(each, api.reveal) or may(each, api.reveal_version)}
    assert allowed == {"root", "admin"}
    assert {row.name for row in OPERATIONS if row.verb == "reveal" and row.effect is Effect.READ} == set()


READS: list[tuple[str, Callable[[], Any], Any]] = [
    ("get", lambda: api.GetSecretRequest(name="db"), api.get),
    ("list", lambda: api.ListSecretsRequest(namespace="*"), api.list_),
    ("versions", lambda: api.ListSecretVersionsRequest(name="db"), api.list_versions),
    ("update", lambda: api.UpdateSecretRequest(secret=Secret(name="db", data={"a": PLANTED})), api.update),
    ("patch", lambda: api.PatchSecretRequest(name="db", set={"b": PLANTED}), api.patch),
    ("rollback", lambda: api.RollbackSecretRequest(name="db"), api.rollback),
]


@pytest.mark.parametrize(("ask", "operation"), [row[1:] for row in READS], ids=[row[0] for row in READS])
async def test_no_answer_but_that_of_reveal_has_a_value(
    plane: Plane, ask: Callable[[], Any], operation: Any
) -> None:
    await create(plane, {"password": PLANTED})
    await update(plane, {"password": f"{PLANTED}2"})
    answer = await plane.call(operation, ask())
    everything = codec.encode(answer) + wirejson.encode(answer) + repr(answer).encode()
    assert PLANTED.encode() not in everything
    assert b"db" in everything


async def test_messages_with_values_do_not_print_them(plane: Plane) -> None:
    secret = Secret(name="db", data={"password": PLANTED})
    for message in (
        secret,
        api.CreateSecretRequest(secret=secret),
        api.UpdateSecretRequest(secret=secret),
        api.PatchSecretRequest(name="db", set={"password": PLANTED}),
        api.SecretResponse(secret=secret),
    ):
        assert PLANTED not in repr(message)
        assert "password" in repr(message)


@promise("secrets.rest")
async def test_what_is_stored_is_sealed_for_its_namespace_name_and_version(plane: Plane) -> None:
    await create(plane, {"password": PLANTED})
    await update(plane, {"password": f"{PLANTED}2"})
    stored = [*plane.store.list(KeptSecret), *plane.store.list(SecretVersion)]
    assert PLANTED.encode() not in msgspec.json.encode(stored)
    first, second = plane.store.list(SecretVersion)
    assert [item.place[1:] for item in (first, second)] == [("default", "db", 1), ("default", "db", 2)]
    await plane.store.commit(Put(msgspec.structs.replace(second, sealed=first.sealed)))
    with pytest.raises(Exception, match="what is stored is not what was sealed there"):
        await plane.call(api.reveal, api.RevealSecretRequest(name="db"))


async def test_a_caller_sees_only_what_is_in_their_namespaces(plane: Plane) -> None:
    plane.people.rules["ann"] = (rule("secrets", ["list", "get"], "shop"),)
    await create(plane, {}, namespace="shop")
    await create(plane, {}, namespace="shop-eu")
    seen = await plane.call(api.list_, api.ListSecretsRequest(namespace="*"), "ann")
    assert [item.namespace for item in seen.secrets] == ["shop"]
    with pytest.raises(PermissionDenied):
        await plane.call(api.get, api.GetSecretRequest(name="db", namespace="shop-eu"), "ann")
