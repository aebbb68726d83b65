"""Commands inside instances: who may run them where, what goes in and out, and that they always end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

import pytest

from rune.api.orchestrator import exec as api
from rune.api.orchestrator import instances as instance_api
from rune.api.orchestrator import services as service_api
from rune.api.orchestrator.exec import (
    ExecInitRequest,
    ExecRequest,
    ExecResponse,
    ExitInfo,
    RunCommandRequest,
    Signal,
    TerminalSize,
)
from rune.core.access import rule
from rune.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied, Unauthenticated
from rune.orchestrator.exec import CHUNK, Exec
from rune.orchestrator.runners.base import Command, Session
from rune.orchestrator.runners.fake import FakeRunner, FakeSession, Script
from unit.orchestrator.plane import Plane, new_plane


class Recorder:
    """The plane's runner, which keeps the sessions it gave out and what was asked for."""

    def __init__(self, runner: FakeRunner) -> None:
        self._runner = runner
        self.commands: list[Command] = []
        self.sessions: list[FakeSession] = []

    async def exec(self, instance: str, command: Command) -> Session:
        session = await self._runner.exec(instance, command)
        assert isinstance(session, FakeSession)
        self.commands.append(command)
        self.sessions.append(session)
        return session

    async def ended(self) -> None:
        """Every session was closed: each command has an exit code."""
        async with asyncio.timeout(1):
            for session in self.sessions:
                await session.wait()


class Bench:
    """A plane with a running service, and short words for what runs inside it."""

    def __init__(self, plane: Plane) -> None:
        self.plane = plane
        self.recorder = Recorder(plane.runner)
        Exec(plane.store, {"process": self.recorder}).register(plane.dispatcher)

    def script(self, name: str, **given: object) -> None:
        self.plane.runner.scripts[name] = Script(**given)  # pyright: ignore[reportArgumentType] - fields by name

    async def run(
        self, target: str, *command: str, who: str = "root", namespace: str = ""
    ) -> list[ExecResponse]:
        ask = RunCommandRequest(target=target, namespace=namespace, command=list(command))
        return await self.plane.all(api.run, ask, who=who)

    async def talk(self, *asks: ExecRequest, who: str = "root") -> list[ExecResponse]:
        return await self.plane.all(api.stream, *asks, who=who)


def init(
    *command: str, service: str | None = "api", instance: str | None = None, **given: object
) -> ExecRequest:
    named = {"service_name": None if instance else service, "instance_id": instance, **given}
    return ExecRequest(init=ExecInitRequest(command=list(command), **named))  # pyright: ignore[reportArgumentType] - fields by name


def written(answers: Sequence[ExecResponse]) -> bytes:
    return b"".join(answer.stdout for answer in answers if answer.stdout is not None)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    plane = await new_plane()
    bench = Bench(plane)
    async with asyncio.timeout(10), plane.running():
        await plane.serve("api")
        await plane.copy_of("api")
        yield bench
    await bench.recorder.ended()


async def test_the_first_word_is_where_and_the_last_is_how_it_ended(bench: Bench) -> None:
    bench.script("ls", says=["a", "b"], complains=["oh"], exits=3)
    answers = await bench.run("api", "ls", "-l")
    copy = bench.plane.copies("api")[0]
    assert answers[0].status
    assert (answers[0].status.code, answers[0].status.message) == (0, f"Connected to instance {copy.id}")
    assert written(answers) == b"a\nb\n"
    assert [answer.stderr for answer in answers if answer.stderr] == [b"oh\n"]
    assert answers[-1].exit == ExitInfo(code=3)
    assert bench.recorder.commands[0].command == ["ls", "-l"]


@pytest.mark.parametrize("form", ["{s}", "svc/{s}", "{i}", "inst/{i}"])
async def test_a_command_finds_its_target(bench: Bench, form: str) -> None:
    copy = bench.plane.copies("api")[0]
    answers = await bench.run(form.format(s="api", i=copy.id), "true")
    assert answers[-1].exit == ExitInfo()


async def test_environment_folder_and_terminal_reach_the_runner(bench: Bench) -> None:
    size = TerminalSize(width=100_000, height=50)
    await bench.talk(init("true", env={"A": "1"}, working_dir="/tmp", tty=True, terminal_size=size))  # noqa: S108 - a name only
    asked = bench.recorder.commands[0]
    assert (asked.env, asked.workdir, asked.tty) == ({"A": "1"}, "/tmp", True)  # noqa: S108 - a name only
    assert (asked.width, asked.height) == (65_535, 50)


async def test_input_reaches_the_command_and_its_end_too(bench: Bench) -> None:
    bench.script("cat", echoes=True)
    answers = await bench.talk(init("cat"), ExecRequest(stdin=b"hello "), ExecRequest(stdin=b"world"))
    assert written(answers) == b"hello world"
    assert answers[-1].exit == ExitInfo(code=0)


async def test_a_signal_ends_it_and_is_named(bench: Bench) -> None:
    bench.script("sleep")
    answers = await bench.talk(init("sleep"), ExecRequest(signal=Signal(name="TERM")))
    assert answers[-1].exit == ExitInfo(code=143, signaled=True, signal="SIGTERM")


async def test_a_terminal_is_resized(bench: Bench) -> None:
    bench.script("sh")
    await bench.talk(init("sh"), ExecRequest(resize=TerminalSize(width=120, height=40)))
    assert bench.recorder.sessions[0].sizes == [(120, 40)]


async def test_output_comes_in_pieces(bench: Bench) -> None:
    bench.script("cat", echoes=True)
    answers = await bench.talk(init("cat"), ExecRequest(stdin=b"x" * (3 * CHUNK + 1)))
    assert [len(answer.stdout) for answer in answers if answer.stdout] == [CHUNK, CHUNK, CHUNK, 1]


@pytest.mark.parametrize(
    ("asks", "failure", "message"),
    [
        ([ExecRequest(stdin=b"x")], InvalidArgument, "first request must be an init request"),
        ([ExecRequest()], InvalidArgument, "first request must be an init request"),
        ([init("ls", service=None)], InvalidArgument, "must specify either service_name or instance_id"),
        ([init()], InvalidArgument, "invalid exec request: command is required"),
        ([init("ls", service="web")], NotFound, "service not found: default/web"),
        ([init("ls", instance="web-1")], NotFound, "instance not found: web-1"),
        ([init("sleep"), ExecRequest()], InvalidArgument, "must be stdin, resize or signal"),
        ([init("sleep"), init("ls")], InvalidArgument, "must be stdin, resize or signal"),
        ([init("sleep"), ExecRequest(signal=Signal(name="NOPE"))], InvalidArgument, "is no signal"),
        ([init("missing")], FailedPrecondition, "not found in PATH"),
    ],
)
async def test_what_cannot_be_run_is_refused(
    bench: Bench, asks: Sequence[ExecRequest], failure: type[Exception], message: str
) -> None:
    bench.script("sleep")
    bench.script("missing", refused="missing: not found in PATH")
    with pytest.raises(failure, match=message):
        await bench.talk(*asks)


async def test_a_service_without_running_instances_is_named(bench: Bench) -> None:
    await bench.plane.serve("web", scale=0)
    with pytest.raises(NotFound, match="no running instances found for service: web in namespace: default"):
        await bench.talk(init("ls", service="web"))


async def test_an_instance_that_was_stopped_says_so(bench: Bench) -> None:
    copy = bench.plane.copies("api")[0]
    await bench.plane.call(instance_api.stop, instance_api.InstanceActionRequest(id=copy.id))
    await bench.plane.until(lambda: not bench.plane.copies("api")[0].pid)
    with pytest.raises(FailedPrecondition, match="instance is not running, status: Stopped"):
        await bench.run(copy.id, "ls")


async def test_a_ready_instance_is_preferred(bench: Bench) -> None:
    plane = bench.plane
    await plane.call(service_api.scale, service_api.ScaleServiceRequest(name="api", scale=2))
    await plane.until(lambda: all(item.pid for item in plane.copies("api")) and len(plane.copies("api")) == 2)
    first, second = plane.copies("api")
    connected = (await bench.run("api", "true"))[0].status
    assert connected
    assert connected.message.endswith(first.id)
    await plane.call(instance_api.stop, instance_api.InstanceActionRequest(id=first.id))
    await plane.until(lambda: not plane.store.get(type(first), "default", first.id).pid)
    connected = (await bench.run("api", "true"))[0].status
    assert connected
    assert connected.message.endswith(second.id)


async def test_an_instance_of_another_namespace_is_out_of_reach(bench: Bench) -> None:
    bench.plane.people.rules["ann"] = (rule("exec", ["exec"], "shop"),)
    copy = bench.plane.copies("api")[0]
    with pytest.raises(PermissionDenied):
        await bench.talk(init("ls", instance=copy.id), who="ann")
    with pytest.raises(NotFound, match="instance not found"):
        await bench.talk(init("ls", instance=copy.id, namespace="shop"), who="ann")
    with pytest.raises(NotFound):
        await bench.run(copy.id, "ls", who="ann", namespace="shop")
    assert bench.recorder.commands == []


async def test_a_client_that_goes_away_kills_the_command(bench: Bench) -> None:
    bench.script("sleep", says=["on it"])
    async with bench.plane.streaming(api.stream, endless(init("sleep"))) as answers:
        await anext(answers)
        assert (await anext(answers)).stdout == b"on it\n"
        session = bench.recorder.sessions[0]
    assert await session.wait() == 137


async def test_a_credential_that_is_lost_kills_the_command(bench: Bench) -> None:
    bench.script("sleep", says=["on it"])
    async with bench.plane.streaming(api.stream, endless(init("sleep"))) as answers:
        await anext(answers)
        await anext(answers)
        bench.plane.people.losses["root"].set()
        with pytest.raises(Unauthenticated):
            await anext(answers)
    assert await bench.recorder.sessions[0].wait() == 137


async def test_the_end_of_the_instance_ends_the_command(bench: Bench) -> None:
    bench.script("sleep", says=["on it"])
    copy = bench.plane.copies("api")[0]
    async with bench.plane.streaming(api.stream, endless(init("sleep"))) as answers:
        await anext(answers)
        await anext(answers)
        bench.plane.runner.exit(copy.id, 1)
        last = await anext(answers)
    assert last.exit == ExitInfo(code=137, signaled=True, signal="SIGKILL")


@pytest.mark.looptime
async def test_output_that_something_holds_open_does_not_hold_up_the_exit() -> None:
    class Daemonized(FakeSession):
        async def wait(self) -> int:
            return 0

    class Holding:
        async def exec(self, instance: str, command: Command) -> Session:
            return Daemonized(Script(says=["started"]))

    plane = await new_plane()
    Exec(plane.store, {"process": Holding()}).register(plane.dispatcher)
    async with plane.running():
        await plane.serve("api")
        await plane.copy_of("api")
        answers = await plane.all(api.run, RunCommandRequest(target="api", command=["start"]))
    assert written(answers) == b"started\n"
    assert answers[-1].exit == ExitInfo(code=0)


async def test_a_run_is_audited(bench: Bench) -> None:
    await bench.run("api", "true")
    assert ("run_command", "ok") in bench.plane.quiet.records


async def endless(first: ExecRequest) -> AsyncGenerator[ExecRequest]:
    """A client that says one thing and then waits."""
    yield first
    await asyncio.Event().wait()
