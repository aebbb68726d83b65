"""Logs of a real runed over gRPC: a service that writes without pause, and readers of every pace."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import pytest

from promises import promise
from rune.api.orchestrator import logs
from rune.api.orchestrator.instances import InstanceStatus
from rune.api.orchestrator.logs import LogRequest
from rune.api.orchestrator.specs import RestartPolicy
from runed import Runed, runed

pytestmark = [pytest.mark.system, pytest.mark.timeout(60)]
COUNT = 200_000
"""Far more than what buffers on the way may take in."""
WRITER = f"""
import sys
for number in range({COUNT}):
    sys.stdout.write(f"line {{number}} of a service that has a lot to say about what it does\\n")
"""
ASK = LogRequest(resource_target="chatty", follow=True, tail=-1, together=True)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[Runed]:
    async with runed(tmp_path / "data") as started:
        yield started


async def wrong_lines(server: Runed) -> list[str]:
    """Those of the writer's lines that do not come in their turn."""
    wrong: list[str] = []
    came = 0
    async with aclosing(server.client.stream(logs.get, ASK)) as answers:
        async for answer in answers:
            for line in (answer.content, *answer.more):
                if not line.startswith(f"line {came} "):
                    wrong.append(line)
                came += 1
            if came >= COUNT:
                return wrong
    raise AssertionError("the log ended")


@promise("logs.readers")
@pytest.mark.timeout(150)
async def test_a_reader_that_stalls_holds_up_neither_the_service_nor_three_who_get_every_line(
    server: Runed,
) -> None:
    await server.cast("chatty", [sys.executable, "-c", WRITER], restart_policy=RestartPolicy.NEVER)
    async with aclosing(server.client.stream(logs.get, ASK)) as stalled:
        first = await anext(stalled)
        assert first.content.startswith("line 0 ")
        async with asyncio.timeout(90):
            assert await asyncio.gather(*(wrong_lines(server) for _ in range(3))) == [[], [], []]
            ended = await server.until(
                "chatty", lambda seen: any(copy.status is InstanceStatus.EXITED for copy in seen.instances)
            )
        assert [copy.exit_code for copy in ended.instances] == [0]
        came = [first.content, *first.more]
        while len(came) < COUNT:
            answer = await anext(stalled)
            came += (answer.content, *answer.more)
    assert all(line.startswith(f"line {number} ") for number, line in enumerate(came))
