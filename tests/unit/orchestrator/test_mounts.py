"""Copies get secrets and configmaps as variables and files, wait for what is missing, and see changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
import pytest

from promises import promise
from rune.api.orchestrator import configmaps, secrets
from rune.api.orchestrator import services as service_api
from rune.api.orchestrator.services import Service, ServiceStatus
from rune.api.orchestrator.specs import (
    ConfigmapMount,
    DependencyRef,
    EnvFromSource,
    KeyToPath,
    ProcessSpec,
    SecretMount,
)
from rune.core.store.base import Delete
from rune.errors import FailedPrecondition, InvalidArgument
from rune.orchestrator.configmaps import Configmaps
from rune.orchestrator.mountpaths import violations
from rune.orchestrator.mounts import Missing, Mounts
from rune.orchestrator.runners.base import Workload
from rune.orchestrator.safe import KeptSecret
from rune.orchestrator.secrets import Secrets
from rune.orchestrator.spec import Template
from unit.orchestrator.plane import Plane, new_plane
from vaults import opened

PLANTED = "hunter2-planted-value"
NEW = {"password": b"new"}
WORK = Workload(instance="i", command=["x"], env={"OWN": "1", "SHARED": "env"})


@pytest.fixture
async def plane() -> AsyncIterator[Plane]:
    plane = await new_plane()
    safe = opened(plane.store).safe
    plane.supplies = Mounts(safe)
    Secrets(safe, clock=plane.clock).register(plane.dispatcher)
    Configmaps(plane.store, clock=plane.clock).register(plane.dispatcher)
    async with plane.store:
        yield plane


async def keep(plane: Plane, name: str, data: Mapping[str, str]) -> None:
    secret = secrets.Secret(name=name, data=dict(data))
    await plane.call(secrets.create, secrets.CreateSecretRequest(secret=secret))


async def note(plane: Plane, name: str, data: Mapping[str, str]) -> None:
    configmap = configmaps.Configmap(name=name, data=dict(data))
    await plane.call(configmaps.create, configmaps.CreateConfigmapRequest(configmap=configmap))


async def change(plane: Plane, name: str, **values: str) -> None:
    await plane.call(secrets.patch, secrets.PatchSecretRequest(name=name, set=values))


def spec(**fields: Any) -> Service:
    return Service(name="api", namespace="default", process=ProcessSpec(command="x"), **fields)


def wrong(**fields: Any) -> dict[str, str]:
    return dict(violations(spec(**fields)))


async def test_variables_come_in_the_order_of_their_sources_and_env_wins(plane: Plane) -> None:
    await keep(plane, "db", {"A": "secret", "SHARED": "secret", "BOTH": "secret"})
    await note(plane, "app", {"B": "config", "BOTH": "config"})
    asked = spec(env_from=[EnvFromSource(secret_name="db"), EnvFromSource(configmap_name="app")])
    got = await plane.supplies.supply(WORK, asked)
    assert got.workload.env == {"A": "secret", "B": "config", "BOTH": "config", "OWN": "1", "SHARED": "env"}
    assert not got.notes


async def test_a_prefix_is_put_before_every_key(plane: Plane) -> None:
    await keep(plane, "db", {"url": "x", "1st": "y"})
    got = await plane.supplies.supply(WORK, spec(env_from=[EnvFromSource(secret_name="db", prefix="DB_")]))
    assert {"DB_url", "DB_1st"} <= got.workload.env.keys()


async def test_keys_that_cannot_be_variables_are_left_out_and_named(plane: Plane) -> None:
    await keep(plane, "db", {"ok": "1", "log-level": PLANTED, "a.b": PLANTED, "nul": f"{PLANTED}\0"})
    got = await plane.supplies.supply(WORK, spec(env_from=[EnvFromSource(secret_name="db")]))
    assert got.workload.env == {"ok": "1", **WORK.env}
    (said,) = got.notes
    assert said.endswith("they cannot be variables: a.b, log-level, nul")
    assert PLANTED not in said


async def test_files_are_all_keys_or_those_that_are_named(plane: Plane) -> None:
    await keep(plane, "tls", {"key.pem": "k", "cert.pem": "c"})
    await note(plane, "app", {"a": "1"})
    asked = spec(
        secret_mounts=[
            SecretMount(mount_path="tls", secret_name="tls", items=[KeyToPath(key="key.pem", path="p/k")])
        ],
        configmap_mounts=[ConfigmapMount(mount_path="app", configmap_name="app")],
    )
    tls, app = (await plane.supplies.supply(WORK, asked)).workload.files
    assert (tls.target, dict(tls.content), tls.is_secret) == ("tls", {"p/k": b"k"}, True)
    assert (app.target, dict(app.content), app.is_secret) == ("app", {"a": b"1"}, False)


async def test_a_value_that_looks_like_base64_stays_as_it_is(plane: Plane) -> None:
    await keep(plane, "db", {"password": "abcd"})
    asked = spec(secret_mounts=[SecretMount(mount_path="db", secret_name="db")])
    (files,) = (await plane.supplies.supply(WORK, asked)).workload.files
    assert files.content == {"password": b"abcd"}


async def test_what_is_missing_is_named_with_its_kind(plane: Plane) -> None:
    with pytest.raises(Missing, match="^secret default/db does not exist") as caught:
        await plane.supplies.supply(WORK, spec(env_from=[EnvFromSource(secret_name="db")]))
    assert caught.value.reason == "SecretNotFound"
    with pytest.raises(Missing, match="^configmap default/app") as caught:
        await plane.supplies.supply(WORK, spec(env_from=[EnvFromSource(configmap_name="app")]))
    assert caught.value.reason == "ConfigmapNotFound"
    await keep(plane, "db", {})
    mount = SecretMount(mount_path="db", secret_name="db", items=[KeyToPath(key="pw", path="pw")])
    with pytest.raises(Missing, match="has no key 'pw', which is to be mounted at db"):
        await plane.supplies.supply(WORK, spec(secret_mounts=[mount]))


async def test_a_workload_does_not_print_what_it_was_given(plane: Plane) -> None:
    await keep(plane, "db", {"password": PLANTED})
    asked = spec(
        env_from=[EnvFromSource(secret_name="db")],
        secret_mounts=[SecretMount(mount_path="db", secret_name="db")],
    )
    got = await plane.supplies.supply(WORK, asked)
    assert PLANTED not in f"{got!r}{got.workload!r}{got.workload.files!r}"
    assert PLANTED in got.workload.env.values()


@pytest.mark.parametrize(
    ("path", "why"),
    [
        (
            "/etc/app",
            "give a relative path, such as app, and read it below the folder that RUNE_MOUNTS names",
        ),
        ("", "is no path"),
        ("a//b", "is no path"),
        ("./a", "is no path"),
        ("a/../../b", "begins with `..`"),
        ("..data", "begins with `..`"),
        ("a\0b", "is no path"),
    ],
)
def test_a_process_has_mounts_below_its_own_folder_alone(path: str, why: str) -> None:
    found = list(violations(spec(secret_mounts=[SecretMount(mount_path=path, secret_name="db")])))
    assert [field for field, _ in found] == ["secret_mounts[0].mount_path"]
    assert why in found[0].description


def test_a_container_has_mounts_anywhere_in_its_own_files() -> None:
    def of(path: str) -> list[str]:
        mounts = [SecretMount(mount_path=path, secret_name="db")]
        service = Service(name="api", namespace="default", image="x", secret_mounts=mounts)
        return [violation.description for violation in violations(service)]

    assert of("/etc/app") == []
    assert of("app") == ["must be an absolute path of the container, such as /etc/app"]


def test_mounts_do_not_lie_within_each_other() -> None:
    mounts = [SecretMount(mount_path=path, secret_name="db") for path in ("a", "a/b")]
    assert "lie within each other" in wrong(secret_mounts=mounts)["secret_mounts"]


@pytest.mark.parametrize("items", [["../x"], ["/x"], ["a", "a/b"], ["a", "a"], [""]])
def test_items_are_files_of_their_own_below_the_mount(items: list[str]) -> None:
    each = [KeyToPath(key="k", path=path) for path in items]
    found = wrong(secret_mounts=[SecretMount(mount_path="a", secret_name="db", items=each)])
    assert list(found) == [f"secret_mounts[0].items[{len(items) - 1}].path"]


def test_a_source_names_one_thing_of_the_services_own_namespace() -> None:
    assert wrong(env_from=[EnvFromSource()]).keys() == {"env_from[0]"}
    both = EnvFromSource(secret_name="a", configmap_name="b")
    assert wrong(env_from=[both]).keys() == {"env_from[0]"}
    foreign = wrong(env_from=[EnvFromSource(secret_name="a", namespace="prod")])
    assert "must be the service's own" in foreign["env_from[0].namespace"]
    assert wrong(env_from=[EnvFromSource(secret_name="a", prefix="9")]).keys() == {"env_from[0].prefix"}


async def test_a_service_waits_for_what_it_needs_and_says_for_what(plane: Plane) -> None:
    async with plane.running():
        await plane.serve("api", env_from=[EnvFromSource(secret_name="db")])

        def service() -> Service:
            return plane.store.get(Service, "default", "api")

        await plane.until(lambda: "secret default/db does not exist" in service().status_message)
        assert not plane.copies("api")
        await keep(plane, "db", {"PASSWORD": PLANTED})
        await plane.copy_of("api")
        assert plane.runner.started[-1].env["PASSWORD"] == PLANTED
        assert (
            PLANTED not in msgspec.json.encode([*plane.store.list(Template), *plane.copies("api")]).decode()
        )


@pytest.mark.parametrize("kind", ["secret", "configmap"])
async def test_a_dependency_on_a_secret_or_configmap_is_waited_for(plane: Plane, kind: str) -> None:
    ref = DependencyRef(secret="x") if kind == "secret" else DependencyRef(configmap="x")
    async with plane.running():
        await plane.serve("api", dependencies=[ref])
        await plane.until(
            lambda: (
                f"{kind} default/x does not exist"
                in plane.store.get(Service, "default", "api").status_message
            )
        )
        await (keep if kind == "secret" else note)(plane, "x", {})
        await plane.copy_of("api")


async def test_an_optional_dependency_is_not_waited_for(plane: Plane) -> None:
    async with plane.running():
        await plane.serve("api", dependencies=[DependencyRef(secret="x", optional=True)])
        await plane.copy_of("api")


async def test_a_copy_says_what_it_did_not_get(plane: Plane) -> None:
    await keep(plane, "db", {"log-level": "x"})
    async with plane.running():
        await plane.serve("api", env_from=[EnvFromSource(secret_name="db")])
        copy = await plane.copy_of("api")
    (said,) = copy.notes
    assert "log-level" in said


async def test_a_change_reaches_the_files_of_what_runs_and_not_its_variables(plane: Plane) -> None:
    await keep(plane, "db", {"password": "old"})
    mounts = [SecretMount(mount_path="db", secret_name="db")]
    async with plane.running():
        await plane.serve("api", secret_mounts=mounts, env_from=[EnvFromSource(secret_name="db")])
        copy = await plane.copy_of("api")
        await change(plane, "db", password="new")
        async with asyncio.timeout(5):
            await plane.runner.refreshing(lambda workload: workload.files[0].content == NEW)
    assert plane.copies("api")[0].pid == copy.pid
    assert [workload.env["password"] for workload in plane.runner.started] == ["old"]


async def test_nothing_is_refreshed_for_who_mounts_nothing(plane: Plane) -> None:
    await keep(plane, "db", {"password": "old"})
    async with plane.running():
        await plane.serve("plain")
        await plane.serve("api", secret_mounts=[SecretMount(mount_path="db", secret_name="db")])
        await plane.copy_of("plain")
        await plane.copy_of("api")
        await change(plane, "db", password="new")
        async with asyncio.timeout(5):
            await plane.runner.refreshing(lambda workload: workload.files[0].content == NEW)
    assert {workload.service for workload in plane.runner.refreshed} == {"api"}


async def test_a_restart_finds_a_secret_gone_and_says_so(plane: Plane) -> None:
    await keep(plane, "db", {"password": "old"})
    async with plane.running():
        await plane.serve("api", env_from=[EnvFromSource(secret_name="db")])
        copy = await plane.copy_of("api")
        await plane.store.commit(Delete(plane.store.get(KeptSecret, "default", "db").key))
        plane.runner.exit(copy.id, 1)
        await plane.until(lambda: plane.copies("api")[0].failure_reason == "SecretNotFound")
    assert "secret default/db does not exist" in plane.copies("api")[0].status_message
    assert plane.store.get(Service, "default", "api").status is not ServiceStatus.UNSPECIFIED


async def test_a_spec_that_asks_for_the_impossible_is_refused_when_it_is_written(plane: Plane) -> None:
    mounts = [SecretMount(mount_path="/etc/app", secret_name="db")]
    ask = service_api.CreateServiceRequest(service=spec(secret_mounts=mounts))
    with pytest.raises(InvalidArgument, match=r"service\.secret_mounts\[0\]\.mount_path"):
        await plane.call(service_api.create, ask)


def asking(**env: str) -> tuple[Workload, Service]:
    """A workload and the spec it was made from, whose variables are these."""
    return msgspec.structs.replace(WORK, env={**env, "OWN": "1"}), spec(env=env)


@promise("env.references")
async def test_references_in_variables_become_the_values_they_name(plane: Plane) -> None:
    await keep(plane, "db", {"password": PLANTED, "user": "root"})
    await note(plane, "app", {"log.level": "debug"})
    asked = asking(
        URL="pg://{{secret:db/user}}:{{ secret:db.default.rune/password }}@db",
        LEVEL="{{configmap:app/log.level}}",
        OTHER="{{ braces }} of {{.Values.ours}}",
    )
    got = await plane.supplies.supply(*asked)
    assert got.workload.env == {
        "URL": f"pg://root:{PLANTED}@db",
        "LEVEL": "debug",
        "OTHER": "{{ braces }} of {{.Values.ours}}",
        "OWN": "1",
    }
    assert PLANTED not in f"{got!r}{got.workload!r}"


async def test_a_value_that_looks_like_a_reference_is_not_read_again(plane: Plane) -> None:
    await keep(plane, "db", {"a": "{{secret:db/b}}", "b": PLANTED})
    got = await plane.supplies.supply(*asking(A="{{secret:db/a}}"))
    assert got.workload.env["A"] == "{{secret:db/b}}"


async def test_a_reference_to_nothing_is_named_with_its_variable(plane: Plane) -> None:
    with pytest.raises(Missing, match="^secret default/db does not exist"):
        await plane.supplies.supply(*asking(A="{{secret:db/a}}"))
    await keep(plane, "db", {"b": PLANTED, "nul": f"{PLANTED}\0"})
    with pytest.raises(Missing, match="^secret default/db has no key 'a', which env.A names") as caught:
        await plane.supplies.supply(*asking(A="{{secret:db/b}}{{secret:db/a}}"))
    assert PLANTED not in str(caught.value)
    with pytest.raises(Missing, match=r"has a NUL in key 'nul', so env\.A cannot hold it") as caught:
        await plane.supplies.supply(*asking(A="{{secret:db/nul}}"))
    assert PLANTED not in str(caught.value)


@pytest.mark.parametrize(
    "value, why",
    [
        ("{{secret:db}}", "names no key: write {{secret:NAME/KEY}}"),
        ("x {{configmap:app/}}", "names no key: write {{configmap:NAME/KEY}}"),
        ("{{secret:db/a/b}}", "names no key"),
        ("{{secret:/a}}", "names no secret: '' is not a name"),
        ("{{secret:Db/a}}", "names no secret: 'Db' is not a name"),
        (
            "{{secret:db.prod.rune/a}}",
            "names another namespace: a service gets what its own, 'default', keeps",
        ),
        ("{{secret:db.default/a}}", "names another namespace"),
    ],
)
async def test_a_malformed_reference_is_refused_with_its_variable(plane: Plane, value: str, why: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await plane.serve("api", env={"GOOD": "1", "DB_URL": value})
    (found,) = caught.value.details
    assert found.field == "service.env.DB_URL"
    assert why in found.description


async def test_a_service_shows_the_reference_and_never_the_value(plane: Plane) -> None:
    await keep(plane, "db", {"password": PLANTED})
    service = await plane.serve("api", env={"PASSWORD": "{{secret:db/password}}"})
    async with plane.running():
        await plane.until(lambda: any(copy.pid for copy in plane.copies("api")))
    copy = plane.copies("api")[0]
    assert plane.runner.started[-1].env["PASSWORD"] == PLANTED
    assert service.env == {"PASSWORD": "{{secret:db/password}}"}
    assert PLANTED not in f"{plane.store.list(Service)}{plane.store.list(Template)}{copy}"


async def test_a_secret_that_a_variable_names_is_in_use(plane: Plane) -> None:
    await keep(plane, "db", {"password": PLANTED})
    await plane.serve("api", env={"PASSWORD": "{{secret:db/password}}"})
    with pytest.raises(FailedPrecondition, match="default/api"):
        await plane.call(secrets.delete, secrets.DeleteSecretRequest(name="db"))
