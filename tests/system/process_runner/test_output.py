"""What workloads write is kept and read, however they write it."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from rune.orchestrator.runners.process import ProcessRunner
from system.process_runner.lab import ROOT, ended, lines, machine, shell, until_said

pytestmark = pytest.mark.system


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
        # More than is read at once, and so than goes into one file however busy the machine is.
        pad = "." * 90
        script = f"i=0; while [ $i -lt 1200 ]; do echo {pad} $i; i=$((i+1)); done; echo done; exec sleep 3600"
        await runner.ensure(shell("a", script))
        said = await until_said(runner, "a", "done")
        assert said == [*(f"{pad} {number}" for number in range(1200)), "done"]
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
