"""Images from a registry: credentials, policies, and failures that are told."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from containers import said, shell
from engines import Engine, root_filesystem
from promises import promise
from registry import Registry
from rune.errors import FailedPrecondition
from rune.orchestrator.runners.base import (
    Credentials,
    PullPolicy,
    State,
)
from rune.orchestrator.runners.docker import registries
from rune.orchestrator.runners.docker.runner import DockerRunner

pytestmark = [pytest.mark.system, pytest.mark.requires("docker"), pytest.mark.timeout(30)]


@pytest.mark.parametrize(
    ("door", "credentials", "shown"),
    [
        ({}, None, None),
        ({"password": "p:w"}, registries.basic("somebody", "p:w"), "Basic c29tZWJvZHk6cDp3"),
        ({"username": "token", "password": "t"}, registries.token("t"), "Basic dG9rZW46dA=="),
        ({"refresh": "r"}, Credentials(identity_token="r"), "Bearer pass"),
    ],
    ids=["open", "basic", "token", "identity token"],
)
async def test_an_image_is_pulled_with_its_credentials(
    runner: DockerRunner,
    docker_engine: Engine,
    *,
    door: dict[str, str],
    credentials: Credentials | None,
    shown: str | None,
) -> None:
    async with Registry(root_filesystem("pulled"), **door).serving() as registry:  # pyright: ignore[reportArgumentType] - fields by name
        workload = shell("pulled", "echo here", image=registry.image, credentials=credentials)
        assert await said(runner, workload) == ["here"]
        assert set(registry.authorizations) == ({shown} if shown else set())
        await runner.remove("pulled")
        docker_engine.docker("rmi", registry.image)


async def test_credentials_are_read_from_a_docker_config(runner: DockerRunner, docker_engine: Engine) -> None:
    async with Registry(root_filesystem(), password="pw").serving() as registry:
        text = f'{{"auths": {{"http://127.0.0.1:{registry.port}/v2/": {{"auth": "c29tZWJvZHk6cHc="}}}}}}'
        credentials = registries.dockerconfigjson(text, registry.image)
        workload = shell("pulled", "echo here", image=registry.image, credentials=credentials)
        assert await said(runner, workload) == ["here"]
        await runner.remove("pulled")
        docker_engine.docker("rmi", registry.image)


async def test_the_registrys_refusal_is_told_and_no_secret_with_it(runner: DockerRunner) -> None:
    async with Registry(root_filesystem(), password="right").serving() as registry:
        given = registries.basic("somebody", "wrong-secret")
        workload = shell("denied", image=registry.image, credentials=given)
        with pytest.raises(FailedPrecondition, match=r"cannot be pulled.*") as refused:
            await runner.ensure(workload)
    assert "wrong-secret" not in f"{refused.value!r} {workload!r} {given!r}"
    assert runner.observe("denied").state is State.ABSENT


@promise("weak-spot.20")
async def test_a_failure_in_the_middle_of_a_pull_is_told(runner: DockerRunner) -> None:
    async with Registry(root_filesystem("broken"), broken=True).serving() as registry:
        with pytest.raises(FailedPrecondition, match="cannot be pulled"):
            await runner.ensure(shell("broken", image=registry.image))


async def test_pull_policies_decide_whether_the_registry_is_asked(
    runner: DockerRunner, docker_engine: Engine
) -> None:
    async with Registry(root_filesystem()).serving() as registry:
        never, missing, always = (
            shell("policy", "echo here", image=registry.image, pull=policy, attempt=attempt)
            for attempt, policy in enumerate((PullPolicy.NEVER, PullPolicy.MISSING, PullPolicy.ALWAYS))
        )
        with pytest.raises(FailedPrecondition, match="its pull policy is never"):
            await runner.ensure(never)
        assert registry.pulls == 0
        await said(runner, missing)
        asked = registry.pulls
        await said(runner, msgspec.structs.replace(missing, attempt=2))
        assert asked == registry.pulls > 0
        await said(runner, msgspec.structs.replace(always, attempt=3))
        assert registry.pulls > asked
    with pytest.raises(FailedPrecondition, match="connection refused"):
        await runner.ensure(msgspec.structs.replace(always, attempt=4))
    assert await said(runner, msgspec.structs.replace(never, attempt=4))
    await runner.remove("policy")
    docker_engine.docker("rmi", registry.image)


async def test_many_who_want_one_image_wait_for_one_pull(runner: DockerRunner, docker_engine: Engine) -> None:
    async with Registry(root_filesystem()).serving() as registry:
        workloads = [shell(f"many{n}", image=registry.image) for n in range(4)]
        await asyncio.gather(*map(runner.ensure, workloads))
        assert registry.pulls <= 2  # a HEAD and a GET
        await asyncio.gather(*(runner.remove(workload.instance) for workload in workloads))
        docker_engine.docker("rmi", registry.image)
