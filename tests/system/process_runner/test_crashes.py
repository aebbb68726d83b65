"""Workloads outlive runed and its keeper, whatever is killed and when."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import msgspec
import pytest

from rune.errors import FailedPrecondition, Unavailable
from rune.orchestrator.runners import link
from rune.orchestrator.runners.base import Observed, State
from rune.orchestrator.runners.keeper import records
from rune.orchestrator.runners.link import Options
from rune.orchestrator.runners.process import ProcessRunner
from system.process_runner.lab import (
    KINDS,
    ended,
    gone,
    kill_keeper,
    killed_runed,
    lines,
    machine,
    runner_on,
    shell,
    texts,
    until_said,
)

pytestmark = pytest.mark.system


async def test_after_kill_9_of_runed_everything_is_as_it_was(tmp_path: Path) -> None:
    data = tmp_path / "data"
    counting = "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; echo done; exec sleep 3600"
    short = f"while [ ! -e {tmp_path}/go ]; do sleep 0.01; done; echo bye; exit 7"
    await killed_runed(data, shell("long", counting), shell("short", short), meanwhile=f"{tmp_path}/go")
    kept = records.load(str(data / "instances" / "long"))
    assert kept
    async with machine(data) as runner:
        assert runner.observe("long").pid == kept.pid > 0
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
            patch.setattr(link, "PROTOCOL", link.PROTOCOL + 1)
            with pytest.raises(Unavailable, match="speaks protocol 2, this runed 3"):
                await runner.start()
        await runner.start()
        assert (runner.keeper_pid, runner.observe("a").pid) == (keeper, running.pid)


def _record(record: records.Record, folder: Path, pid: int, since: int) -> None:
    """Put a process on record as if it had done that itself."""
    record.save(str(folder))
    with (folder / "state.json").open("a", encoding="ascii") as file:
        file.write(f"{pid} {since} 0 0\n")


async def test_a_stop_right_behind_its_start_ends_it_and_no_other(tmp_path: Path) -> None:
    data = tmp_path / "data"
    workload: dict[str, object] = {"attempt": 0, "command": ["/bin/sleep", "3600"], "env": {}, "workdir": "/"}
    workload |= {"uid": -1, "gid": -1, "groups": []}
    names = [f"i{number}" for number in range(20)]
    async with machine(data) as runner:
        await runner.close()
        keeper = await link.connect(data, Options(), lambda _: None)
        starts = [keeper.ask("ensure", {"instance": name, **workload}, within=5) for name in names]
        stop = keeper.ask("stop", {"instance": names[-1], "grace": 5}, within=5)
        *started, stopped = await asyncio.gather(*starts, stop)  # all in one packet
        assert stopped.seen
        assert (stopped.seen.state, stopped.seen.exit_code) == (State.EXITED, 143)
        pids = {answer.seen.pid for answer in started[:-1] if answer.seen}
        assert len(pids) == len(names) - 1
        assert all(Path(f"/proc/{pid}").exists() for pid in pids)
        keeper.close()
        await keeper.lost.wait()
        await runner.start()


@KINDS
async def test_a_pid_that_another_process_has_now_is_left_alone(tmp_path: Path, *, cgroups: bool) -> None:
    data = tmp_path / "data"
    stranger = await asyncio.create_subprocess_exec("/bin/sleep", "3600", start_new_session=True)
    folder = data / "instances" / "a"
    (folder / "log").mkdir(parents=True)
    record = records.Record("a", 0)
    _record(record, folder, stranger.pid, records.birth(stranger.pid) - 1)
    async with machine(data, cgroups=cgroups) as runner:
        over = runner.observe("a")
        assert (over.state, over.exit_code) == (State.EXITED, None)
        assert "while no keeper was watching" in over.message
        assert stranger.returncode is None
    stranger.kill()
    assert await stranger.wait() == -signal.SIGKILL


async def test_after_a_restart_of_the_machine_nothing_runs_and_nobody_is_taken_for_it(
    tmp_path: Path,
) -> None:
    stranger = await asyncio.create_subprocess_exec("/bin/sleep", "3600")
    folder = tmp_path / "data" / "instances" / "a"
    (folder / "log").mkdir(parents=True)
    record = records.Record("a", 0)
    record.boot = "another"
    _record(record, folder, os.getpid(), records.birth(os.getpid()))
    async with machine(tmp_path / "data") as runner:
        assert runner.observe("a").message == "the machine was restarted"
        assert stranger.returncode is None
    stranger.kill()
    assert await stranger.wait() == -signal.SIGKILL


async def test_a_broken_state_file_is_put_aside(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "instances" / "a"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text('{"instance": ')
    async with machine(tmp_path / "data") as runner:
        assert list(runner.all()) == []
        assert (await runner.ensure(shell("a", "exec sleep 3600"))).state is State.RUNNING


async def test_an_end_right_behind_the_greeting_is_not_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keeper's list and its news of an end come in one packet; the list is the older."""
    async with machine(tmp_path / "data") as runner:
        running = await runner.ensure(shell("a", "exec sleep 3600"))
        await runner.close()
        greeted = link.Link.data_received

        def with_news(self: link.Link, data: bytes) -> None:
            if b'"instances"' in data:
                over = msgspec.structs.replace(running, state=State.EXITED, pid=0, exit_code=3)
                data += msgspec.json.encode({"seen": over}) + b"\n"
            greeted(self, data)

        with monkeypatch.context() as patch:
            patch.setattr(link.Link, "data_received", with_news)
            await runner.start()
        assert (runner.observe("a").state, runner.observe("a").exit_code) == (State.EXITED, 3)


async def test_an_instance_that_the_next_keeper_does_not_know_is_told_to_be_gone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with machine(data) as runner:
        await runner.ensure(shell("a", "exec sleep 3600"))
        told: list[Observed] = []
        runner.on_change(told.append)
        (data / "instances" / "a" / "state.json").write_text("torn")
        await kill_keeper(runner)
        assert [(one.instance, one.state) for one in told] == [("a", State.ABSENT)]
        assert runner.observe("a").state is State.ABSENT
