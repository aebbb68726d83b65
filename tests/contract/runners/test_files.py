"""Mounted files, the same on every machine: there before the first line, and replaced while it runs."""

from __future__ import annotations

import msgspec
import pytest

from contract.runners.lab import Lab
from promises import promise
from rune.errors import InvalidArgument
from rune.orchestrator.runners.base import Files, HasFiles, Workload
from rune.orchestrator.runners.docker.runner import DockerRunner
from rune.orchestrator.runners.fake import FakeRunner, Script

pytestmark = promise("runners.files")

SHELL = 'cat "$at/password"; echo; until grep -q new "$at/password"; do :; done; cat "$at/password"; echo'


def reader(lab: Lab, password: str) -> Workload:
    """Says the password, and says it again once it is new."""
    contained = isinstance(lab.runner, DockerRunner)
    target = "/etc/app/db" if contained else "app/db"
    shell = f"at={target if contained else '$RUNE_MOUNTS/' + target}; {SHELL}"
    files = [Files(target=target, content={"password": password.encode()})]
    script = Script(says=[password], exits=0)
    return lab.workload("reader", shell, script, files=files)


async def test_files_are_there_and_change_while_it_runs(lab: Lab) -> None:
    workload = reader(lab, "old")
    await lab.runner.ensure(workload)
    async with lab.following(workload.instance) as lines:
        assert (await anext(lines)).text == "old"
        if isinstance(lab.runner, FakeRunner):
            return
        assert isinstance(lab.runner, HasFiles)
        files = [msgspec.structs.replace(workload.files[0], content={"password": b"new"})]
        await lab.runner.refresh(msgspec.structs.replace(workload, files=files))
        assert (await anext(lines)).text == "new"


async def test_a_refresh_of_what_does_not_run_does_nothing(lab: Lab) -> None:
    assert isinstance(lab.runner, HasFiles)
    await lab.runner.refresh(reader(lab, "x"))


@pytest.mark.parametrize("path", ["../x", "a/../../x", "..data/x", "", "a//b"])
async def test_files_that_would_leave_their_folder_are_refused(lab: Lab, path: str) -> None:
    workload = reader(lab, "x")
    files = [msgspec.structs.replace(workload.files[0], content={path: b"x"})]
    with pytest.raises(InvalidArgument, match=r"files\[0\]"):
        await lab.runner.ensure(msgspec.structs.replace(workload, files=files))
