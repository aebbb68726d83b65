"""What the tests of the process runner share: a runner on a real machine, workloads, and ways to wait."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from rune.orchestrator.runners.base import LogLine, Observed, State, Workload
from rune.orchestrator.runners.link import Options
from rune.orchestrator.runners.process import ProcessRunner

ROOT = os.geteuid() == 0
KINDS = pytest.mark.parametrize("cgroups", [True, False], ids=["cgroups", "proc"])


def runner_on(data: Path, *, cgroups: bool = True, log_size: int = 16 << 20) -> ProcessRunner:
    options = Options(cgroups=cgroups, log_size=log_size)
    return ProcessRunner(data, now=lambda: datetime.now(UTC), options=options)


@contextlib.asynccontextmanager
async def machine(
    data: Path, *, cgroups: bool = True, log_size: int = 16 << 20
) -> AsyncGenerator[ProcessRunner]:
    """A runner that is started, and at the end everything is ended."""
    runner = runner_on(data, cgroups=cgroups, log_size=log_size)
    await runner.start()
    try:
        yield runner
    finally:
        await runner.shutdown(grace=0)


def shell(instance: str, script: str, **env: str) -> Workload:
    path = os.environ["PATH"]
    return Workload(instance=instance, command=["/bin/sh", "-c", script], env={"PATH": path, **env})


async def seen(runner: ProcessRunner, wanted: Callable[[Observed], bool]) -> Observed:
    """The first observation that is wanted, now or later."""
    found: asyncio.Future[Observed] = asyncio.get_running_loop().create_future()

    def look(one: Observed) -> None:
        if wanted(one) and not found.done():
            found.set_result(one)

    runner.on_change(look)
    for one in runner.all():
        look(one)
    async with asyncio.timeout(10):
        return await found


async def ended(runner: ProcessRunner, instance: str) -> Observed:
    return await seen(runner, lambda one: one.instance == instance and one.state is State.EXITED)


async def lines(runner: ProcessRunner, instance: str) -> list[LogLine]:
    return [line async for batch in runner.logs(instance) for line in batch]


async def texts(runner: ProcessRunner, instance: str) -> list[str]:
    return [line.text for line in await lines(runner, instance)]


async def until_said(runner: ProcessRunner, instance: str, text: str) -> list[str]:
    """Everything it said up to this line."""
    said: list[str] = []
    async with asyncio.timeout(10), contextlib.aclosing(runner.logs(instance, follow=True)) as batches:
        async for batch in batches:
            for line in batch:
                said.append(line.text)
                if line.text == text:
                    return said
    pytest.fail(f"{instance} never said {text!r}")


async def gone(pid: int) -> None:
    """Wait for the end of a process that is not ours."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    over = asyncio.Event()
    asyncio.get_running_loop().add_reader(fd, over.set)
    try:
        async with asyncio.timeout(10):
            await over.wait()
    finally:
        asyncio.get_running_loop().remove_reader(fd)
        os.close(fd)


async def kill_keeper(runner: ProcessRunner) -> None:
    """Kill it, and wait until the runner has the next one."""
    old = runner.keeper_pid
    os.kill(old, signal.SIGKILL)
    await gone(old)
    async with asyncio.timeout(10):
        while runner.keeper_pid in (0, old):
            await asyncio.sleep(0.005)


RUNED = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
import msgspec
from rune.orchestrator.runners.base import Command, Workload
from rune.orchestrator.runners.process import ProcessRunner

async def main():
    runner = ProcessRunner(Path(sys.argv[1]), now=lambda: datetime.now(UTC))
    await runner.start()
    for workload in msgspec.json.decode(sys.argv[2], type=list[Workload]):
        await runner.ensure(workload)
    if len(sys.argv) > 3:
        inside = await runner.exec(sys.argv[3], Command(command=["sh", "-c", "echo $$; exec sleep 3600"]))
        print((await anext(inside.output()))[1].decode().strip(), flush=True)
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def killed_runed(data: Path, *workloads: Workload, inside: str = "", meanwhile: str = "") -> str:
    """Another runed that starts these workloads and is killed with kill -9; what it printed before."""
    given = [msgspec.json.encode(workloads).decode(), *([inside] if inside else [])]
    source = Path(__file__).parents[3] / "src"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        RUNED,
        str(data),
        *given,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(source)},
    )
    assert process.stdout
    said = (await process.stdout.readuntil(b"ready\n")).decode()
    if meanwhile:
        Path(meanwhile).touch()
    process.kill()
    await process.wait()
    return said
