"""Attempts of an instance as containers: adoption, what others do behind our back, logs, commands inside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from containers import clear, make, over, said, shell, texts, until
from engines import IMAGE, Engine
from rune.core.clock import SystemClock
from rune.errors import FailedPrecondition
from rune.orchestrator.runners.base import (
    Command,
    Observed,
    Session,
    State,
)
from rune.orchestrator.runners.docker.runner import KEPT, DockerRunner

pytestmark = [pytest.mark.system, pytest.mark.requires("docker"), pytest.mark.timeout(30)]


async def test_another_runner_of_the_same_owner_takes_everything_over(
    runner: DockerRunner, docker_engine: Engine
) -> None:
    running = await runner.ensure(shell("runs", attempt=4))
    await runner.ensure(shell("ends", attempt=1))
    await runner.close()
    docker_engine.docker("kill", "-s", "KILL", "test.default.ends.1")
    changes: list[Observed] = []
    async with other(docker_engine, changes) as heir:
        assert heir.observe("runs") == running
        ended = heir.observe("ends")
        assert (ended.attempt, ended.state) == (1, State.EXITED)
        assert sorted(changes, key=lambda seen: seen.instance) == [ended, running]
        assert await heir.ensure(shell("runs", attempt=4)) == running
        assert await heir.ensure(shell("ends", attempt=1)) == ended


async def test_a_stranger_with_a_label_of_ours_is_left_alone(
    runner: DockerRunner, docker_engine: Engine
) -> None:
    await runner.close()
    docker_engine.docker("run", "-d", "--name", "stranger", "--label", "rune.owner=test", IMAGE)
    try:
        await runner.start()
        assert list(runner.all()) == []
        assert await said(runner, shell("mine", "echo mine")) == ["mine"]
    finally:
        assert docker_engine.docker("rm", "-f", "stranger") == "stranger\n"


async def test_runners_of_different_owners_do_not_see_each_other(
    runner: DockerRunner, docker_engine: Engine
) -> None:
    await runner.ensure(shell("same"))
    async with other(docker_engine, owner="test2") as stranger:
        assert list(stranger.all()) == []
        seen = await stranger.ensure(shell("same"))
        assert seen.pid != runner.observe("same").pid
        await clear(stranger)
    assert runner.observe("same").state is State.RUNNING


@asynccontextmanager
async def other(
    engine: Engine, changes: list[Observed] | None = None, owner: str = "test"
) -> AsyncGenerator[DockerRunner]:
    second = make(engine, owner)
    if changes is not None:
        second.on_change(changes.append)
    await second.start()
    try:
        yield second
    finally:
        await second.close()


async def test_a_container_that_was_made_and_never_started_is_replaced(
    runner: DockerRunner, docker_engine: Engine
) -> None:
    await runner.ensure(shell("keeps-the-network"))
    labels = ["rune.owner=test", "rune.instance=half", "rune.attempt=0", "rune.namespace=default"]
    given = [part for label in labels for part in ("--label", label)]
    for _ in range(2):
        docker_engine.docker("create", "--name", "test.default.half.0", *given, IMAGE, "/bin/false")
        assert await said(runner, shell("half", "echo whole")) == ["whole"]
        await runner.remove("half")
        await runner.close()
        await runner.start()


async def test_what_somebody_else_removed_has_ended_unseen(
    runner: DockerRunner, docker_engine: Engine
) -> None:
    await runner.ensure(shell("victim"))
    docker_engine.docker("rm", "-f", "test.default.victim.0")
    seen = await until(runner, over, "victim")
    assert seen.exit_code in {137, None}
    assert await runner.ensure(shell("victim")) == runner.observe("victim")
    assert (await runner.ensure(shell("victim", attempt=1))).state is State.RUNNING


async def test_a_container_that_somebody_paused_can_be_stopped(
    runner: DockerRunner, docker_engine: Engine
) -> None:
    await runner.ensure(shell("frozen"))
    docker_engine.docker("pause", "test.default.frozen.0")
    assert (await runner.stop("frozen", grace=10)).exit_code == 143


async def test_logs_of_the_last_attempts_are_kept_and_read_as_one(runner: DockerRunner) -> None:
    for attempt in range(KEPT + 1):
        await said(runner, shell("again", f"echo first {attempt}; echo last {attempt}", attempt=attempt))
    kept = [f"{word} {attempt}" for attempt in range(1, KEPT + 1) for word in ("first", "last")]
    assert await texts(runner, "again") == kept
    assert await texts(runner, "again", tail=3) == kept[-3:]
    assert await texts(runner, "again", tail=100) == kept


async def test_a_long_line_comes_whole_up_to_64_kib_and_then_in_parts(runner: DockerRunner) -> None:
    script = "for n in 40000 100000; do head -c $n /dev/zero; echo; done"
    await said(runner, shell("long", script))
    lines = [line async for batch in runner.logs("long") for line in batch]
    assert [(len(line.text), line.partial) for line in lines] == [
        (40000, False),
        (64 * 1024, True),
        (100000 - 64 * 1024, False),
    ]


async def test_following_ends_at_its_time(runner: DockerRunner) -> None:
    await runner.ensure(shell("talks", "while :; do echo tick; sleep 0.1; done"))
    end = SystemClock().now() + timedelta(seconds=1)
    async with asyncio.timeout(10):
        lines = [line async for batch in runner.logs("talks", follow=True, until=end) for line in batch]
    assert lines
    assert all(line.at < end for line in lines)


async def test_a_terminal_has_a_size_and_a_foreground_to_signal(runner: DockerRunner) -> None:
    await runner.ensure(shell("box"))
    sized = "until [ \"$(stty size)\" = '33 101' ]; do sleep 0.02; done; echo sized"
    script = f"trap 'echo caught; exit 5' INT; {sized}; while :; do sleep 0.02; done"
    command = Command(command=["/bin/sh", "-c", script], tty=True, width=101, height=33)
    session = await runner.exec("box", command)
    output = session.output()
    await found(output, b"sized")
    await session.signal("INT")
    await found(output, b"caught")
    assert await session.wait() == 5
    await session.close()


async def test_a_terminal_is_resized(runner: DockerRunner) -> None:
    await runner.ensure(shell("box"))
    script = "until [ \"$(stty size)\" = '20 70' ]; do sleep 0.02; done; echo resized"
    session = await runner.exec("box", Command(command=["/bin/sh", "-c", script], tty=True))
    await session.resize(70, 20)
    await found(session.output(), b"resized")
    assert await session.wait() == 0
    await session.close()


async def found(output: AsyncIterator[tuple[str, bytes]], word: bytes) -> None:
    seen = b""
    async with asyncio.timeout(10):
        async for _, chunk in output:
            seen += chunk
            if word in seen:
                return
    raise AssertionError(f"{word!r} is not in {seen!r}")


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (Command(command=["nope"]), "command 'nope' not found in PATH of the container"),
        (Command(command=["/bin/nope"]), "command '/bin/nope' does not exist in the container"),
        (Command(command=["/etc/passwd"]), "command '/etc/passwd' is not executable in the container"),
        (Command(command=["/bin/id"], workdir="/no"), "folder '/no' does not exist in the container"),
    ],
)
async def test_a_command_that_cannot_be_run_is_refused_with_the_reason(
    runner: DockerRunner, command: Command, reason: str
) -> None:
    await runner.ensure(shell("box"))
    with pytest.raises(FailedPrecondition, match=reason):
        await runner.exec("box", command)


async def test_a_command_may_take_and_give_much_more_than_any_buffer(runner: DockerRunner) -> None:
    await runner.ensure(shell("box"))
    session = await runner.exec("box", Command(command=["/bin/cat"]))
    data = bytes(range(256)) * 8192
    received = b""
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(feed(session, data))
        async for _, chunk in session.output():
            received += chunk
    assert received == data
    assert await session.wait() == 0
    await session.close()


async def feed(session: Session, data: bytes) -> None:
    await session.write(data)
    await session.end_input()
