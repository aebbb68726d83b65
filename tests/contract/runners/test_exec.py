"""What every runner that can run commands inside an instance promises about them."""

from __future__ import annotations

import asyncio

import pytest

from contract.runners.lab import Lab
from promises import promise
from rune.errors import FailedPrecondition, InvalidArgument
from rune.orchestrator.runners.base import Session
from rune.orchestrator.runners.fake import Script

pytestmark = promise("work.exec")


async def session(lab: Lab, shell: str, script: Script, *, tty: bool = False) -> Session:
    """A command inside a running instance."""
    workload = lab.sleeper()
    await lab.runner.ensure(workload)
    return await lab.runner.exec(workload.instance, lab.command("inside", shell, script, tty=tty))


async def output(session: Session) -> dict[str, bytes]:
    """Everything it writes, by stream."""
    found: dict[str, bytes] = {}
    async with asyncio.timeout(10):
        async for stream, chunk in session.output():
            found[stream] = found.get(stream, b"") + chunk
    return found


async def test_a_command_has_two_streams_and_an_exit_code(lab: Lab) -> None:
    script = Script(says=["out"], complains=["err"], exits=3)
    inside = await session(lab, "echo out; echo err >&2; exit 3", script)
    assert await output(inside) == {"stdout": b"out\n", "stderr": b"err\n"}
    assert await inside.wait() == 3
    await inside.close()


async def test_what_is_written_reaches_the_command_until_the_end_of_input(lab: Lab) -> None:
    inside = await session(lab, "cat", Script(echoes=True))
    await inside.write(b"hello ")
    await inside.write(b"world")
    await inside.end_input()
    await inside.end_input()
    assert await output(inside) == {"stdout": b"hello world"}
    assert await inside.wait() == 0
    await inside.close()


async def test_a_signal_ends_it_with_128_and_the_number(lab: Lab) -> None:
    inside = await session(lab, "exec sleep 3600", Script())
    await inside.signal("SIGTERM")
    async with asyncio.timeout(10):
        assert await inside.wait() == 143
    await inside.close()


async def test_an_unknown_signal_is_refused(lab: Lab) -> None:
    inside = await session(lab, "exec sleep 3600", Script())
    with pytest.raises(InvalidArgument, match="SIGNOPE"):
        await inside.signal("SIGNOPE")
    await inside.close()


async def test_close_kills_it_and_twice_is_fine(lab: Lab) -> None:
    inside = await session(lab, "trap '' TERM; sleep 3600", Script(stubborn=True))
    await inside.close()
    await inside.close()
    async with asyncio.timeout(10):
        assert await inside.wait() == 137


async def test_a_command_ends_with_its_instance(lab: Lab) -> None:
    workload = lab.sleeper()
    await lab.runner.ensure(workload)
    inside = await lab.runner.exec(workload.instance, lab.command("inside", "exec sleep 3600", Script()))
    await lab.runner.stop(workload.instance, grace=5)
    async with asyncio.timeout(10):
        assert await inside.wait() == 137
    await inside.close()


async def test_resize_without_a_terminal_does_nothing(lab: Lab) -> None:
    inside = await session(lab, "cat", Script(echoes=True))
    await inside.resize(100, 40)
    await inside.close()


async def test_exec_is_refused_where_nothing_runs(lab: Lab) -> None:
    command = lab.command("inside", "true", Script(exits=0))
    with pytest.raises(FailedPrecondition, match="does not run"):
        await lab.runner.exec("nobody", command)
    workload = lab.sleeper()
    await lab.runner.ensure(workload)
    await lab.runner.stop(workload.instance, grace=5)
    with pytest.raises(FailedPrecondition, match="does not run"):
        await lab.runner.exec(workload.instance, command)
