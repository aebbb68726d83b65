"""Agents in containers, on a real Engine: the key that they get, and a quarantine without a network."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from containers import FOREVER, on
from engines import IMAGE, Engine
from promises import promise
from rune.api.orchestrator import exec as commands
from rune.api.orchestrator import instances
from rune.api.orchestrator.guard import QuarantineMode, ServiceAgent
from rune.api.orchestrator.instances import Instance
from rune.api.security import agents
from runed import Runed

pytestmark = [pytest.mark.system, pytest.mark.requires("docker"), pytest.mark.timeout(90)]


@pytest.fixture
async def server(docker_engine: Engine, tmp_path: Path) -> AsyncGenerator[Runed]:
    reached = "agents: {endpoint: http://host.docker.internal:7861}\n"
    async with on(docker_engine, tmp_path, more=reached) as started:
        yield started


async def ran(server: Runed, *command: str) -> str:
    ask = commands.RunCommandRequest(target="bot", command=list(command))
    return b"".join([item.stdout or b"" async for item in server.client.stream(commands.run, ask)]).decode()


async def until_apart(server: Runed, *, apart: bool) -> Instance:
    ask = instances.WatchInstancesRequest(service_id="bot")
    async with aclosing(server.client.stream(instances.watch, ask)) as seen:
        async for item in seen:
            if item.instance and item.instance.apart is apart and item.instance.cut_off is apart:
                return item.instance
    raise AssertionError("the watch ended")


@promise("agents.isolate")
async def test_a_container_goes_on_without_a_network_until_it_is_released(server: Runed) -> None:
    agent = ServiceAgent(id="bot", quarantine_mode=QuarantineMode.ISOLATE)
    spec: dict[str, Any] = {"image": IMAGE, "command": "/bin/sh", "args": ["-c", FOREVER]}
    await server.create("bot", agent=agent, **spec)
    running = (await server.until_running("bot")).instances[0]
    assert (await ran(server, "cat", "/run/rune-agent/api-key")).startswith("rune_live_")
    assert "rune_live_" not in await ran(server, "env")
    assert "eth0" in await ran(server, "cat", "/proc/net/dev")

    await server.call(agents.quarantine, agents.QuarantineAgentRequest(agent_id="bot", reason="odd"))
    alone = await until_apart(server, apart=True)
    assert (alone.pid, alone.attempt) == (running.pid, running.attempt)
    assert "eth0" not in await ran(server, "cat", "/proc/net/dev")
    assert (await server.service("bot")).status_reason == "Quarantined"

    await server.call(agents.release, agents.ReleaseAgentRequest(agent_id="bot"))
    back = await until_apart(server, apart=False)
    assert (back.pid, back.attempt) == (running.pid, running.attempt)
    assert "eth" in await ran(server, "cat", "/proc/net/dev")
