"""Autoscale against a real runed: real processor time, and real connections through the balancer."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest

from promises import promise
from rune.api.orchestrator.autoscale import Autoscale
from rune.api.orchestrator.services import Service
from rune.api.orchestrator.specs import HealthCheck, Probe, ProbeType, ProcessSpec, ServicePort
from runed import PATIENCE, Runed, runed

pytestmark = [pytest.mark.system, pytest.mark.timeout(60)]
BUSY = [sys.executable, "-c", "while True: pass"]
WEB = ProcessSpec(command=sys.executable, args=["-u", str(Path(__file__).with_name("web.py"))])
READY = HealthCheck(readiness=Probe(type=ProbeType.TCP, period_seconds=1))


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[Runed]:
    async with runed(tmp_path / "data") as started:
        yield started


async def connected(host: str) -> asyncio.StreamWriter:
    """A connection, once somebody listens there."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(ConnectionRefusedError):
                return (await asyncio.open_connection(host, 8080))[1]
            await asyncio.sleep(0.02)


def was_scaled(service: Service) -> bool:
    return service.scale > 1 and bool(service.autoscaling)


@promise("autoscale.cpu")
async def test_a_busy_service_and_one_with_many_connections_get_more_copies(server: Runed) -> None:
    wish = Autoscale(max=2, metric="connections", target=2.0)
    ports = [ServicePort(name="http", port=8080)]
    await server.create("web", process=WEB, ports=ports, health=READY, autoscale=wish)
    web = await server.until_running("web")
    async with AsyncExitStack() as stack:
        for _ in range(4):
            stack.callback((await connected(web.address)).close)
        web = await server.until("web", was_scaled)
        assert web.autoscaling
        assert web.autoscaling.message.startswith("4 open connections a copy, 2 are its target")
    await server.cast("busy", BUSY, autoscale=Autoscale(max=2, target=20.0))
    busy = await server.until("busy", was_scaled)
    assert busy.autoscaling
    assert "percent of CPU a copy, 20 are its target" in busy.autoscaling.message
    await server.until("busy", lambda seen: len({copy.pid for copy in seen.instances if copy.pid}) == 2)


async def test_top_shows_the_busy_service_first(server: Runed) -> None:
    await server.cast("busy", BUSY)
    await server.cast("idle", ["sleep", "1000"], scale=2)
    await server.until_running("busy")
    await server.until_running("idle")
    command = [str(Path(sys.executable).with_name("rune")), "top", "-o", "json", "--interval", "0.3s"]
    asked = await asyncio.create_subprocess_exec(
        *command,
        env={"RUNE_SERVER": server.grpc, "RUNE_TOKEN": server.token, "HOME": str(server.folder)},
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE):
        said, _ = await asked.communicate()
    busy, idle = json.loads(said)
    assert (busy["service"], busy["instances"]) == ("busy", 1)
    assert busy["cpu_percent"] > 10 > idle["cpu_percent"]
    assert (idle["service"], idle["instances"]) == ("idle", 2)
    assert idle["mem_used_bytes"] > 0
