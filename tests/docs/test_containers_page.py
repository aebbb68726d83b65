"""The page about containers: its service and its commands, run as they stand there."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from containers import on
from engines import IMAGE, Engine
from rune.core.settings import load

PAGE = (Path(__file__).parents[2] / "docs/how-to/run-containers.md").read_text(encoding="utf-8")
SERVICE, SETTINGS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = re.findall(r"^\$ rune (.*)$", PAGE, re.MULTILINE)


def test_the_settings_on_the_page_are_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "runefile.yaml"
    file.write_text(SETTINGS, encoding="utf-8")
    nothing = tmp_path / "empty.yaml"
    nothing.touch()
    assert load({}, {}, file).runner == load({}, {}, nothing).runner


@pytest.mark.system
@pytest.mark.requires("docker")
@pytest.mark.timeout(90)
async def test_the_commands_on_the_page_work_in_their_order(docker_engine: Engine, tmp_path: Path) -> None:
    found = re.search(r"image: (\S+)", SERVICE)
    assert found
    docker_engine.docker("tag", IMAGE, found[1])
    (tmp_path / "web.yaml").write_text(SERVICE, encoding="utf-8")
    said: dict[str, str] = {}
    async with on(docker_engine, tmp_path) as server:
        shown = {"RUNE_SERVER": server.grpc, "RUNE_TOKEN": server.token, "HOME": str(tmp_path)}
        for command in COMMANDS:
            said[command] = await ran(f"{Path(sys.executable).parent}/rune {command}", tmp_path, shown)
    assert said["logs web"].endswith("serving\n")
    assert said["exec web -- /bin/wget -q -O - http://web:8080/"] == "hello\n"


async def ran(command: str, folder: Path, shown: dict[str, str]) -> str:
    """What a command writes; it must end well."""
    process = await asyncio.create_subprocess_shell(
        command,
        cwd=folder,
        env=os.environ | shown,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(40):
        out, errors = await process.communicate()
    assert process.returncode == 0, (command, errors.decode(), out.decode())
    return out.decode()
