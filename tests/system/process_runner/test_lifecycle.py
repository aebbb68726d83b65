"""What a workload starts with, and that everything in an instance ends with it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import msgspec
import pytest

from rune.errors import FailedPrecondition
from rune.orchestrator.runners.base import Observed, State, Workload
from rune.orchestrator.runners.keeper import cgroups as trees
from rune.orchestrator.runners.keeper import groups
from rune.orchestrator.runners.process import ProcessRunner
from system.process_runner.lab import KINDS, ROOT, ended, gone, machine, runner_on, shell, texts, until_said

pytestmark = pytest.mark.system


@KINDS
async def test_stop_ends_daemons_too(tmp_path: Path, *, cgroups: bool) -> None:
    async with machine(tmp_path / "data", cgroups=cgroups) as runner:
        daemon = "(setsid sh -c 'trap \"\" TERM; sleep 3600 >/dev/null 2>&1 & echo $!' &)"
        await runner.ensure(
            shell("a", f"{daemon}; sleep 0.1; echo ready; exec sleep 3600", RUNE_INSTANCE_ID="a")
        )
        pid, _ = await until_said(runner, "a", "ready")
        assert (await runner.stop("a", grace=5)).exit_code == 143
        await gone(int(pid))


@KINDS
async def test_the_end_of_the_main_process_is_the_end_of_the_rest(tmp_path: Path, *, cgroups: bool) -> None:
    async with machine(tmp_path / "data", cgroups=cgroups) as runner:
        child = "(while :; do echo still here; sleep 0.01; done) & echo $!"
        await runner.ensure(shell("a", f"{child}; sleep 0.1; echo last; exit 4"))
        assert (await ended(runner, "a")).exit_code == 4
        said = await texts(runner, "a")
        assert "last" in said
        await gone(int(next(text for text in said if text.isdecimal())))


async def test_stop_during_the_start_leaves_nothing(runner: ProcessRunner) -> None:
    for number in range(20):
        workload = shell(f"i{number}", "exec sleep 3600")
        started, stopped = await asyncio.gather(
            runner.ensure(workload), runner.stop(workload.instance, grace=5), return_exceptions=True
        )
        assert isinstance(started, Observed)
        assert isinstance(stopped, Observed)
        over = await runner.stop(workload.instance, grace=5)
        assert over.state is State.EXITED
        assert not Path(f"/proc/{started.pid}").exists()


async def test_kill_9_of_a_workload_is_told_with_its_signal(runner: ProcessRunner) -> None:
    running = await runner.ensure(shell("a", "exec sleep 3600"))
    os.kill(running.pid, signal.SIGKILL)
    over = await ended(runner, "a")
    assert (over.exit_code, over.message) == (137, "killed by SIGKILL")


async def test_two_hundred_instances_at_once(runner: ProcessRunner) -> None:
    work = [shell(f"i{number}", f"echo {number}; exec sleep 3600") for number in range(200)]
    running = await asyncio.gather(*(runner.ensure(one) for one in work))
    assert len({one.pid for one in running}) == 200
    for number in (0, 99, 199):
        assert await until_said(runner, f"i{number}", str(number)) == [str(number)]
    await asyncio.gather(*(runner.remove(one.instance) for one in work))
    assert list(runner.all()) == []


async def test_shutdown_leaves_no_process_no_cgroup_and_the_logs(tmp_path: Path) -> None:
    data = tmp_path / "data"
    runner = runner_on(data)
    await runner.start()
    running = await runner.ensure(shell("a", "echo hello; exec sleep 3600"))
    await until_said(runner, "a", "hello")
    keeper = runner.keeper_pid
    await runner.shutdown(grace=5)
    await gone(keeper)
    assert not Path(f"/proc/{running.pid}").exists()
    left = trees.tree(str(data)).bases()
    assert [name for base in left for name in os.listdir(base) if name.startswith("a:")] == []
    for base in left:
        groups.drop(base)
    assert "hello" in (data / "instances" / "a" / "log" / "00000001.log").read_text()
    assert json.loads((data / "instances" / "a" / "state.json").read_text())["exit_code"] == 143


async def test_the_environment_is_what_was_asked_and_is_nowhere_on_disk(
    runner: ProcessRunner, tmp_path: Path
) -> None:
    workload = Workload(instance="a", command=["env"], env={"SECRET": "hunter2", "NAME": "ä€"})
    await runner.ensure(workload)
    await ended(runner, "a")
    said = await texts(runner, "a")
    assert sorted(said) == sorted(["SECRET=hunter2", "NAME=ä€", f"PATH={os.environ['PATH']}"])
    files = [path for path in (tmp_path / "data").rglob("*") if path.is_file() and path.suffix != ".log"]
    assert len(files) > 1
    assert not any("hunter2" in path.read_text() for path in files)


async def test_a_workload_has_a_session_default_signals_and_no_foreign_descriptors(
    runner: ProcessRunner,
) -> None:
    script = "ls -l /proc/self/fd; ps -o sid= -p $$; echo $$; grep -E 'Sig(Ign|Blk)' /proc/self/status; umask"
    await runner.ensure(shell("a", script))
    await ended(runner, "a")
    said = await texts(runner, "a")
    descriptors = [text for text in said if "->" in text]
    assert len(descriptors) == 4  # the fourth is the folder that ls reads
    signals = dict(text.split(":\t") for text in said if text.startswith("Sig"))
    # 32 and 33 belong to the C library, which sets them itself; whoever started us may have ignored them.
    assert {name: int(mask, 16) & ~(0b11 << 31) for name, mask in signals.items()} == {
        "SigBlk": 0,
        "SigIgn": 0,
    }
    numbers = [text.strip() for text in said if text.strip().isdecimal()]
    assert numbers[0] == numbers[1]
    assert said[-1] == "0022"


async def test_it_starts_in_a_scratch_folder_or_where_it_is_told(
    runner: ProcessRunner, tmp_path: Path
) -> None:
    await runner.ensure(shell("a", "pwd"))
    await runner.ensure(msgspec.structs.replace(shell("b", "pwd"), workdir="/usr"))
    await ended(runner, "a")
    await ended(runner, "b")
    assert await texts(runner, "a") == [str(tmp_path / "data" / "instances" / "a" / "scratch")]
    assert await texts(runner, "b") == ["/usr"]


async def test_what_cannot_be_started_is_refused_with_the_reason(
    runner: ProcessRunner, tmp_path: Path
) -> None:
    plain, script, binary = tmp_path / "plain", tmp_path / "script", tmp_path / "binary"
    plain.write_text("")
    script.write_text("#!/no/such/interpreter\n")
    binary.write_bytes(b"\x7fELFnonsense")
    script.chmod(0o755)
    binary.chmod(0o755)
    base = Workload(instance="a", command=["true"])
    for change, reason in [
        (
            {"command": ["no-such-thing"], "env": {"PATH": "/bin:"}},
            "command 'no-such-thing' not found in PATH: /bin:",
        ),
        ({"command": ["/no/such"]}, "file does not exist: /no/such"),
        ({"command": [str(plain)]}, f"file is not executable: {plain}"),
        ({"command": [str(tmp_path)]}, f"file is not executable: {tmp_path}"),
        ({"command": [str(script)]}, f"the interpreter that the first line of {script} names does not exist"),
        ({"command": [str(binary)]}, f"file is not executable: {binary} is no program of this machine"),
        ({"workdir": "/no/such"}, "working folder '/no/such' cannot be entered: No such file or directory"),
        ({"user": "no-such-user"}, "user 'no-such-user' does not exist on this machine"),
        ({"group": "no-such-group"}, "group 'no-such-group' does not exist on this machine"),
    ]:
        with pytest.raises(FailedPrecondition) as caught:
            await runner.ensure(msgspec.structs.replace(base, **change))
        assert caught.value.message.startswith(reason)
    assert list(runner.all()) == []
    assert not list((tmp_path / "data" / "instances").iterdir())


@pytest.mark.skipif(not ROOT, reason="only root may become another user")
async def test_a_workload_of_another_user_has_its_groups_and_may_write_where_it_starts(
    runner: ProcessRunner,
) -> None:
    script = "id -u; id -g; id -G; touch mine && stat -c %U mine"
    await runner.ensure(msgspec.structs.replace(shell("a", script), user="nobody", group="daemon"))
    assert (await ended(runner, "a")).exit_code == 0
    uid, gid, _, owner = await texts(runner, "a")
    assert (uid, gid, owner) == ("65534", "1", "nobody")
