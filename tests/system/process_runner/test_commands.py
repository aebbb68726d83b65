"""Commands inside an instance: environment, terminal, input, signals, end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from rune.errors import FailedPrecondition, RuneError
from rune.orchestrator.runners import link
from rune.orchestrator.runners.base import Command, Session, State
from rune.orchestrator.runners.process import ProcessRunner
from system.process_runner.lab import KINDS, gone, kill_keeper, killed_runed, machine, runner_on, shell

pytestmark = pytest.mark.system


async def inside(runner: ProcessRunner, script: str, *, tty: bool = False, **env: str) -> Session:
    await runner.ensure(shell("a", "exec sleep 3600", GREETING="hello"))
    command = Command(command=["/bin/sh", "-c", script], env=env, tty=tty, width=91, height=37)
    return await runner.exec("a", command)


async def output(session: Session) -> dict[str, str]:
    found: dict[str, str] = {}
    async with asyncio.timeout(10):
        async for stream, chunk in session.output():
            found[stream] = found.get(stream, "") + chunk.decode()
    return found


async def test_a_command_has_the_environment_the_folder_and_the_cgroup(
    runner: ProcessRunner, tmp_path: Path
) -> None:
    session = await inside(runner, "echo $GREETING $MORE; pwd; grep 0:: /proc/self/cgroup", MORE="there")
    greeting, folder, cgroup = (await output(session))["stdout"].splitlines()
    assert greeting == "hello there"
    assert folder == str(tmp_path / "data" / "instances" / "a" / "scratch")
    assert "/a:0/exec-" in cgroup
    assert await session.wait() == 0
    await session.close()


async def test_a_command_in_an_adopted_instance_has_its_environment_too(runner: ProcessRunner) -> None:
    await runner.ensure(shell("a", "exec sleep 3600", GREETING="hello"))
    await kill_keeper(runner)
    session = await inside(runner, "echo $GREETING")
    assert await output(session) == {"stdout": "hello\n"}
    await session.close()


async def test_a_terminal_has_a_size_is_controlling_and_passes_keys_as_signals(runner: ProcessRunner) -> None:
    # The kernel tells of a key first and then drops what is written: so the answer comes a moment later.
    script = "stty size; trap 'stty size' WINCH; trap 'sleep 0.1; echo int; exit 3' INT; echo ok > /dev/tty"
    script += "; while :; do sleep 0.02; done"
    session = await inside(runner, script, tty=True)
    said = ""
    async with asyncio.timeout(10):
        async for _, chunk in session.output():
            said += chunk.decode()
            if said.endswith("ok\r\n"):
                await session.resize(100, 40)
            if said.endswith("40 100\r\n"):
                await session.write(b"\x03")
    assert said.splitlines() == ["37 91", "ok", "40 100", "^Cint"]
    assert await session.wait() == 3
    await session.close()


async def test_a_signal_reaches_the_foreground_group_of_a_terminal(runner: ProcessRunner) -> None:
    session = await inside(
        runner, "trap 'echo got; exit 5' HUP; echo ready; while :; do sleep 0.02; done", tty=True
    )
    said = ""
    async with asyncio.timeout(10):
        async for _, chunk in session.output():
            said += chunk.decode()
            if said == "ready\r\n":
                await session.signal("hup")
    assert said.splitlines()[-1] == "got"
    assert await session.wait() == 5
    await session.close()


async def test_the_end_of_input_in_a_terminal_is_control_d(runner: ProcessRunner) -> None:
    session = await inside(runner, "cat >/dev/null; echo over", tty=True)
    await session.end_input()
    assert (await output(session))["stdout"].endswith("over\r\n")
    await session.close()


async def test_input_waits_while_the_command_does_not_read_and_all_of_it_arrives(
    runner: ProcessRunner,
) -> None:
    session = await inside(runner, "read first; echo ready; wc -c")
    data = b"first\n" + b"x" * 3_000_000
    writing = asyncio.ensure_future(session.write(data))
    async with asyncio.timeout(10):
        found = ""
        async for _, chunk in session.output():
            found += chunk.decode()
            if found == "ready\n":
                await writing
                await session.end_input()
    assert found == "ready\n3000000\n"
    await session.close()


async def test_a_command_that_does_not_read_does_not_break_the_writer(runner: ProcessRunner) -> None:
    session = await inside(runner, "exec 0<&-; sleep 0.05; echo done")
    await session.write(b"x" * 1_000_000)
    assert await output(session) == {"stdout": "done\n"}
    await session.close()


async def test_close_ends_a_reader_and_a_writer_that_wait(runner: ProcessRunner) -> None:
    session = await inside(runner, "exec sleep 3600")
    reading = asyncio.ensure_future(output(session))
    writing = asyncio.ensure_future(session.write(b"x" * 1_000_000))
    await asyncio.sleep(0)
    await session.close()
    async with asyncio.timeout(10):
        assert await reading == {}
        await writing


async def test_a_command_that_cannot_be_started_is_refused(runner: ProcessRunner) -> None:
    await runner.ensure(shell("a", "exec sleep 3600"))
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FailedPrecondition, match="command 'nope' not found in PATH"):
        await runner.exec("a", Command(command=["nope"]))
    with pytest.raises(FailedPrecondition, match="'/nope' cannot be entered"):
        await runner.exec("a", Command(command=["true"], workdir="/nope", tty=True))
    await asyncio.sleep(0)
    assert len(os.listdir("/proc/self/fd")) == before


@KINDS
async def test_close_ends_what_a_command_left_behind(tmp_path: Path, *, cgroups: bool) -> None:
    async with machine(tmp_path / "data", cgroups=cgroups) as runner:
        session = await inside(runner, "sleep 3600 >/dev/null 2>&1 & echo $!; wait")
        async for _, chunk in session.output():
            await session.close()
            await gone(int(chunk))
        assert runner.observe("a").state is State.RUNNING


async def test_a_command_ends_with_the_runed_that_asked_for_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    said = await killed_runed(data, shell("a", "exec sleep 3600"), inside="a")
    async with machine(data) as runner:
        await gone(int(said.split()[0]))
        assert runner.observe("a").state is State.RUNNING


async def test_a_runner_that_is_not_started_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "START", 0.01)
    with pytest.raises(RuneError, match="is being started"):
        await runner_on(tmp_path / "data").ensure(shell("a", "true"))


async def test_a_signal_to_a_foreground_group_that_has_ended_is_fine(runner: ProcessRunner) -> None:
    script = (
        "import os, signal; signal.signal(signal.SIGTTOU, signal.SIG_IGN)\n"
        "pid = os.fork()\n"
        "if not pid: os.setpgid(0, 0); os.tcsetpgrp(0, os.getpid()); os._exit(0)\n"
        "os.waitpid(pid, 0); print('ready', flush=True); signal.pause()"
    )
    await runner.ensure(shell("a", "exec sleep 3600"))
    session = await runner.exec("a", Command(command=[sys.executable, "-c", script], tty=True))
    async with asyncio.timeout(10):
        _, said = await anext(session.output())
    assert said == b"ready\r\n"
    await session.signal("INT")
    await session.close()


async def test_a_command_whose_caller_leaves_before_it_has_begun_leaves_nothing(
    runner: ProcessRunner, tmp_path: Path
) -> None:
    await runner.ensure(shell("a", "exec sleep 3600"))
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    os.kill(runner.keeper_pid, signal.SIGSTOP)
    try:
        for tty in (False, True):
            asked = asyncio.ensure_future(runner.exec("a", Command(command=["sleep", "3600"], tty=tty)))
            while len(os.listdir("/proc/self/fd")) <= before:
                await asyncio.sleep(0)
            for _ in range(20):
                await asyncio.sleep(0)
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
    finally:
        os.kill(runner.keeper_pid, signal.SIGCONT)
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


def held(pid: int) -> list[str]:
    """What its descriptors lead to; some are there for a moment only."""
    found: list[str] = []
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(each.readlink()))
    return found


async def test_what_is_started_meanwhile_gets_no_end_of_a_command_of_others(
    runner: ProcessRunner, tmp_path: Path
) -> None:
    """The ends of a command's pipes reach the keeper before its words do."""
    ends = os.pipe()
    with await link.dial(tmp_path / "data") as sock:
        socket.send_fds(sock, [b" "], list(ends))
        await runner.ensure(shell("a", "exec sleep 3600"))
        seen = await runner.ensure(shell("b", "exec sleep 3600"))
        pipe = str(Path(f"/proc/self/fd/{ends[0]}").readlink())
        for end in ends:
            os.close(end)
    assert pipe not in held(seen.pid)
