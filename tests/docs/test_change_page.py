"""Every command of the page about changing a service does what the page says, against a real server."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from runed import runed

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]
PAGE = (Path(__file__).parents[2] / "docs/how-to/change-a-service-safely.md").read_text(encoding="utf-8")
(FILE,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]


async def run(command: str, folder: Path, environ: dict[str, str]) -> tuple[int, str]:
    """The exit code, and everything that was said."""
    rune = f"{sys.executable} -m rune.cli.main"
    process = await asyncio.create_subprocess_shell(
        re.sub(r"^rune ", f"{rune} ", command),
        cwd=folder,
        env={**os.environ, **environ},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


async def test_every_command_ends_as_the_page_says(tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text(FILE, encoding="utf-8")
    said: dict[str, str] = {}
    async with runed(tmp_path / "data") as server:
        environ = {"RUNE_SERVER": server.grpc, "RUNE_TOKEN": server.token, "HOME": str(tmp_path)}
        for command in COMMANDS:
            ends = re.search(r"# ends with (\d+)", command)
            code, said[command] = await run(command, tmp_path, environ)
            assert code == (int(ends[1]) if ends else 0), f"{command}\n{said[command]}"
    failed = said["rune cast web.yaml  # ends with 1"]
    assert "RolledBack" in failed or "RollingBack" in failed
    assert "was undone, revision 2 is back" in said["rune status"]
    assert "service 'web' deleted" in said["rune delete web --wait --yes"]
    assert "completed" in said["rune delete status web"]
