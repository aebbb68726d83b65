"""What is Docker's own: networks, ports, limits, exec, logs across attempts, adoption, and its absence."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from engines import IMAGE, Engine, begin, root_filesystem
from registry import Registry
from rune.errors import FailedPrecondition, InvalidArgument, Unavailable
from rune.orchestrator.runners.base import (
    Command,
    Credentials,
    Limits,
    Mount,
    Observed,
    Port,
    PullPolicy,
    Security,
    Session,
    State,
    Workload,
)
from rune.orchestrator.runners.docker import engine as engine_module
from rune.orchestrator.runners.docker import registries, watch
from rune.orchestrator.runners.docker.runner import KEPT, DockerRunner

pytestmark = [pytest.mark.system, pytest.mark.requires("docker"), pytest.mark.timeout(60)]

FOREVER = "trap 'exit 143' TERM; sleep 3600 & wait"


@pytest.fixture
async def runner(docker_engine: Engine) -> AsyncGenerator[DockerRunner]:
    """A runner, started; at the end nothing of it is left on the Engine."""
    runner = make(docker_engine)
    await runner.start()
    yield runner
    await clear(runner)
    assert docker_engine.docker("ps", "-aq", "--filter", "label=rune.owner=test") == ""
    assert docker_engine.docker("network", "ls", "-q", "--filter", "label=rune.owner=test") == ""


@pytest.fixture
def own_engine(docker_engine: Engine) -> Generator[Engine]:
    """An Engine that a test may lose."""
    engine = begin()
    yield engine
    engine.end()


def make(engine: Engine, owner: str = "test") -> DockerRunner:
    return DockerRunner(engine.url, now=lambda: datetime.now(UTC), owner=owner)


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


async def until(runner: DockerRunner, wanted: Callable[[Observed], bool], instance: str) -> Observed:
    """What is known of the instance, once it is as wanted."""
    found: asyncio.Future[Observed] = asyncio.get_running_loop().create_future()

    def look(seen: Observed) -> None:
        if seen.instance == instance and wanted(seen) and not found.done():
            found.set_result(seen)

    runner.on_change(look)
    look(runner.observe(instance))
    async with asyncio.timeout(30):
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


# What a container is made of.


async def test_an_image_runs_as_it_is_with_other_arguments_or_with_another_command(
    runner: DockerRunner,
) -> None:
    assert await said(runner, plain("as-it-is")) == ["entry default"]
    assert await said(runner, plain("arguments", args=["a", "b c"])) == ["entry a b c"]
    assert await said(runner, plain("command", command=["/bin/echo"])) == [""]
    assert await said(runner, plain("both", command=["/bin/echo", "x"], args=["y"])) == ["x y"]


async def test_env_folder_user_and_group_are_the_workloads(runner: DockerRunner) -> None:
    script = "echo $GREETING $PATH; pwd; id"
    workload = shell("who", script, env={"GREETING": "hi"}, workdir="/tmp", user="app", group="team")  # noqa: S108 - inside
    lines = await said(runner, workload)
    assert lines == ["hi /bin", "/tmp", "uid=1000(app) gid=2000(team) groups=2000(team)"]  # noqa: S108 - as above


async def test_a_user_that_the_image_does_not_have_is_refused(runner: DockerRunner) -> None:
    with pytest.raises(FailedPrecondition, match=f"user 'nobody' does not exist in image '{IMAGE}'"):
        await runner.ensure(shell("who", user="nobody"))
    assert runner.observe("who").state is State.ABSENT


async def test_files_and_folders_are_mounted_read_only_unless_said_otherwise(
    runner: DockerRunner, tmp_path: Path
) -> None:
    folder, file = tmp_path / "folder", tmp_path / "file"
    folder.mkdir()
    file.write_text("secret")
    script = "cat /run/file; echo; echo x > /run/file; echo y > /data/new && echo written"
    mounts = [
        Mount(source=str(file), target="/run/file"),
        Mount(source=str(folder), target="/data", read_only=False),
    ]
    lines = await said(runner, shell("mounts", script, mounts=mounts))
    assert set(lines) == {"secret", "written", "/bin/sh: can't create /run/file: Read-only file system"}
    assert (folder / "new").read_text() == "y\n"


async def test_a_mount_whose_source_is_missing_is_refused(runner: DockerRunner, tmp_path: Path) -> None:
    mount = Mount(source=str(tmp_path / "nothing"), target="/data")
    with pytest.raises(FailedPrecondition, match="nothing"):
        await runner.ensure(shell("mounts", mounts=[mount]))
    assert not (tmp_path / "nothing").exists()


async def test_a_read_only_root_has_a_tmp_to_write_to(runner: DockerRunner) -> None:
    script = "touch /x; touch /tmp/x && echo ok"
    lines = await said(runner, shell("ro", script, security=Security(read_only_root=True)))
    assert set(lines) == {"ok", "touch: /x: Read-only file system"}


async def test_rights_are_dropped_and_never_gained(runner: DockerRunner) -> None:
    security = Security(cap_drop=["ALL"], cap_add=["NET_BIND_SERVICE"])
    script = "while read k v; do echo $k $v; done < /proc/self/status"
    lines = await said(runner, shell("caps", script, security=security))
    assert {"CapEff: 0000000000000400", "CapBnd: 0000000000000400", "NoNewPrivs: 1"} <= set(lines)


async def test_a_seccomp_profile_is_enforced(runner: DockerRunner) -> None:
    refuse = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}
    profile = msgspec.json.encode({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [refuse]}).decode()
    lines = await said(runner, shell("seccomp", "mkdir /tmp/a", security=Security(seccomp=profile)))
    assert lines == ["mkdir: can't create directory '/tmp/a': Operation not permitted"]


async def test_what_needs_more_memory_than_its_limit_is_killed_and_says_so(runner: DockerRunner) -> None:
    workload = plain(
        "greedy",
        command=["/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"],
        limits=Limits(memory=16 << 20),
    )
    await runner.ensure(workload)
    seen = await until(runner, over, "greedy")
    assert (seen.exit_code, seen.message) == (137, "killed by the kernel: out of memory of 16 MiB")


async def test_usage_tells_processor_time_and_memory(runner: DockerRunner) -> None:
    await runner.ensure(shell("busy", "while :; do :; done", limits=Limits(cpu=0.5, memory=64 << 20)))
    first = await runner.usage("busy")
    await ran(runner, "busy", "sleep 1")
    second = await runner.usage("busy")
    assert 15 < second.cpu_percent(first) < 75
    assert 0 < second.memory < second.memory_limit == 64 << 20
    await runner.stop("busy", grace=0)
    with pytest.raises(FailedPrecondition, match="does not run"):
        await runner.usage("busy")


async def test_the_engine_never_restarts_anything_and_labels_tell_whose_it_is(
    runner: DockerRunner, docker_engine: Engine
) -> None:
    await runner.ensure(shell("labels", service="api", attempt=2, labels={"team": "a", "rune.owner": "me"}))
    shown = docker_engine.docker(
        "inspect", "test.default.labels.2", "-f", "{{.HostConfig.RestartPolicy.Name}} {{json .Config.Labels}}"
    )
    policy, _, labels = shown.partition(" ")
    assert policy == "no"
    assert msgspec.json.decode(labels) == {
        "team": "a",
        "rune.managed": "true",
        "rune.owner": "test",
        "rune.namespace": "default",
        "rune.service": "api",
        "rune.instance": "labels",
        "rune.attempt": "2",
    }


async def test_what_no_container_can_be_is_refused_with_every_reason(runner: DockerRunner) -> None:
    workload = Workload(
        instance="wrong",
        namespace="No",
        group="team",
        workdir="relative",
        ports=[Port(port=0), Port(port=1, protocol="sctp", publish=70000)],
        mounts=[Mount(source="a", target="/b")],
        limits=Limits(memory=-1),
    )
    with pytest.raises(InvalidArgument) as refused:
        await runner.ensure(workload)
    fields = [violation.field for violation in refused.value.details]
    assert fields == [
        "command", "image", "namespace", "group", "workdir", "ports[0].port", "ports[1].publish",
        "ports[1].protocol", "mounts[0].source", "limits.memory",
    ]  # fmt: skip


# Networks.


async def test_ports_are_reached_at_the_containers_address_and_at_the_published_port(
    runner: DockerRunner,
) -> None:
    ports = [Port(port=80, publish=0), Port(port=81)]
    script = "cd /tmp; echo hello > index.html; httpd -p 81; exec httpd -f -p 80"
    seen = await runner.ensure(shell("web", script, ports=ports))
    session = await runner.exec("web", Command(command=["/bin/sh", "-c", REACHED]))
    assert await session.wait() == 0
    await session.close()
    assert await got(seen.address, 80, "/index.html") == "hello\n"
    assert await got(seen.address, 81, "/index.html") == "hello\n"
    assert await got("127.0.0.1", seen.published["80/tcp"], "/index.html") == "hello\n"
    assert list(seen.published) == ["80/tcp"]
    assert (await runner.stop("web", grace=0)).address == ""


REACHED = "until wget -q -O /dev/null http://127.0.0.1:81/index.html; do sleep 0.05; done"


async def test_a_port_of_the_host_that_is_taken_is_refused(runner: DockerRunner) -> None:
    seen = await runner.ensure(shell("first", ports=[Port(port=80, publish=0)]))
    taken = Port(port=80, publish=seen.published["80/tcp"])
    with pytest.raises(FailedPrecondition, match="already allocated"):
        await runner.ensure(shell("second", ports=[taken]))
    assert runner.observe("second").state is State.ABSENT


async def test_a_service_is_found_by_name_in_its_own_namespace_alone(runner: DockerRunner) -> None:
    for namespace in ("blue", "green"):
        await runner.ensure(shell(f"api-{namespace}", service="api", namespace=namespace))
        await runner.ensure(shell(f"asker-{namespace}", service="asker", namespace=namespace))
    for namespace in ("blue", "green"):
        address = runner.observe(f"api-{namespace}").address
        for name in ("api", f"api.{namespace}.rune"):
            answer, code = await ran(runner, f"asker-{namespace}", f"nslookup {name} 127.0.0.11")
            assert code == 0
            assert f"Address: {address}" in answer
    answer, code = await ran(runner, "asker-blue", "nslookup -timeout=2 api.green.rune 127.0.0.11")
    assert code == 1
    assert runner.observe("api-green").address not in answer


async def test_a_network_that_somebody_removed_is_made_again(
    runner: DockerRunner, docker_engine: Engine
) -> None:
    await said(runner, plain("first"))
    docker_engine.docker("network", "rm", "test-default")
    assert await said(runner, plain("second")) == ["entry default"]


async def test_further_networks_are_joined_and_must_be_there(
    runner: DockerRunner, docker_engine: Engine
) -> None:
    with pytest.raises(FailedPrecondition, match="backbone"):
        await runner.ensure(shell("joins", networks=["backbone"]))
    docker_engine.docker("network", "create", "backbone")
    await runner.ensure(shell("joins", networks=["backbone"]))
    shown = docker_engine.docker(
        "inspect", "test.default.joins.0", "-f", "{{json .NetworkSettings.Networks}}"
    )
    assert set(msgspec.json.decode(shown)) == {"test-default", "backbone"}
    await runner.remove("joins")
    docker_engine.docker("network", "rm", "backbone")


# Attempts, adoption, and what others do behind our back.


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
    end = datetime.now(UTC) + timedelta(seconds=1)
    async with asyncio.timeout(10):
        lines = [line async for batch in runner.logs("talks", follow=True, until=end) for line in batch]
    assert lines
    assert all(line.at < end for line in lines)


# Commands inside.


async def test_a_terminal_has_a_size_and_a_foreground_to_signal(runner: DockerRunner) -> None:
    await runner.ensure(shell("box"))
    script = "trap 'echo caught; exit 5' INT; until [ \"$(stty size)\" = '33 101' ]; do sleep 0.02; done; echo sized; while :; do sleep 0.02; done"
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


# Images.


@pytest.mark.parametrize(
    ("door", "credentials", "shown"),
    [
        ({}, None, None),
        ({"password": "p:w"}, registries.basic("somebody", "p:w"), "Basic c29tZWJvZHk6cDp3"),
        ({"username": "token", "password": "t"}, registries.token("t"), "Basic dG9rZW46dA=="),
        ({"refresh": "r"}, Credentials(identity_token="r"), "Bearer pass"),
    ],
    ids=["open", "basic", "token", "identity token"],
)
async def test_an_image_is_pulled_with_its_credentials(
    runner: DockerRunner,
    docker_engine: Engine,
    *,
    door: dict[str, str],
    credentials: Credentials | None,
    shown: str | None,
) -> None:
    async with Registry(root_filesystem("pulled"), **door).serving() as registry:  # pyright: ignore[reportArgumentType] - fields by name
        workload = shell("pulled", "echo here", image=registry.image, credentials=credentials)
        assert await said(runner, workload) == ["here"]
        assert set(registry.authorizations) == ({shown} if shown else set())
        await runner.remove("pulled")
        docker_engine.docker("rmi", registry.image)


async def test_credentials_are_read_from_a_docker_config(runner: DockerRunner, docker_engine: Engine) -> None:
    async with Registry(root_filesystem(), password="pw").serving() as registry:
        text = f'{{"auths": {{"http://127.0.0.1:{registry.port}/v2/": {{"auth": "c29tZWJvZHk6cHc="}}}}}}'
        credentials = registries.dockerconfigjson(text, registry.image)
        workload = shell("pulled", "echo here", image=registry.image, credentials=credentials)
        assert await said(runner, workload) == ["here"]
        await runner.remove("pulled")
        docker_engine.docker("rmi", registry.image)


async def test_the_registrys_refusal_is_told_and_no_secret_with_it(runner: DockerRunner) -> None:
    async with Registry(root_filesystem(), password="right").serving() as registry:
        given = registries.basic("somebody", "wrong-secret")
        workload = shell("denied", image=registry.image, credentials=given)
        with pytest.raises(FailedPrecondition, match=r"cannot be pulled.*") as refused:
            await runner.ensure(workload)
    assert "wrong-secret" not in f"{refused.value!r} {workload!r} {given!r}"
    assert runner.observe("denied").state is State.ABSENT


async def test_a_failure_in_the_middle_of_a_pull_is_told(runner: DockerRunner) -> None:
    async with Registry(root_filesystem("broken"), broken=True).serving() as registry:
        with pytest.raises(FailedPrecondition, match="cannot be pulled"):
            await runner.ensure(shell("broken", image=registry.image))


async def test_pull_policies_decide_whether_the_registry_is_asked(
    runner: DockerRunner, docker_engine: Engine
) -> None:
    async with Registry(root_filesystem()).serving() as registry:
        never, missing, always = (
            shell("policy", "echo here", image=registry.image, pull=policy, attempt=attempt)
            for attempt, policy in enumerate((PullPolicy.NEVER, PullPolicy.MISSING, PullPolicy.ALWAYS))
        )
        with pytest.raises(FailedPrecondition, match="its pull policy is never"):
            await runner.ensure(never)
        assert registry.pulls == 0
        await said(runner, missing)
        asked = registry.pulls
        await said(runner, msgspec.structs.replace(missing, attempt=2))
        assert asked == registry.pulls > 0
        await said(runner, msgspec.structs.replace(always, attempt=3))
        assert registry.pulls > asked
    with pytest.raises(FailedPrecondition, match="connection refused"):
        await runner.ensure(msgspec.structs.replace(always, attempt=4))
    assert await said(runner, msgspec.structs.replace(never, attempt=4))
    await runner.remove("policy")
    docker_engine.docker("rmi", registry.image)


async def test_many_who_want_one_image_wait_for_one_pull(runner: DockerRunner, docker_engine: Engine) -> None:
    async with Registry(root_filesystem()).serving() as registry:
        workloads = [shell(f"many{n}", image=registry.image) for n in range(4)]
        await asyncio.gather(*map(runner.ensure, workloads))
        assert registry.pulls <= 2  # a HEAD and a GET
        await asyncio.gather(*(runner.remove(workload.instance) for workload in workloads))
        docker_engine.docker("rmi", registry.image)


# The Engine away.


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
        assert runner.observe("runs") == running
        async with asyncio.timeout(20):
            while len(numbers) < 100:
                numbers += [int(line.text) for line in await anext(batches)]
    assert numbers == list(range(1, len(numbers) + 1))
    await clear(runner)


async def away(runner: DockerRunner) -> None:
    """Wait until every verb says that the Engine is away."""
    async with asyncio.timeout(20):
        while True:
            try:
                await runner.stop("nobody", grace=0)
            except Unavailable:
                break
    for verb in (
        runner.ensure(shell("new")),
        runner.stop("runs", grace=1),
        runner.remove("runs"),
        runner.exec("runs", Command(command=["/bin/true"])),
        runner.usage("runs"),
        anext(runner.logs("runs")),
    ):
        with pytest.raises(Unavailable, match="docker|Docker"):
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
    with pytest.raises(Unavailable, match="did not tell its version within 0.5 s"):
        await runner.start()
    own_engine.thaw()
    monkeypatch.undo()
    assert await until(runner, lambda seen: seen == running, "runs") == running
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
        assert "out of reach" in await stopping or "ended the connection" in stopping.result()
    own_engine.start()
    await until(runner, lambda seen: not seen.message, "stubborn")
    await clear(runner)


async def refused(verb: Coroutine[object, object, Observed]) -> str:
    with pytest.raises(Unavailable) as error:
        await verb
    return error.value.message
