"""Weak spots 17, 18, 21, 22 and 23: what runs, and what is told of it, against a real runed.

tests/weak_spots.py lists all of them.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from containers import on
from engines import IMAGE, Engine
from promises import promise
from rune.api.orchestrator import configmaps, health, namespaces, secrets, services
from rune.api.orchestrator.configmaps import Configmap
from rune.api.orchestrator.health import ComponentHealth, HealthStatus
from rune.api.orchestrator.services import Service, ServiceStatus
from rune.api.orchestrator.specs import HealthCheck, Probe, ProbeType, ProcessSpec, ServicePort
from runed import Runed, runed

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]
WEB = Path(__file__).parents[1] / "web.py"
SLEEP: dict[str, Any] = {"process": ProcessSpec(command="sleep", args=["1000"])}
CHANGES = 400


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[Runed]:
    async with runed(tmp_path / "data") as started:
        yield started


def probe(*command: str, **fields: Any) -> Probe:
    return Probe(type=ProbeType.EXEC, command=list(command), period_seconds=1, **fields)


@promise("weak-spot.17")
async def test_17_a_copy_is_replaced_at_its_threshold_and_not_before(server: Runed, tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    question = probe("sh", "-c", f"echo $PPID >> {asked}; exit 1", failure_threshold=4)
    command = ["sh", "-c", f"echo began >> {asked}; exec sleep 1000"]
    await server.cast("api", command, health=HealthCheck(liveness=question))
    await server.until("api", lambda seen: any(_restarts(seen)))
    first, _, _ = asked.read_text(encoding="utf-8").removeprefix("began\n").partition("began\n")
    assert len(first.splitlines()) == 4


@promise("weak-spot.17")
async def test_17_a_probe_asks_its_own_copy_and_not_whoever_listens_on_this_machine(
    server: Runed, tmp_path: Path
) -> None:
    listens = f"mkdir {tmp_path / 'first'} || exec sleep 1000; exec {sys.executable} -u {WEB}"
    await server.cast(
        "api",
        ["sh", "-c", listens],
        scale=2,
        ports=[ServicePort(name="http", port=8080)],
        health=HealthCheck(readiness=Probe(type=ProbeType.TCP, period_seconds=1, failure_threshold=1)),
    )

    def is_told_apart(seen: Service) -> bool:
        checked = [copy.ready for copy in seen.instances]
        return sorted(checked) == [False, True]

    service = await server.until("api", is_told_apart)
    assert len({copy.ip for copy in service.instances}) == 2


@promise("weak-spot.18")
async def test_18_processes_of_one_name_in_two_namespaces_live_and_end_apart(server: Runed) -> None:
    await _twins(server, SLEEP)


@promise("weak-spot.18")
@pytest.mark.requires("docker")
async def test_18_containers_of_one_name_in_two_namespaces_live_and_end_apart(
    docker_engine: Engine, tmp_path: Path
) -> None:
    async with on(docker_engine, tmp_path) as server:
        await _twins(server, {"image": IMAGE, "command": "/bin/sleep", "args": ["1000"], "drain_seconds": 1})


async def _twins(server: Runed, what: dict[str, Any]) -> None:
    for namespace in ("default", "prod"):
        twin = Service(name="api", namespace=namespace, scale=1, **what)
        await server.call(services.create, services.CreateServiceRequest(service=twin, ensure_namespace=True))
    kept = (await server.until_running("api")).instances[0]
    await _until_runs(server, "prod")
    await server.call(services.delete, services.DeleteServiceRequest(name="api", namespace="prod", now=True))
    left = (await server.until_running("api")).instances
    assert [(copy.id, copy.pid, copy.attempt) for copy in left] == [(kept.id, kept.pid, 1)]


async def _until_runs(server: Runed, namespace: str) -> Service:
    watch = services.WatchServicesRequest(namespace=namespace)
    async with asyncio.timeout(30), aclosing(server.client.stream(services.watch, watch)) as changes:
        async for change in changes:
            if change.service and change.service.status is ServiceStatus.RUNNING:
                ask = services.GetServiceRequest(name="api", namespace=namespace)
                found = (await server.call(services.get, ask)).service
                assert found
                return found
    raise AssertionError("the watch ended")


@promise("weak-spot.21")
async def test_21_a_watch_that_nobody_reads_for_a_while_has_missed_nothing(server: Runed) -> None:
    await _write(server, 0)
    headers = {"authorization": f"Bearer {server.token}"}
    async with httpx.AsyncClient(base_url=f"http://{server.http}", headers=headers, timeout=30) as http:
        path = "/v1/namespaces/default/configmaps?watch=true"
        async with http.stream("GET", path) as answer:
            for number in range(1, CHANGES + 1):  # more bytes than all buffers between the two hold
                await _write(server, number)
            seen: list[int] = []
            async for line in answer.aiter_lines():
                if line.startswith("data:"):
                    seen.append(int(httpx.Response(200, text=line[5:]).json()["configmap"]["data"]["n"]))
                if seen and seen[-1] == CHANGES:
                    break
    assert seen == list(range(CHANGES + 1))


async def _write(server: Runed, number: int) -> None:
    value = Configmap(name="settings", data={"n": str(number), "padding": "x" * 50_000})
    if number:
        await server.call(configmaps.update, configmaps.UpdateConfigmapRequest(configmap=value))
    else:
        await server.call(configmaps.create, configmaps.CreateConfigmapRequest(configmap=value))


@promise("weak-spot.22")
async def test_22_nothing_of_a_deleted_namespace_runs_on_or_is_there_when_its_name_comes_back(
    server: Runed,
) -> None:
    service = Service(name="api", namespace="prod", scale=3, **SLEEP)
    await server.call(services.create, services.CreateServiceRequest(service=service, ensure_namespace=True))
    pids = [copy.pid for copy in (await _until_runs(server, "prod")).instances]
    assert len(pids) == 3
    secret = secrets.Secret(name="db", namespace="prod", data={"k": "v"})
    await server.call(secrets.create, secrets.CreateSecretRequest(secret=secret))
    value = Configmap(name="settings", namespace="prod", data={"k": "v"})
    await server.call(configmaps.create, configmaps.CreateConfigmapRequest(configmap=value))
    await server.call(namespaces.delete, namespaces.DeleteNamespaceRequest(name="prod", force=True))
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    again = namespaces.CreateNamespaceRequest(namespace=namespaces.Namespace(name="prod"))
    await server.call(namespaces.create, again)
    found = [
        (await server.call(services.list_, services.ListServicesRequest(namespace="prod"))).services,
        (await server.call(secrets.list_, secrets.ListSecretsRequest(namespace="prod"))).secrets,
        (await server.call(configmaps.list_, configmaps.ListConfigmapsRequest(namespace="prod"))).configmaps,
    ]
    assert found == [[], [], []]


@promise("weak-spot.23")
async def test_23_what_is_said_of_health_is_what_the_probe_just_said(server: Runed, tmp_path: Path) -> None:
    verdict = tmp_path / "verdict"
    verdict.write_text("exit 0", encoding="utf-8")
    question = probe("sh", "-c", f". {verdict}", failure_threshold=1)
    await server.cast("api", ["sleep", "1000"], health=HealthCheck(readiness=question))
    await server.until_running("api")
    assert {part.status for part in await parts(server, "api")} == {HealthStatus.HEALTHY}
    verdict.write_text("exit 23", encoding="utf-8")
    await server.until("api", lambda seen: not seen.instances[0].ready)
    told = await parts(server, "api")
    assert HealthStatus.HEALTHY not in {part.status for part in told}
    said = [check.message for part in told for check in part.check_results]
    assert any("code 23" in message for message in said), told


@promise("weak-spot.23")
async def test_23_what_is_said_of_the_machine_is_true_of_it(server: Runed) -> None:
    ask = health.GetHealthRequest(component_type="node")
    (node,) = (await server.call(health.get, ask)).components
    assert node.resources
    assert node.resources.mem_total_bytes == psutil.virtual_memory().total
    assert node.resources.cpu_cores == os.cpu_count()


async def parts(server: Runed, name: str) -> list[ComponentHealth]:
    """What is said of a service and its copies."""
    ask = health.GetHealthRequest(component_type="service", name=name, include_checks=True)
    return (await server.call(health.get, ask)).components


def _restarts(service: Service) -> list[int]:
    return [copy.metadata.restart_count for copy in service.instances if copy.metadata]
