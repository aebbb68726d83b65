"""Isolation on a real machine: what a workload tries, what it may use, and what stays as it was without."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from promises import promise
from rune.errors import FailedPrecondition
from rune.orchestrator.runners.base import Command, Isolation, Limits, Mount, State, Workload
from rune.orchestrator.runners.process import ProcessRunner
from system.process_runner.lab import (
    ended,
    gone,
    kill_keeper,
    killed_runed,
    machine,
    shell,
    texts,
    until_said,
)

pytestmark = [pytest.mark.system, pytest.mark.requires("root", "bubblewrap", "libseccomp")]
limited = pytest.mark.requires("limits")

PYTHON = shutil.which("python3", path="/usr/bin:/usr/local/bin") or os.path.realpath(sys.executable)
"""One that every user may run."""
PRISONER = Path(__file__).with_name("prisoner.py").read_text()
DISKS = [Path("/dev", name) for name in ("vda", "sda", "nvme0n1", "mem", "kmsg")]
READ_ONLY = Isolation(read_only=True)
CLONE = {"x86_64": 56, "aarch64": 220}


def boxed(instance: str, script: str, asked: Isolation = READ_ONLY, *, user: str = "nobody") -> Workload:
    """A shell in a sandbox."""
    made = shell(instance, script, PATH="/usr/bin:/bin")
    return msgspec.structs.replace(made, user=user, isolation=asked)


async def inside(runner: ProcessRunner, script: str, instance: str = "a") -> str:
    """What a command says in there."""
    session = await runner.exec(instance, Command(command=["/bin/sh", "-c", f"{script}; exit 0"]))
    async with asyncio.timeout(10):
        said = b"".join([chunk async for _, chunk in session.output()])
    assert await session.wait() == 0
    await session.close()
    return said.decode()


def targets(tmp_path: Path, pid: int) -> dict[str, Any]:
    """What the prisoner aims at; all of it is really there."""
    work, outside = tmp_path / "work", Path(__file__).parents[3]
    work.mkdir(mode=0o777)
    program = work / "id"
    shutil.copy("/usr/bin/id", program)
    program.chmod(0o4755)
    secret = tmp_path / "data" / "instances" / "other" / "scratch" / "secret"
    secret.write_text("hush")
    (tmp_path / "temporary").write_text("hush")
    cgroup = [line for line in Path("/proc/self/mounts").read_text().splitlines() if " cgroup" in line]
    return {
        "data": str(tmp_path / "data"), "secret": str(secret), "temporary": str(tmp_path / "temporary"),
        "outside": str(outside), "setuid": str(program), "pid": pid, "cgroup": cgroup[-1].split()[1],
        "disk": next(str(path) for path in DISKS if path.exists()),
        "clone": CLONE[os.uname().machine], "run": str(in_run(tmp_path)),
    }  # fmt: skip


def in_run(tmp_path: Path) -> Path:
    """A socket in /run that everybody may talk to."""
    path = Path("/run", f"rune-test-{os.getpid()}-{tmp_path.name[-20:]}")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        path.chmod(0o777)
    return path


@promise("work.sandbox")
@pytest.mark.parametrize("user", ["nobody", ""], ids=["as nobody", "as root without capabilities"])
async def test_a_workload_that_tries_everything_gets_nowhere(
    runner: ProcessRunner, tmp_path: Path, user: str
) -> None:
    other = await runner.ensure(shell("other", "exec sleep 3600"))
    aims = targets(tmp_path, other.pid)
    prisoner = Workload(
        instance="prisoner",
        command=[PYTHON, "-I", "-S", "-c", PRISONER, json.dumps(aims)],
        env={"PATH": "/usr/bin:/bin"},
        workdir=str(tmp_path / "work"),
        user=user,
        isolation=READ_ONLY,
    )
    try:
        await runner.ensure(prisoner)
        said = await until_said(runner, "prisoner", json.dumps(["end", "of the attempts"]))
    finally:
        Path(aims["run"]).unlink()
    outcomes = dict(json.loads(line) for line in said[:-1])
    assert {attempt: outcome for attempt, outcome in outcomes.items() if outcome == "ESCAPED"} == {}
    assert len(outcomes) == 35
    assert runner.observe("other").state is State.RUNNING


async def test_without_a_read_only_file_system_it_writes_where_its_user_may_and_no_further(
    runner: ProcessRunner, tmp_path: Path
) -> None:
    open_to_all = Path.home() / f".written-{tmp_path.name}"  # a sandbox has a /tmp of its own
    open_to_all.touch()
    try:
        script = (
            f"echo yes > {open_to_all}; echo > /proc/sys/kernel/core_pattern; echo > /sys/kernel/profiling"
        )
        script += "; ls /proc | grep -c '^[0-9]'; ls -A /tmp /run; exec sleep 3600"
        await runner.ensure(boxed("a", script, Isolation(capabilities=["CHOWN"]), user=""))
        assert await until_said(runner, "a", "/tmp:")  # noqa: S108 - what `ls` calls it
        assert open_to_all.read_text() == "yes\n"
        refused = [line.text async for batch in runner.logs("a") for line in batch if line.stream == "stderr"]
        assert [text.rpartition(": ")[2] for text in refused] == ["Read-only file system"] * len(refused)
        assert len(refused) >= 1
    finally:
        open_to_all.unlink()


async def test_capabilities_that_are_named_are_kept_and_all_others_lost(runner: ProcessRunner) -> None:
    await runner.ensure(
        boxed("a", "exec sleep 3600", Isolation(capabilities=["cap_net_bind_service", "KILL"]))
    )
    sets = (await inside(runner, "grep ^Cap /proc/self/status")).split()[1::2]
    assert sets == [f"{1 << 10 | 1 << 5:016x}"] * 5
    await runner.ensure(boxed("b", "exec sleep 3600", Isolation(capabilities=["CHOWN"]), user=""))
    sets = (await inside(runner, "grep ^Cap /proc/self/status", "b")).split()[1::2]
    assert sets == [f"{1:016x}"] * 5


async def test_a_denied_system_call_fails_with_eperm_and_the_rest_goes_on(runner: ProcessRunner) -> None:
    script = "mkdir x; echo then > y && cat y; exec sleep 3600"
    await runner.ensure(boxed("a", script, Isolation(denied_syscalls=["mkdir", "mkdirat"])))
    assert await until_said(runner, "a", "then")
    assert "Operation not permitted" in (await texts(runner, "a"))[0]
    assert "Operation not permitted" in await inside(runner, "mkdir z 2>&1")


async def test_a_system_call_outside_of_an_allow_list_fails_with_eperm(runner: ProcessRunner) -> None:
    names = """read close open openat mprotect access pread64 arch_prctl set_tid_address set_robust_list rseq
    prlimit64 getrandom fstat newfstatat stat lstat getuid geteuid getgid getegid getpid getppid sysinfo
    rt_sigaction rt_sigprocmask getcwd ioctl fcntl dup2 clone wait4 uname"""
    script = "exec 2>&1; echo hello; cd /; echo $?; while :; do read x; done < /dev/zero"
    await runner.ensure(boxed("a", script, Isolation(allowed_syscalls=names.split())))
    said = await until_said(runner, "a", "2")
    assert "hello" in said
    assert any("can't cd to /" in line for line in said)


async def test_nothing_gains_rights_even_where_nothing_is_asked_for(runner: ProcessRunner) -> None:
    await runner.ensure(shell("a", "exec sleep 3600"))
    assert "NoNewPrivs:\t1" in await inside(runner, "grep NoNewPrivs /proc/self/status")


async def test_exec_is_in_the_same_sandbox_also_after_the_keeper_crashed(runner: ProcessRunner) -> None:
    running = await runner.ensure(boxed("a", "touch /tmp/mine; echo ready; exec sleep 3600"))
    await until_said(runner, "a", "ready")
    look = "id -un; basename /tmp/mine*; cd /proc/self/ns; readlink mnt pid ipc"
    look += "; grep -E 'Seccomp:|NoNew|CapB' /proc/self/status"
    before = await inside(runner, look)
    ours = [str(Path(f"/proc/{running.pid}/ns", kind).readlink()) for kind in ("mnt", "pid", "ipc")]
    assert before.split()[:5] == ["nobody", "mine", *ours]
    await kill_keeper(runner)
    assert runner.observe("a").pid == running.pid
    assert await inside(runner, look) == before


SPY = """
import os
def name(pid):
    return open(f"/proc/{pid}/cmdline").read()
print("watching", flush=True)
while True:
    for pid in os.listdir("/proc"):
        try:
            if pid.isdigit() and int(pid) != os.getpid() and "keeper" in name(pid):
                held = open(f"/proc/{pid}/mem", "rb"), os.listdir(f"/proc/{pid}/fd")
                if "keeper" in name(pid):
                    print("STOLEN", held, flush=True)
        except OSError:
            continue
"""


async def test_a_command_that_enters_shows_nothing_of_the_keeper(runner: ProcessRunner) -> None:
    for instance, user in (("a", "nobody"), ("b", "")):
        command = [PYTHON, "-I", "-S", "-c", SPY]
        work = Workload(instance=instance, command=command, user=user, isolation=READ_ONLY)
        await runner.ensure(work)
        await until_said(runner, instance, "watching")
        for _ in range(10):
            await inside(runner, "true", instance)
        said = await texts(runner, instance)
        assert [line for line in said if line.startswith("STOLEN")] == []


async def test_exit_codes_and_signals_are_the_workloads_own(runner: ProcessRunner) -> None:
    await runner.ensure(boxed("a", "exit 42"))
    assert (await ended(runner, "a")).exit_code == 42
    running = await runner.ensure(boxed("b", "exec sleep 3600"))
    assert _parent(str(running.pid)) == runner.keeper_pid
    os.kill(running.pid, signal.SIGKILL)
    over = await ended(runner, "b")
    assert (over.exit_code, over.message) == (137, "killed by SIGKILL")
    await runner.ensure(boxed("c", "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done"))
    await until_said(runner, "c", "ready")
    assert (await runner.stop("c", grace=5)).exit_code == 7
    assert "bye" in await texts(runner, "c")


@pytest.mark.parametrize("cgroups", [True, False], ids=["cgroups", "namespace alone"])
async def test_a_stop_ends_daemons_and_what_holds_the_sandbox(tmp_path: Path, *, cgroups: bool) -> None:
    async with machine(tmp_path / "data", cgroups=cgroups) as runner:
        script = "(setsid sh -c 'trap \"\" TERM; exec sleep 3601' &); echo ready; exec sleep 3600"
        running = await runner.ensure(boxed("a", script))
        await until_said(runner, "a", "ready")
        space = str(Path(f"/proc/{running.pid}/ns/pid").readlink())
        mates = [int(name) for name in os.listdir("/proc") if name.isdigit() and _space(name) == space]
        assert len(mates) >= 3
        await runner.stop("a", grace=2)
        for pid in mates:
            await gone(pid)


def _space(pid: str) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return ""


@promise("work.outlive")
async def test_a_sandbox_outlives_a_runed_that_is_killed(tmp_path: Path) -> None:
    work = boxed("a", "echo ready; exec sleep 3600")
    data = tmp_path / "data"
    await killed_runed(data, work)
    async with machine(data) as runner:
        found = runner.observe("a")
        assert found.state is State.RUNNING
        assert _space(str(found.pid)) != str(Path("/proc/self/ns/pid").readlink())
        assert await runner.ensure(work) == found
        assert "nobody" in await inside(runner, "id -un")
        await runner.remove("a")
        await gone(found.pid)


async def test_what_cannot_start_says_why_and_leaves_nothing(runner: ProcessRunner, tmp_path: Path) -> None:
    missing = boxed("a", "")
    for command, why in ((["no-such-program"], "not found in PATH"), (["/etc/hostname"], "not executable")):
        with pytest.raises(FailedPrecondition, match=why):
            await runner.ensure(msgspec.structs.replace(missing, command=command))
    with pytest.raises(FailedPrecondition, match="part of what runed keeps"):
        await runner.ensure(msgspec.structs.replace(missing, workdir=str(tmp_path / "data" / "keeper")))
    gone_mount = msgspec.structs.replace(missing, mounts=[Mount(source="/nowhere", target="/run/x")])
    with pytest.raises(
        FailedPrecondition, match="sandbox cannot be made: bwrap: Can't find source path /nowhere"
    ):
        await runner.ensure(gone_mount)
    assert runner.observe("a").state is State.ABSENT
    for left in [int(name) for name in os.listdir("/proc") if _parent(name) == runner.keeper_pid]:
        await gone(left)


def _parent(pid: str) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 0


@promise("work.memory")
@limited
async def test_past_its_memory_limit_it_is_killed_and_the_reason_said(runner: ProcessRunner) -> None:
    hungry = [PYTHON, "-I", "-S", "-c", "b = b'x' * (200 << 20); print(len(b))"]
    for instance, isolation in (("a", None), ("b", Isolation())):
        work = Workload(
            instance=instance, command=hungry, limits=Limits(memory=64 << 20), isolation=isolation
        )
        await runner.ensure(work)
        over = await ended(runner, instance)
        assert (over.exit_code, over.message) == (137, "killed: past its memory limit of 64Mi")
        assert await texts(runner, instance) == []


@limited
async def test_a_file_in_tmp_counts_as_memory_and_has_an_end(runner: ProcessRunner) -> None:
    fill = "head -c 300000000 /dev/zero > /tmp/x; stat -c %s /tmp/x; exec sleep 3600"
    await runner.ensure(boxed("a", fill))
    assert await until_said(runner, "a", str(256 << 20))
    await runner.ensure(msgspec.structs.replace(boxed("b", fill), limits=Limits(memory=64 << 20)))
    over = await ended(runner, "b")
    assert "past its memory limit of 64Mi" in over.message


BOMB = """
import os, signal
children = 0
try:
    while True:
        if not os.fork():
            signal.pause()
        children += 1
except OSError as error:
    print(children, error.errno, flush=True)
signal.pause()
"""


@limited
@pytest.mark.parametrize("isolation, most", [(None, 20), (Isolation(), 22)], ids=["bare", "sandbox"])
async def test_a_fork_bomb_stays_in_its_box(
    runner: ProcessRunner, isolation: Isolation | None, most: int
) -> None:
    command = [PYTHON, "-I", "-S", "-c", BOMB]
    work = Workload(instance="a", command=command, limits=Limits(processes=20), isolation=isolation)
    await runner.ensure(work)
    children, number = map(int, (await first_line(runner, "a")).split())
    assert number == errno.EAGAIN
    assert 18 <= children <= most


BURN = """
import signal, time
end = time.monotonic() + 1.5
while time.monotonic() < end:
    pass
print(round(time.process_time() / 1.5, 2), flush=True)
signal.pause()
"""


@limited
async def test_a_busy_loop_gets_its_share_of_a_core_and_usage_says_so(runner: ProcessRunner) -> None:
    limits = Limits(cpu=0.2, memory=64 << 20)
    await runner.ensure(Workload(instance="a", command=[PYTHON, "-I", "-S", "-c", BURN], limits=limits))
    assert float(await first_line(runner, "a")) < 0.35
    used = await runner.usage("a")
    assert 0.05 < used.cpu_seconds < 0.7
    assert 1 << 20 < used.memory < 64 << 20
    assert used.memory_limit == 64 << 20


async def first_line(runner: ProcessRunner, instance: str) -> str:
    async with asyncio.timeout(10), contextlib.aclosing(runner.logs(instance, follow=True)) as batches:
        return (await anext(batches))[0].text


async def test_a_mount_is_seen_in_the_sandbox_and_only_written_when_it_may_be(
    runner: ProcessRunner, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("hush")
    (tmp_path / "key").chmod(0o444)
    mounts = [Mount(source=str(tmp_path / "key"), target="/run/secrets/key")]
    script = (
        "cat /run/secrets/key; echo; echo no > /run/secrets/key; rm /run/secrets/key; echo end; exec sleep 99"
    )
    bare = shell("a", script, PATH="/usr/bin:/bin")
    await runner.ensure(msgspec.structs.replace(bare, user="nobody", mounts=mounts))
    said = await until_said(runner, "a", "end")
    assert said[0] == "hush"
    assert (tmp_path / "key").read_text() == "hush"


async def test_usage_of_what_does_not_run_is_refused(runner: ProcessRunner) -> None:
    await runner.ensure(shell("a", "exec sleep 3600"))
    assert (await runner.usage("a")).memory > 0
    await runner.stop("a", grace=1)
    with pytest.raises(FailedPrecondition, match="does not run"):
        await runner.usage("a")
