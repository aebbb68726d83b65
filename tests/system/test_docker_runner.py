"""Containers as the Docker runner makes them: what is in them, what they may do, how they are reached."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from containers import got, over, plain, ran, said, shell, until
from engines import IMAGE, Engine
from rune.errors import FailedPrecondition, InvalidArgument
from rune.orchestrator.runners.base import (
    Command,
    Limits,
    Mount,
    Observed,
    Port,
    Security,
    State,
    Workload,
)
from rune.orchestrator.runners.docker.runner import DockerRunner

pytestmark = [pytest.mark.system, pytest.mark.requires("docker"), pytest.mark.timeout(30)]


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
    # The Engine does not always hear why, least of all of a container that is over in the same moment.
    seen = await greedy(runner, attempt=1)
    while not seen.message and seen.attempt < 5:
        seen = await greedy(runner, attempt=seen.attempt + 1)
    assert (seen.exit_code, seen.message) == (137, "killed by the kernel: out of memory of 16 MiB")


async def greedy(runner: DockerRunner, attempt: int) -> Observed:
    """The end of something that takes too much memory, with its reason where the Engine tells it soon."""
    script = "dd if=/dev/zero of=/dev/null bs=200M count=1; code=$?; sleep 1; exit $code"
    await runner.ensure(shell("greedy", script, attempt=attempt, limits=Limits(memory=16 << 20)))
    ended = await until(runner, lambda seen: over(seen) and seen.attempt == attempt, "greedy")
    with suppress(TimeoutError):
        return await until(runner, lambda seen: bool(seen.message), "greedy", patience=3)
    return ended


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
