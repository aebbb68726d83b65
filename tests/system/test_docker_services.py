"""Services with an image, through a real runed on a real Engine: their whole life, and what may go wrong."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest

from containers import FOREVER, got, on, ours
from engines import IMAGE, Engine
from rune.api.orchestrator import exec as commands
from rune.api.orchestrator import instances, services
from rune.api.orchestrator.instances import DesiredState, Instance
from rune.api.orchestrator.services import Service, ServiceStatus
from rune.api.orchestrator.specs import (
    HealthCheck,
    Probe,
    ProbeType,
    ResourceLimit,
    Resources,
    ServicePort,
)
from runed import Runed

pytestmark = [pytest.mark.system, pytest.mark.requires("docker"), pytest.mark.timeout(90)]

WEB: dict[str, Any] = {
    "image": IMAGE,
    "command": "/bin/sh",
    "args": ["-c", "echo begun; exec httpd -f -p 8080 -h /etc"],
    "ports": [ServicePort(name="http", port=8080)],
    "drain_seconds": 1,  # the first process of a container hears SIGTERM only if it asked to
    "health": HealthCheck(readiness=Probe(type=ProbeType.HTTP, path="/passwd", period_seconds=1)),
}
SLEEPER: dict[str, Any] = {"image": IMAGE, "command": "/bin/sh", "args": ["-c", FOREVER]}


@pytest.fixture
async def server(docker_engine: Engine, tmp_path: Path) -> AsyncGenerator[Runed]:
    async with on(docker_engine, tmp_path) as started:
        yield started


@pytest.fixture
def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("", 0))
        return int(bound.getsockname()[1])


async def ran(server: Runed, service: str, *command: str) -> str:
    """What a command inside a copy of the service writes."""
    ask = commands.RunCommandRequest(target=service, command=list(command))
    return b"".join([item.stdout or b"" async for item in server.client.stream(commands.run, ask)]).decode()


async def copy_of(server: Runed, name: str) -> Instance:
    (copy,) = await server.copies(name)
    return copy


def is_running(service: Service) -> bool:
    return service.status is ServiceStatus.RUNNING


async def test_the_life_of_a_service_with_an_image(server: Runed, docker_engine: Engine) -> None:
    await server.create("web", **WEB)
    await server.until_running("web")
    first = await copy_of(server, "web")
    assert [first.container_id] == ours(docker_engine, server)
    assert "root:x:0:0" in await got(first.ip, 8080, "/passwd")
    assert await server.lines("web", 1) == ["begun"]
    assert (await ran(server, "web", "/bin/echo", "hello")) == "hello\n"

    await server.call(services.scale, services.ScaleServiceRequest(name="web", scale=2))
    grown = await server.until("web", lambda seen: is_running(seen) and len(seen.instances) == 2)
    assert first.container_id in {copy.container_id for copy in grown.instances}

    fewest = await rolled(server, Service(name="web", scale=2, env={"COLOR": "blue"}, **WEB))
    assert fewest == 2
    assert "COLOR=blue" in (await ran(server, "web", "/bin/env")).splitlines()

    victim, *_ = staying(await server.service("web"))
    docker_engine.docker("kill", victim.container_id)
    replaced = await server.until(
        "web", lambda seen: is_running(seen) and victim.container_id not in containers(seen)
    )
    again = next(copy for copy in replaced.instances if copy.id == victim.id)
    assert again.metadata
    assert again.metadata.restart_count == 1

    await server.call(services.delete, services.DeleteServiceRequest(name="web"))
    assert ours(docker_engine, server) == []


def containers(service: Service) -> set[str]:
    return {copy.container_id for copy in staying(service)}


def staying(service: Service) -> list[Instance]:
    """The copies that are not on their way out."""
    return [copy for copy in service.instances if copy.desired is DesiredState.RUNNING]


async def rolled(server: Runed, spec: Service) -> int:
    """Update a service; returns how few of its copies were ready at any time on the way."""
    before = containers(await server.service(spec.name))
    await server.call(services.update, services.UpdateServiceRequest(service=spec))
    ready: list[int] = []

    def is_over(seen: Service) -> bool:
        ready.append(sum(copy.ready for copy in seen.instances))
        return is_running(seen) and not before & containers(seen)

    await server.until(spec.name, is_over)
    return min(ready)


async def test_containers_live_through_a_kill_of_runed(server: Runed, docker_engine: Engine) -> None:
    await server.create("many", scale=20, **SLEEPER)
    before = await server.until_running("many")
    assert len(containers(before)) == 20
    await server.end(SIGKILL)
    await server.start("--dev", "--config", str(server.folder.parent / "runefile.yaml"))
    victim, *others = before.instances
    docker_engine.docker("kill", victim.container_id)  # only who has adopted it can replace it
    after = await server.until(
        "many", lambda seen: is_running(seen) and victim.container_id not in containers(seen)
    )
    assert containers(after) > {copy.container_id for copy in others}
    restarts = {copy.id: copy.metadata.restart_count for copy in after.instances if copy.metadata}
    assert restarts == {copy.id: int(copy.id == victim.id) for copy in before.instances}
    running = docker_engine.docker("ps", "-q", "--no-trunc").split()
    assert containers(after) <= set(running)


async def test_services_listen_on_one_port_side_by_side_and_find_each_other(
    server: Runed, docker_engine: Engine
) -> None:
    await server.create("one", **WEB)
    await server.create("two", **WEB)
    for name in ("one", "two"):
        await server.until_running(name)
    assert len(ours(docker_engine, server)) == 2
    for name in ("two", "two.default"):
        page = await ran(server, "one", "/bin/wget", "-q", "-O", "-", f"http://{name}:8080/passwd")
        assert "root:x:0:0" in page


async def test_a_port_of_the_machine_leads_to_the_container(server: Runed, free_port: int) -> None:
    published: dict[str, Any] = WEB | {"ports": [ServicePort(port=8080, host_port=free_port)]}
    await server.create("web", **published)
    await server.until_running("web")
    assert "root:x:0:0" in await got("127.0.0.1", free_port, "/passwd")
    await rolled(server, Service(name="web", scale=1, env={"COLOR": "blue"}, **published))
    assert "root:x:0:0" in await got("127.0.0.1", free_port, "/passwd")


async def test_limits_hold_and_usage_is_shown(server: Runed) -> None:
    limits = Resources(cpu=ResourceLimit(limit="500m"), memory=ResourceLimit(limit="32Mi"))
    await server.create("small", resources=limits, **SLEEPER)
    await server.until_running("small")
    copy = await copy_of(server, "small")
    answer = await server.call(instances.get, instances.GetInstanceRequest(id=copy.id))
    assert answer.instance
    assert answer.instance.usage
    assert answer.instance.usage.mem_limit_bytes == 32 << 20
    assert 0 < answer.instance.usage.mem_used_bytes < 32 << 20


async def test_an_image_that_is_missing_and_may_not_be_pulled_is_the_reason(server: Runed) -> None:
    await server.create("ghost", image="no-such-image:1", image_pull="never")
    seen = await server.until("ghost", lambda service: service.status is ServiceStatus.FAILED)
    assert (
        "image 'no-such-image:1' is not on this machine, and its pull policy is never" in seen.status_message
    )


async def test_an_engine_that_is_stopped_and_started_again_is_no_loss(
    own_engine: Engine, tmp_path: Path
) -> None:
    async with on(own_engine, tmp_path) as server:
        await server.create("web", **SLEEPER)
        await server.cast("native", ["sleep", "1000"])
        before = containers(await server.until_running("web"))
        pid = (await server.until_running("native")).instances[0].pid
        own_engine.lose()
        await server.until("web", lambda seen: "last known state: the Docker Engine" in seen.status_message)
        await server.create("late", **SLEEPER)
        late = await server.until("late", lambda seen: seen.status_reason == "RunnerUnavailable")
        assert f"the Docker Engine at {own_engine.url}" in late.status_message
        assert (await copy_of(server, "native")).pid == pid
        own_engine.start()
        healed = await server.until("web", lambda seen: is_running(seen) and not seen.status_message)
        assert containers(healed) == before
        await server.until_running("late")


async def test_an_engine_that_comes_after_runed_finds_its_services(
    own_engine: Engine, tmp_path: Path
) -> None:
    own_engine.lose()
    async with on(own_engine, tmp_path) as server:
        await server.create("web", **SLEEPER)
        await server.cast("native", ["sleep", "1000"])
        await server.until("web", lambda seen: seen.status_reason == "RunnerUnavailable")
        await server.until_running("native")
        own_engine.start()
        await server.until_running("web")
