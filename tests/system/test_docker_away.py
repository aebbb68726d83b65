"""A Docker Engine that is not there, goes away, hangs and comes back: nothing is lost."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Coroutine
from contextlib import aclosing

import pytest

from containers import clear, make, over, shell, until
from engines import Engine
from rune.errors import Unavailable
from rune.orchestrator.runners.base import (
    Command,
    Observed,
    State,
)
from rune.orchestrator.runners.docker import engine as engine_module
from rune.orchestrator.runners.docker import watch
from rune.orchestrator.runners.docker.runner import DockerRunner

pytestmark = [pytest.mark.system, pytest.mark.requires("docker"), pytest.mark.timeout(30)]


async def test_an_engine_that_is_not_there_at_the_start_is_found_when_it_comes(own_engine: Engine) -> None:
    first = make(own_engine)
    await first.start()
    running = await first.ensure(shell("runs"))
    await first.close()
    own_engine.lose()
    runner = make(own_engine)
    with pytest.raises(Unavailable, match="out of reach"):
        await runner.start()
    with pytest.raises(Unavailable, match="out of reach"):
        await runner.ensure(shell("runs"))
    own_engine.start()
    assert await until(runner, lambda seen: seen.state is State.RUNNING, "runs") == running
    await clear(runner)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_an_engine_that_goes_away_and_comes_back_loses_nothing(
    own_engine: Engine, how: signal.Signals
) -> None:
    runner = make(own_engine)
    await runner.start()
    running = await runner.ensure(shell("runs", "i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done"))
    doomed = await runner.ensure(shell("ends"))
    async with aclosing(runner.logs("runs", follow=True)) as batches:
        numbers = [int(line.text) for line in await anext(batches)]
        own_engine.lose(how)
        await away(runner)
        assert runner.observe("runs").state is State.RUNNING
        assert runner.observe("runs").message.startswith("last known state: ")
        signal.pidfd_send_signal(pidfd := os.pidfd_open(doomed.pid), signal.SIGKILL)
        os.close(pidfd)
        own_engine.start()
        ended = await until(runner, over, "ends")
        assert ended.exit_code is not None
        await runner.start()
        assert runner.observe("runs") == running
        async with asyncio.timeout(20):
            while len(numbers) < 100:
                numbers += [int(line.text) for line in await anext(batches)]
    assert numbers == list(range(1, len(numbers) + 1))
    await clear(runner)


async def away(runner: DockerRunner) -> None:
    """Wait until the runner knows that the Engine is away; then every verb says so."""
    async with asyncio.timeout(20):
        while not runner.observe("runs").message:
            await asyncio.to_thread(os.sched_yield)  # the loop has to see that the connection is gone
    for verb in (
        runner.ensure(shell("new")),
        runner.stop("runs", grace=1),
        runner.remove("runs"),
        runner.exec("runs", Command(command=["/bin/true"])),
        runner.usage("runs"),
        anext(runner.logs("runs")),
    ):
        with pytest.raises(Unavailable, match="Docker"):
            await verb


async def test_an_engine_that_hangs_is_away_until_it_goes_on(
    own_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = make(own_engine)
    await runner.start()
    running = await runner.ensure(shell("runs"))
    monkeypatch.setattr(watch, "PING", 0.1)
    monkeypatch.setattr(engine_module, "ANSWER", 0.5)
    monkeypatch.setattr(engine_module, "CONNECT", 0.5)
    own_engine.freeze()
    await runner.close()
    with pytest.raises(Unavailable, match=r"did not tell its version within 0\.5 s"):
        await runner.start()
    own_engine.thaw()
    monkeypatch.undo()
    await runner.start()
    assert runner.observe("runs") == running
    await clear(runner)


async def test_a_stop_that_loses_the_engine_says_so(own_engine: Engine) -> None:
    runner = make(own_engine)
    await runner.start()
    await runner.ensure(shell("stubborn", "trap '' TERM; echo ready; while :; do sleep 1; done"))
    async with aclosing(runner.logs("stubborn", follow=True)) as batches:
        await anext(batches)
    async with asyncio.TaskGroup() as group:
        stopping = group.create_task(refused(runner.stop("stubborn", grace=3600)))
        await asyncio.get_running_loop().run_in_executor(None, own_engine.lose)
        assert "Docker Engine" in await stopping
    own_engine.start()
    await runner.start()
    assert runner.observe("stubborn").state is State.RUNNING
    await clear(runner)


async def refused(verb: Coroutine[object, object, Observed]) -> str:
    with pytest.raises(Unavailable) as error:
        await verb
    return error.value.message
