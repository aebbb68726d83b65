"""The process runner on a real machine: crashes, adoption, signals, output, users, commands."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from rune.errors import FailedPrecondition, RuneError, Unavailable
from rune.orchestrator.runners import link
from rune.orchestrator.runners.base import Command, LogLine, Observed, Session, State, Workload
from rune.orchestrator.runners.keeper import groups, records
from rune.orchestrator.runners.link import Options
from rune.orchestrator.runners.process import ProcessRunner

pytestmark = pytest.mark.system

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


@pytest.fixture
async def runner(tmp_path: Path) -> AsyncGenerator[ProcessRunner]:
    async with machine(tmp_path / "data") as runner:
        yield runner


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
        while runner.keeper_pid in (0, old):  # noqa: ASYNC110 - the runner has no event for it
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
    source = Path(__file__).parents[2] / "src"
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


# -- workloads outlive runed ----------------------------------------------------------------------------


async def test_after_kill_9_of_runed_everything_is_as_it_was(tmp_path: Path) -> None:
    data = tmp_path / "data"
    counting = "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; echo done; exec sleep 3600"
    short = f"while [ ! -e {tmp_path}/go ]; do sleep 0.01; done; echo bye; exit 7"
    await killed_runed(data, shell("long", counting), shell("short", short), meanwhile=f"{tmp_path}/go")
    pid = records.read_pid(str(data / "instances" / "long"), 0)[0]
    async with machine(data) as runner:
        assert runner.observe("long").pid == pid
        assert runner.observe("long").state is State.RUNNING
        assert (await ended(runner, "short")).exit_code == 7
        assert (await texts(runner, "short")) == ["bye"]
        said = await until_said(runner, "long", "done")
        assert said == [*(f"line {number}" for number in range(3000)), "done"]


async def test_changes_missed_while_runed_was_down_are_told_at_start(tmp_path: Path) -> None:
    data = tmp_path / "data"
    await killed_runed(data, shell("a", "exit 5"))
    async with machine(data) as first:
        await ended(first, "a")
        await first.close()
        told: list[Observed] = []
        second = runner_on(data)
        second.on_change(told.append)
        await second.start()
        assert [(one.instance, one.exit_code) for one in told] == [("a", 5)]
        await second.close()
        await first.start()


async def test_a_second_runed_on_the_same_folder_is_refused(runner: ProcessRunner, tmp_path: Path) -> None:
    second = runner_on(tmp_path / "data")
    with pytest.raises(FailedPrecondition, match=f"another runed \\(pid {os.getpid()}\\)"):
        await second.start()
    assert (await runner.ensure(shell("a", "exec sleep 3600"))).state is State.RUNNING


# -- workloads outlive the keeper -----------------------------------------------------------------------


@KINDS
async def test_after_kill_9_of_the_keeper_pids_stay_and_no_line_is_lost(
    tmp_path: Path, *, cgroups: bool
) -> None:
    async with machine(tmp_path / "data", cgroups=cgroups) as runner:
        wait = f"while [ ! -e {tmp_path}/go ]; do sleep 0.01; done"
        script = f"echo one; {wait}; for i in 2 3 4; do echo $i; echo $i >&2; done; exec sleep 3600"
        before = await runner.ensure(shell("a", script))
        await until_said(runner, "a", "one")
        os.kill(runner.keeper_pid, signal.SIGSTOP)
        (tmp_path / "go").touch()
        await kill_keeper(runner)
        assert runner.observe("a").pid == before.pid
        async with asyncio.timeout(10):
            while len(said := await lines(runner, "a")) < 7:
                await asyncio.sleep(0.01)
        assert [line.text for line in said if line.stream == "stdout"] == ["one", "2", "3", "4"]
        assert [line.text for line in said if line.stream == "stderr"] == ["2", "3", "4"]
        os.kill(before.pid, signal.SIGKILL)
        over = await ended(runner, "a")
        assert over.exit_code is None
        assert "keeper" in over.message
        again = await runner.ensure(msgspec.structs.replace(shell("a", "exit 3"), attempt=1))
        assert again.pid != before.pid


@KINDS
async def test_an_adopted_workload_can_be_stopped_and_its_children_with_it(
    tmp_path: Path, *, cgroups: bool
) -> None:
    async with machine(tmp_path / "data", cgroups=cgroups) as runner:
        script = "trap '' TERM; (setsid sleep 3600 & echo $!) ; echo ready; while :; do sleep 3600; done"
        await runner.ensure(shell("a", script, RUNE_INSTANCE_ID="a"))
        daemon, _ = await until_said(runner, "a", "ready")
        await kill_keeper(runner)
        assert (await runner.stop("a", grace=0.05)).state is State.EXITED
        await gone(int(daemon))


@pytest.mark.parametrize("delay", [0.0, 0.002, 0.01, 0.03])
async def test_a_keeper_killed_in_the_middle_of_starts_starts_nothing_twice(
    tmp_path: Path, delay: float
) -> None:
    async with machine(tmp_path / "data") as runner:
        script = f"echo $$ >> {tmp_path}/$NAME; exec sleep 3600"
        work = [shell(f"i{number}", script, NAME=f"i{number}") for number in range(20)]
        asked = [asyncio.ensure_future(runner.ensure(one)) for one in work]
        await asyncio.sleep(delay)
        await kill_keeper(runner)
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(answer, Observed | Unavailable) for answer in answers)
        for one in work:
            now = await runner.ensure(one)
            marks = tmp_path / one.instance
            if now.state is State.RUNNING:
                assert Path(f"/proc/{now.pid}/comm").exists()
            else:
                assert not marks.exists() or now.message
            await runner.stop(one.instance, grace=1)
            assert not marks.exists() or len(marks.read_text().split()) <= 1


async def test_a_keeper_of_another_version_replaces_itself_and_still_learns_exit_codes(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    async with machine(data) as runner:
        wait = f"while [ ! -e {tmp_path}/go ]; do sleep 0.01; done"
        before = await runner.ensure(shell("a", f"echo one; {wait}; echo two; exit 9"))
        keeper = runner.keeper_pid
        await runner.close()
        old = await link.connect(data, Options(), lambda _: None)
        await old.ask("upgrade", {"argv": link.argv(data, Options(), "--resumed")}, within=5)
        await old.lost.wait()
        await runner.start()
        assert (runner.keeper_pid, runner.observe("a").pid) == (keeper, before.pid)
        (tmp_path / "go").touch()
        assert (await ended(runner, "a")).exit_code == 9
        assert await texts(runner, "a") == ["one", "two"]


async def test_a_keeper_of_a_version_that_is_no_longer_there_is_named_and_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with machine(tmp_path / "data") as runner:
        running = await runner.ensure(shell("a", "exec sleep 3600"))
        keeper = runner.keeper_pid
        await runner.close()
        with monkeypatch.context() as patch:
            patch.setattr(link, "PROTOCOL", 2)
            with pytest.raises(Unavailable, match="speaks protocol 1, this runed 2"):
                await runner.start()
        await runner.start()
        assert (runner.keeper_pid, runner.observe("a").pid) == (keeper, running.pid)


@KINDS
async def test_a_pid_that_another_process_has_now_is_left_alone(tmp_path: Path, *, cgroups: bool) -> None:
    data = tmp_path / "data"
    stranger = await asyncio.create_subprocess_exec("/bin/sleep", "3600", start_new_session=True)
    folder = data / "instances" / "a"
    (folder / "log").mkdir(parents=True)
    record = records.Record("a", 0)
    record.save(str(folder))
    (folder / "pid").write_text(f"0 {stranger.pid} {records.birth(stranger.pid) - 1}\n")
    async with machine(data, cgroups=cgroups) as runner:
        over = runner.observe("a")
        assert (over.state, over.exit_code) == (State.EXITED, None)
        assert "while no keeper was watching" in over.message
        assert stranger.returncode is None
    stranger.kill()
    assert await stranger.wait() == -signal.SIGKILL


async def test_after_a_restart_of_the_machine_nothing_runs(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "instances" / "a"
    (folder / "log").mkdir(parents=True)
    record = records.Record("a", 0)
    record.boot = "another"
    record.save(str(folder))
    (folder / "pid").write_text(f"0 {os.getpid()} {records.birth(os.getpid())}\n")
    async with machine(tmp_path / "data") as runner:
        assert runner.observe("a").message == "the machine was restarted"


async def test_a_broken_state_file_is_put_aside(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "instances" / "a"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text('{"instance": ')
    async with machine(tmp_path / "data") as runner:
        assert list(runner.all()) == []
        assert (await runner.ensure(shell("a", "exec sleep 3600"))).state is State.RUNNING


# -- everything in an instance ends with it --------------------------------------------------------------


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
    assert not os.path.exists(groups.base(str(data)) + "/a:0")  # noqa: ASYNC240, PTH110
    groups.drop(groups.base(str(data)))
    assert "hello" in (data / "instances" / "a" / "log" / "00000001.log").read_text()
    assert json.loads((data / "instances" / "a" / "state.json").read_text())["exit_code"] == 143


# -- output ----------------------------------------------------------------------------------------------


async def test_a_workload_may_close_its_output_and_run_on(runner: ProcessRunner) -> None:
    await runner.ensure(shell("a", "echo one; exec >&- 2>&-; exec sleep 3600"))
    await until_said(runner, "a", "one")
    assert (await runner.stop("a", grace=5)).exit_code == 143


async def test_a_workload_may_open_dev_stdout_anew(runner: ProcessRunner) -> None:
    workload = msgspec.structs.replace(shell("a", "echo one > /dev/stdout; echo two > /dev/stderr"))
    workload = msgspec.structs.replace(workload, user="nobody") if ROOT else workload
    await runner.ensure(workload)
    assert (await ended(runner, "a")).exit_code == 0
    assert [(line.stream, line.text) for line in await lines(runner, "a")] == [
        ("stdout", "one"),
        ("stderr", "two"),
    ]


async def test_ten_megabytes_without_a_newline_and_garbage_are_kept(runner: ProcessRunner) -> None:
    await runner.ensure(shell("long", "head -c 10000000 /dev/zero | tr '\\0' x; echo; echo end"))
    await runner.ensure(shell("random", "head -c 1000000 /dev/urandom; echo; echo end"))
    assert (await until_said(runner, "random", "end"))[-1] == "end"
    await until_said(runner, "long", "end")
    *parts, end = await lines(runner, "long")
    assert end.text == "end"
    assert sum(len(part.text) for part in parts) == 10_000_000
    assert {part.partial for part in parts[:-1]} == {True}
    assert max(len(part.text) for part in parts) <= 65536
    assert not parts[-1].partial


async def test_a_follower_reads_across_files_and_misses_nothing(tmp_path: Path) -> None:
    async with machine(tmp_path / "data", log_size=20_000) as runner:
        script = "i=0; while [ $i -lt 1200 ]; do echo line $i; i=$((i+1)); done; echo done; exec sleep 3600"
        await runner.ensure(shell("a", script))
        said = await until_said(runner, "a", "done")
        assert said == [*(f"line {number}" for number in range(1200)), "done"]
        assert len(list((tmp_path / "data" / "instances" / "a" / "log").iterdir())) > 1


async def test_a_prompt_is_shown_to_a_follower_before_its_line_ends(runner: ProcessRunner) -> None:
    await runner.ensure(shell("a", "printf 'password: '; exec sleep 3600"))
    async with asyncio.timeout(10), contextlib.aclosing(runner.logs("a", follow=True)) as batches:
        async for batch in batches:
            assert [(line.text, line.partial) for line in batch] == [("password: ", True)]
            break


async def test_a_follower_with_an_end_time_ends(runner: ProcessRunner) -> None:
    await runner.ensure(shell("a", "echo one; exec sleep 3600"))
    until = datetime.fromtimestamp(datetime.now(UTC).timestamp() + 0.3, UTC)
    async with asyncio.timeout(10):
        found = [line.text async for batch in runner.logs("a", follow=True, until=until) for line in batch]
    assert found == ["one"]


async def test_followers_end_when_the_runner_is_closed(tmp_path: Path) -> None:
    async with machine(tmp_path / "data") as runner:
        await runner.ensure(shell("a", "echo one; exec sleep 3600"))
        async with asyncio.timeout(10), contextlib.aclosing(runner.logs("a", follow=True)) as batches:
            assert [line.text for line in await anext(batches)] == ["one"]
            await runner.close()
            assert [batch async for batch in batches] == []
        await runner.start()


# -- what a workload starts with -------------------------------------------------------------------------


async def test_the_environment_is_what_was_asked_and_is_nowhere_on_disk(
    runner: ProcessRunner, tmp_path: Path
) -> None:
    workload = Workload(instance="a", command=["env"], env={"SECRET": "hunter2", "NAME": "ä€"})
    await runner.ensure(workload)
    await ended(runner, "a")
    said = await texts(runner, "a")
    assert sorted(said) == sorted(["SECRET=hunter2", "NAME=ä€", f"PATH={os.environ['PATH']}"])
    files = [path for path in (tmp_path / "data").rglob("*") if path.is_file() and path.suffix != ".log"]
    assert len(files) > 2
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
    assert "SigBlk:\t0000000000000000" in said
    assert "SigIgn:\t0000000000000000" in said
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


# -- commands inside an instance -------------------------------------------------------------------------


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
    script = "stty size; trap 'stty size' WINCH; trap 'echo int; exit 3' INT; echo ok > /dev/tty"
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
