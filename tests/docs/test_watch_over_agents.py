"""The page about watching over agents runs as it stands: its files are written, its commands are given."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import sys
from pathlib import Path

import pytest

from runed import runed

PAGE = (Path(__file__).parents[2] / "docs/how-to/watch-over-agents.md").read_text(encoding="utf-8")
FILES = re.findall(r"`([a-z-]+\.yaml)`[^`]*```yaml\n(.*?)```", re.sub(r"\(`.*?\)", "", PAGE), re.DOTALL)
COMMANDS = [
    line.removeprefix("$ ")
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
]


def test_the_page_has_files_and_commands() -> None:
    assert [name for name, _ in FILES] == ["policy.yaml", "policy-tests.yaml"]
    assert len(COMMANDS) == 18


@pytest.mark.system
@pytest.mark.timeout(90)
async def test_every_command_on_the_page_does_what_it_says(tmp_path: Path) -> None:
    for name, text in FILES:
        (tmp_path / name).write_text(text, encoding="utf-8")
    async with runed(tmp_path / "data") as server:
        environ = {**os.environ, "RUNE_SERVER": server.grpc, "RUNE_TOKEN": server.token}
        for command in COMMANDS:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "rune.cli.main",
                *shlex.split(command)[1:],
                cwd=tmp_path,
                env=environ,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            out, err = await process.communicate()
            assert process.returncode == 0, f"{command}\n{out.decode()}{err.decode()}"
