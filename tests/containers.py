"""Workloads of the test image, and ways to see what became of them, for tests of the Docker runner."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from engines import IMAGE, Engine
from rune.core.clock import SystemClock
from rune.orchestrator.runners.base import (
    Command,
    Observed,
    State,
    Workload,
)
from rune.orchestrator.runners.docker.runner import DockerRunner
from runed import Runed, runed

FOREVER = "trap 'exit 143' TERM; sleep 3600 & wait"


def make(engine: Engine, owner: str = "test") -> DockerRunner:
    return DockerRunner(engine.url, now=SystemClock().now, owner=owner)


async def clear(runner: DockerRunner) -> None:
    await runner.start()
    async with asyncio.TaskGroup() as group:
        for seen in runner.all():
            group.create_task(runner.remove(seen.instance))
    await runner.close()


def shell(instance: str, script: str = FOREVER, **given: object) -> Workload:
    named = {"instance": instance, "image": IMAGE, "command": ["/bin/sh", "-c", script], **given}
    return Workload(**named)  # pyright: ignore[reportArgumentType] - fields by name


def plain(instance: str, **given: object) -> Workload:
    """The image as it is."""
    return Workload(instance=instance, image=IMAGE, **given)  # pyright: ignore[reportArgumentType] - fields by name


async def until(
    runner: DockerRunner, wanted: Callable[[Observed], bool], instance: str, patience: float = 30
) -> Observed:
    """What is known of the instance, once it is as wanted."""
    found: asyncio.Future[Observed] = asyncio.get_running_loop().create_future()

    def look(seen: Observed) -> None:
        if seen.instance == instance and wanted(seen) and not found.done():
            found.set_result(seen)

    runner.on_change(look)
    look(runner.observe(instance))
    async with asyncio.timeout(patience):
        return await found


def over(seen: Observed) -> bool:
    return seen.state is State.EXITED


async def said(runner: DockerRunner, workload: Workload) -> list[str]:
    """What it says until it ends."""
    await runner.ensure(workload)
    await until(runner, lambda seen: over(seen) and seen.attempt == workload.attempt, workload.instance)
    return await texts(runner, workload.instance)


async def texts(runner: DockerRunner, instance: str, tail: int | None = None) -> list[str]:
    return [line.text async for batch in runner.logs(instance, tail=tail) for line in batch]


async def ran(runner: DockerRunner, instance: str, script: str) -> tuple[str, int]:
    """Everything a command inside writes, and its exit code."""
    session = await runner.exec(instance, Command(command=["/bin/sh", "-c", script]))
    try:
        async with asyncio.timeout(20):
            out = b"".join([chunk async for _, chunk in session.output()])
            return out.decode(), await session.wait()
    finally:
        await session.close()


async def got(host: str, port: int, path: str) -> str:
    """The body of an HTTP answer."""
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    return answer.decode().partition("\r\n\r\n")[2]


@asynccontextmanager
async def on(engine: Engine, folder: Path, *, more: str = "") -> AsyncGenerator[Runed]:
    """A runed that uses this Engine, and leaves nothing on it."""
    config = folder / "runefile.yaml"
    config.write_text(f"runner: {{docker: {{socket: {engine.socket}}}}}\n{more}", encoding="utf-8")
    async with runed(folder / "data", "--config", str(config)) as server:
        yield server
    assert ours(engine, server) == []


def ours(engine: Engine, server: Runed) -> list[str]:
    """The containers of this server, also those that have ended."""
    owner = (server.folder / "docker-owner").read_text(encoding="utf-8").strip()
    return engine.docker("ps", "-aq", "--no-trunc", "--filter", f"label=rune.owner={owner}").split()
